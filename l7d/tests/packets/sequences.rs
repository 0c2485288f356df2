//! Several packets of few ends: fragments that hide what they are, messages that look like answers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use properties::received::{self, Datagram, Reassembly, Received, Transport};

use crate::chance::{Chance, Turns};
use crate::frames::{Head, OWN_V4, OWN_V6, icmp, tcp, udp};
use crate::kernel::{Kernel, Outcome, Place};
use crate::single::hexadecimal;
use crate::world::{Action, Direction, Owner, forward};

const PEER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

/// What the endpoint's stack, or its peer's, has got of what was let through.
struct Behind {
    place: Place,
    owner: Owner,
    is_v4: bool,
    /// What one side may answer: protocol, port of the own end, port of the peer.
    conversations: BTreeSet<(u8, u16, u16)>,
    pieces: [Reassembly; 2],
}

impl Behind {
    fn new(place: Place, owner: Owner, is_v4: bool) -> Self {
        Self {
            place,
            owner,
            is_v4,
            conversations: BTreeSet::new(),
            pieces: Default::default(),
        }
    }

    /// Takes in a frame that passed.
    fn take(&mut self, direction: Direction, frame: &[u8]) -> anyhow::Result<()> {
        let whole = match received::read(frame) {
            Received::Whole(datagram) => datagram,
            Received::Refused(_) => return Ok(()),
            Received::Fragment(fragment) => {
                if fragment.offset == 0 && fragment.protocol == 17 && fragment.bytes.len() >= 4 {
                    let port = |at: usize| {
                        u16::from_be_bytes([fragment.bytes[at], fragment.bytes[at + 1]])
                    };
                    let first = Datagram {
                        source: fragment.key.0,
                        destination: fragment.key.1,
                        transport: Transport::Udp(port(0), port(2)),
                    };
                    self.judge(direction, &first)?;
                }
                match self.pieces[direction as usize].add(fragment) {
                    Some(Received::Whole(datagram)) => datagram,
                    _ => return Ok(()),
                }
            }
        };
        self.judge(direction, &whole)
    }

    fn judge(&mut self, direction: Direction, datagram: &Datagram) -> anyhow::Result<()> {
        let is_allowed = match forward(self.owner, direction, datagram) {
            Action::Allow => true,
            // The node has no proxy that judges its own requests.
            Action::Redirect => self.place == Place::Pod,
            Action::Deny => false,
        };
        let may_pass = match datagram.transport {
            // Answers, and what belongs to a connection, have their own test.
            Transport::Tcp(.., flags) => is_allowed || flags & 0x12 != 0x02,
            Transport::Icmp(kind, ..) => is_allowed || [0, 14, 16, 18].contains(&kind),
            Transport::IcmpV6(kind, ..) => is_allowed || [129, 140].contains(&kind),
            Transport::Udp(source, destination) => {
                let (own, peer) = match direction {
                    Direction::Egress => (source, destination),
                    Direction::Ingress => (destination, source),
                };
                let is_known = self.conversations.contains(&(17, own, peer));
                self.conversations.insert((17, own, peer));
                is_allowed || is_known
            }
            _ => is_allowed,
        };
        anyhow::ensure!(may_pass, "{direction:?} {datagram:?} got through");
        Ok(())
    }

    fn head(&self, direction: Direction, protocol: u8) -> Head {
        let (own, peer): (IpAddr, IpAddr) = if self.is_v4 {
            (OWN_V4.into(), PEER_V4.into())
        } else {
            (OWN_V6.into(), PEER_V6.into())
        };
        match direction {
            Direction::Egress => Head::new(own, peer, protocol),
            Direction::Ingress => Head::new(peer, own, protocol),
        }
    }
}

fn payload(chance: &mut Chance, is_v4: bool) -> (u8, Vec<u8>) {
    const PORTS: [u16; 5] = [22, 53, 80, 5353, 50_000];
    let (source, destination) = (chance.of(&PORTS), chance.of(&PORTS));
    match chance.below(3) {
        0 => {
            let flags = chance.of(&[0x02, 0x02, 0x10, 0x12, 0x04]);
            (
                6,
                tcp(source, destination, flags, 5, chance.of(&[0, 12, 30])),
            )
        }
        1 => (17, udp(source, destination, None, chance.of(&[0, 16, 32]))),
        _ => {
            let kinds: [u8; 6] = if is_v4 {
                [0, 3, 5, 8, 13, 14]
            } else {
                [128, 128, 129, 139, 140, 2]
            };
            let id = chance.of(&[0, 5, 13, 139]);
            let body = icmp(chance.of(&kinds), 0, id, &[1; 24]);
            (if is_v4 { 1 } else { 58 }, body)
        }
    }
}

/// Cuts a payload into fragments, not all of them honest.
fn fragments(chance: &mut Chance, head: &Head, payload: &[u8]) -> Vec<Vec<u8>> {
    let id = u32::try_from(1 + chance.below(2)).unwrap_or(1);
    let mut head = head.clone();
    let mut payload = payload.to_vec();
    if head.source.is_ipv6() && chance.is_one_in(3) {
        // Options between the fragment's header and what is in it, which may reach into the next one.
        let units = chance.of(&[0, 1, 2]);
        let mut options = vec![head.protocol, units, 1, 4 + units * 8];
        options.resize(8 + usize::from(units) * 8, 0);
        payload.splice(0..0, options);
        head.protocol = 60;
    }
    let mut frames = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        let end = (at + chance.of(&[8, 8, 16, 24, 40])).min(payload.len());
        head.place = Some((at, end < payload.len(), id));
        let piece = payload.get(at..end).unwrap_or_default();
        frames.push(head.frame(piece));
        if chance.is_one_in(5) {
            // Once more, and more of it.
            let more = payload
                .get(at..(end + 8).min(payload.len()))
                .unwrap_or_default();
            frames.push(head.frame(more));
        }
        at = end;
    }
    if chance.is_one_in(3) {
        let (one, other) = (chance.below(frames.len()), chance.below(frames.len()));
        frames.swap(one, other);
    }
    frames
}

#[test]
fn drawn_sequences_let_nothing_through_that_policy_denies() -> anyhow::Result<()> {
    let passed = draw_sequences(Place::Pod)?;
    eprintln!("{passed} packets passed");
    Ok(())
}

#[test]
fn drawn_sequences_let_nothing_into_or_out_of_the_node_that_its_policy_denies() -> anyhow::Result<()>
{
    let passed = draw_sequences(Place::Node)?;
    eprintln!("{passed} packets passed");
    Ok(())
}

/// How many packets passed.
fn draw_sequences(place: Place) -> anyhow::Result<u64> {
    let mut kernel = Kernel::new(place)?;
    let mut passed = 0_u64;
    for seed in Turns::new(3_000) {
        let mut chance = Chance::new(seed);
        let owner = chance.of(&[Owner::Closed, Owner::Open]);
        let mut behind = Behind::new(place, owner, chance.is_one_in(2));
        let mut told = Vec::new();
        for _ in 0..6 {
            let direction = chance.of(&Direction::BOTH);
            let (protocol, payload) = payload(&mut chance, behind.is_v4);
            let head = behind.head(direction, protocol);
            let frames = if chance.is_one_in(2) {
                fragments(&mut chance, &head, &payload)
            } else {
                vec![head.frame(&payload)]
            };
            for frame in frames {
                let seen = kernel.judge(owner, direction, &frame)?.context("judged")?;
                told.push(format!(
                    "{direction:?} {:?} {}",
                    seen.outcome,
                    hexadecimal(&frame)
                ));
                if seen.outcome != Outcome::Dropped {
                    passed += 1;
                    let taken = behind.take(direction, &frame);
                    taken
                        .with_context(|| format!("seed {seed}, {owner:?}:\n{}", told.join("\n")))?;
                }
            }
        }
        kernel.forget()?;
    }
    assert!(passed > 0);
    Ok(passed)
}

#[test]
fn fragments_in_order_follow_their_first() -> anyhow::Result<()> {
    for place in [Place::Pod, Place::Node] {
        let mut kernel = Kernel::new(place)?;
        for is_v4 in [true, false] {
            for (port, is_allowed) in [(80, true), (22, false)] {
                for (cut, direction) in CUTS {
                    let passed = two_fragments(&mut kernel, is_v4, port, cut, direction)?;
                    // Without the first one, what arrives of it makes no datagram.
                    let may_pass = [is_allowed, is_allowed || direction == Direction::Ingress];
                    assert_eq!(passed, may_pass, "{place:?} {port} {cut} {direction:?}");
                }
            }
        }
    }
    Ok(())
}

/// Where a segment is cut, and which way it goes.
const CUTS: [(usize, Direction); 6] = [
    (16, Direction::Ingress),
    (24, Direction::Ingress),
    (32, Direction::Ingress),
    (16, Direction::Egress),
    (24, Direction::Egress),
    (32, Direction::Egress),
];

/// A segment that opens a connection, cut in two: which of them passed.
fn two_fragments(
    kernel: &mut Kernel,
    is_v4: bool,
    port: u16,
    cut: usize,
    direction: Direction,
) -> anyhow::Result<[bool; 2]> {
    let mut head = Behind::new(Place::Pod, Owner::Closed, is_v4).head(direction, 6);
    let payload = tcp(50_000, port, 0x02, 5, 30);
    let mut passed = [false; 2];
    let pieces = [(0, true, &payload[..cut]), (cut, false, &payload[cut..])];
    for ((at, has_more, piece), passed) in pieces.into_iter().zip(&mut passed) {
        head.place = Some((at, has_more, 9));
        let seen = kernel.judge(Owner::Closed, direction, &head.frame(piece))?;
        *passed = seen.context("judged")?.outcome == Outcome::Passed;
    }
    kernel.forget()?;
    Ok(passed)
}

const FAMILIES: [(bool, Direction); 4] = [
    (true, Direction::Ingress),
    (true, Direction::Egress),
    (false, Direction::Ingress),
    (false, Direction::Egress),
];

/// The first eight bytes alone do not say whether a segment opens a connection.
#[test]
fn first_fragments_that_hide_their_flags_are_refused_and_told() -> anyhow::Result<()> {
    for place in [Place::Pod, Place::Node] {
        let mut kernel = Kernel::new(place)?;
        for (is_v4, direction) in FAMILIES {
            let behind = Behind::new(Place::Pod, Owner::Closed, is_v4);
            let mut head = behind.head(direction, 6);
            head.place = Some((0, true, 9));
            let frame = head.frame(&tcp(50_000, 22, 0x02, 5, 0)[..8]);
            let seen = kernel
                .judge(Owner::Closed, direction, &frame)?
                .context("judged")?;
            assert_eq!(seen.outcome, Outcome::Dropped, "{direction:?} {is_v4}");
            assert!(
                seen.records.iter().any(|record| record.reason == 135),
                "{seen:?}"
            );
        }
    }
    Ok(())
}
