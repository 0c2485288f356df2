//! Packets drawn by chance, with fields at and beyond their bounds, and changed afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::chance::{Chance, Turns};
use crate::frames::{Head, OWN_V4, OWN_V6, icmp, sctp, tcp, udp};
use crate::kernel::{Kernel, Place};
use crate::single::check;
use crate::world::{Direction, Expected, Owner};

pub(crate) const PORTS: [u16; 14] = [
    0, 1, 22, 53, 80, 81, 443, 5000, 5353, 8080, 32_768, 50_000, 65_534, 65_535,
];
/// SYN, ACK, both, none, all, FIN, RST, and mixtures that nobody sends.
const FLAGS: [u8; 9] = [0x02, 0x10, 0x12, 0x00, 0xff, 0x11, 0x04, 0x03, 0x06];
const ICMP4_KINDS: [u8; 9] = [0, 3, 5, 8, 11, 12, 13, 14, 255];
const ICMP6_KINDS: [u8; 9] = [1, 2, 4, 127, 128, 129, 135, 139, 255];

pub(crate) fn peer(chance: &mut Chance, is_v4: bool) -> IpAddr {
    if is_v4 {
        let peers = [
            Ipv4Addr::new(192, 0, 2, 9),
            Ipv4Addr::new(10, 9, 1, 2),
            Ipv4Addr::new(10, 8, 255, 255),
            Ipv4Addr::BROADCAST,
        ];
        chance.of(&peers).into()
    } else {
        let peers = [
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9),
            Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 7),
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        ];
        chance.of(&peers).into()
    }
}

/// Protocol and bytes of what a packet carries.
fn payload(chance: &mut Chance, is_v4: bool) -> (u8, Vec<u8>) {
    let (source, destination) = (chance.of(&PORTS), chance.of(&PORTS));
    let behind = chance.of(&[0, 1, 7, 64]);
    match chance.below(10) {
        0..4 => {
            let words = chance.of(&[5, 5, 5, 6, 15, 0, 4]);
            (
                6,
                tcp(source, destination, chance.of(&FLAGS), words, behind),
            )
        }
        4 | 5 => {
            let length = chance.of(&[None, None, Some(0), Some(7), Some(8), Some(u16::MAX)]);
            (17, udp(source, destination, length, behind))
        }
        6 => (132, sctp(source, destination, behind)),
        7 | 8 => {
            let quoted = match chance.below(3) {
                0 => Vec::new(),
                1 => tcp(source, destination, 0x02, 5, 0),
                // What it quotes would be allowed.
                _ => Head::new(OWN_V4.into(), Ipv4Addr::new(192, 0, 2, 9).into(), 6)
                    .frame(&tcp(50_000, 80, 0x02, 5, 0))
                    .split_off(14),
            };
            let kinds = if is_v4 { ICMP4_KINDS } else { ICMP6_KINDS };
            let id = chance.of(&[0, 8, 13, 128, 65_535]);
            let body = icmp(chance.of(&kinds), chance.of(&[0, 1, 255]), id, &quoted);
            (if is_v4 { 1 } else { 58 }, body)
        }
        _ => (
            chance.of(&[2, 4, 41, 47, 50, 51, 59, 253, 255]),
            vec![6; 8 + behind],
        ),
    }
}

/// A frame of an endpoint's as somebody might send it, if seldom.
fn draw(chance: &mut Chance, direction: Direction) -> Vec<u8> {
    let is_v4 = chance.is_one_in(2);
    let peer = peer(chance, is_v4);
    let own: IpAddr = if is_v4 { OWN_V4.into() } else { OWN_V6.into() };
    match direction {
        Direction::Egress => draw_between(chance, own, peer),
        Direction::Ingress => draw_between(chance, peer, own),
    }
}

/// The same between two.
pub(crate) fn draw_between(chance: &mut Chance, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let is_v4 = source.is_ipv4();
    let (protocol, payload) = payload(chance, is_v4);
    let mut head = Head::new(source, destination, protocol);
    if chance.is_one_in(8) {
        head.tags = vec![0x8100; 1 + chance.below(2)];
    }
    if is_v4 {
        head.options = chance.of(&[0, 0, 0, 4, 40]);
    } else {
        if chance.is_one_in(4) {
            head.extensions.push((0, chance.of(&[0, 1])));
        }
        if chance.is_one_in(3) {
            for _ in 0..chance.below(9) {
                let kind = chance.of(&[60, 60, 43]);
                head.extensions.push((kind, chance.of(&[0, 0, 1, 4])));
            }
        }
        if chance.is_one_in(6) {
            // A fragment that is the whole.
            head.place = Some((0, false, 5));
        }
    }
    head.padding = chance.of(&[0, 0, 1, 46]);
    head.frame(&payload)
}

/// Changes some bytes, or how many there are.
pub(crate) fn change(chance: &mut Chance, frame: &mut Vec<u8>) {
    for _ in 0..=chance.below(3) {
        // Headers are at the front.
        let at = chance.below(frame.len().min(90));
        match chance.below(5) {
            0 => frame.truncate(at.max(14)),
            1 => frame[at] ^= 1 << chance.below(8),
            2 => frame[at] = chance.of(&[0, 1, 0x0f, 0x40, 0x7f, 0x80, 0xff]),
            3 => frame[at] = chance.byte(),
            _ => {
                let byte = chance.byte();
                frame.insert(at.max(12), byte);
            }
        }
    }
}

#[test]
fn drawn_packets_are_judged_as_a_receiver_reads_them() -> anyhow::Result<()> {
    let mut kernel = Kernel::new(Place::Pod)?;
    let mut met = [0_u64; 5];
    for seed in Turns::new(12_000) {
        let mut chance = Chance::new(seed);
        let owner = chance.of(&[Owner::Closed, Owner::Open]);
        let direction = chance.of(&Direction::BOTH);
        let mut frame = draw(&mut chance, direction);
        if chance.is_one_in(2) {
            change(&mut chance, &mut frame);
        }
        let place = match check(&mut kernel, owner, direction, &frame)
            .map_err(|error| error.context(format!("seed {seed}")))?
        {
            None => 0,
            Some(Expected::Pass) => 1,
            Some(Expected::Drop) => 2,
            Some(Expected::Redirect) => 3,
            Some(Expected::NoDrop | Expected::Ignored | Expected::Guessed) => 4,
        };
        met[place] += 1;
    }
    eprintln!("no datagram, passed, dropped, redirected, of late connections: {met:?}");
    assert!(met.iter().all(|count| *count > 0), "{met:?}");
    Ok(())
}
