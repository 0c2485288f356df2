//! The hooks of the node's uplinks and of the portal: what they make of drawn packets of this node, its
//! pods and others, with and without marks of the proxy, beside a model.

use std::net::IpAddr;

use anyhow::Context as _;
use properties::received::{self, Datagram, Received, Transport};

use crate::bounds::{bend, cut};
use crate::chance::{Chance, Turns};
use crate::drawing::{change, draw_between, peer};
use crate::frames::{OWN_V4, OWN_V6};
use crate::kernel::{
    Hook, Kernel, MARK_REPLY, MARK_UPSTREAM, MARK_UPSTREAM_LOCAL, Outcome, Place, Seen, Way,
};
use crate::single::{compare, has_long_chain, hexadecimal, refused};
use crate::world::{Action, Direction, Expected, Owner, PODS, forward, judge};

/// Who an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Node,
    Pod,
    Other,
}

fn who(address: IpAddr) -> Who {
    match address.to_canonical() {
        own if own == OWN_V4 || own == OWN_V6 => Who::Node,
        pod if PODS.contains(&pod) => Who::Pod,
        _ => Who::Other,
    }
}

/// A packet at a hook.
#[derive(Debug, Clone, Copy)]
struct Case {
    owner: Owner,
    hook: Hook,
    way: Way,
}

/// What is asked of the node's policy.
fn node_says(owner: Owner, direction: Direction, datagram: &Datagram) -> Action {
    let action = forward(owner, direction, datagram);
    let is_to_itself = direction == Direction::Egress && who(datagram.destination) == Who::Node;
    if is_to_itself {
        action.max(forward(owner, Direction::Ingress, datagram))
    } else {
        action
    }
}

/// What becomes of a datagram that is the node's, of which nothing was seen before.
fn of_node(owner: Owner, direction: Direction, datagram: &Datagram) -> Expected {
    let action = node_says(owner, direction, datagram);
    // The node has no policy of requests: what is to be judged by the proxy is denied.
    let is_allowed = action == Action::Allow;
    let Transport::Tcp(source, _, flags) = datagram.transport else {
        return pass_or_drop(is_allowed);
    };
    if flags & 0x12 == 0x02 {
        return pass_or_drop(is_allowed);
    }
    let peer = crate::world::peer(direction, datagram);
    let as_reply = judge(owner, direction.other(), peer, 6, source);
    match (is_allowed, as_reply) {
        (true, Action::Allow) => Expected::Pass,
        (false, Action::Deny) => Expected::Drop,
        _ => Expected::Guessed,
    }
}

fn pass_or_drop(is_allowed: bool) -> Expected {
    if is_allowed {
        Expected::Pass
    } else {
        Expected::Drop
    }
}

/// What a pod sent, at the uplink: it was judged at its interface, and is judged again behind a
/// translation.
fn of_pod(case: Case, datagram: &Datagram) -> Expected {
    let action = forward(Owner::Closed, Direction::Egress, datagram);
    let is_for_node = case.hook == Hook::GuardOut && who(datagram.destination) == Who::Node;
    let action = if is_for_node {
        action.max(forward(case.owner, Direction::Ingress, datagram))
    } else {
        action
    };
    match (action, datagram.transport) {
        (Action::Allow, _) => Expected::Pass,
        (Action::Redirect, Transport::Tcp(..)) => Expected::Redirect,
        (Action::Redirect | Action::Deny, _) => Expected::Drop,
    }
}

fn expect(case: Case, datagram: &Datagram) -> Expected {
    let Case { owner, hook, way } = case;
    match hook {
        Hook::GuardIn if who(datagram.destination) == Who::Node => {
            of_node(owner, Direction::Ingress, datagram)
        }
        Hook::GuardOut | Hook::ToNetwork => {
            let is_guarded = hook == Hook::GuardOut;
            match who(datagram.source) {
                Who::Node if is_guarded && way.mark == MARK_REPLY => Expected::Ignored,
                // Sockets of these packets have their packets' addresses.
                Who::Node if is_guarded && (way.mark != 0 || !way.is_forwarded) => {
                    of_node(owner, Direction::Egress, datagram)
                }
                Who::Node if way.mark == 0 && way.is_forwarded => Expected::Pass,
                Who::Pod if way.mark == 0 => of_pod(case, datagram),
                _ => Expected::Ignored,
            }
        }
        // No packet of a test run may be given to a socket (`bpf_sk_assign`), which is told: the program
        // has read its headers, and has found the listener.
        Hook::Portal if matches!(datagram.transport, Transport::Tcp(..)) => Expected::Drop,
        _ => Expected::Ignored,
    }
}

/// Whether what cannot be read is refused there: of the node, and only what no receiver can do without.
fn is_refused(case: Case, frame: &[u8], datagram: &Datagram) -> Option<bool> {
    if received::is_tagged(frame) {
        return Some(false);
    }
    if !has_long_chain(frame) {
        return None;
    }
    Some(match case.hook {
        Hook::GuardIn => who(datagram.destination) == Who::Node,
        Hook::GuardOut => who(datagram.source) == Who::Node && case.way == Way::plain(false),
        _ => false,
    })
}

/// Gives a frame to a hook, holds what becomes of it against the model, and forgets it.
fn check(kernel: &mut Kernel, case: Case, frame: &[u8]) -> anyhow::Result<Option<Expected>> {
    let Some(seen) = kernel.run(case.owner, case.hook, case.way, frame)? else {
        return Ok(None);
    };
    let connections = kernel.connections()?;
    kernel.forget()?;
    let Received::Whole(datagram) = received::read(frame) else {
        return Ok(None);
    };
    let expected = match is_refused(case, frame, &datagram) {
        Some(true) => Expected::Drop,
        Some(false) => Expected::Ignored,
        None => expect(case, &datagram),
    };
    let compared = if is_refused(case, frame, &datagram) == Some(true) {
        refused(&seen)
    } else {
        compare(&seen, &datagram, expected, &connections)
    };
    compared.with_context(|| {
        format!(
            "{case:?}, {datagram:?}: expected {expected:?}, {seen:?}, {connections:?}\n{}",
            hexadecimal(frame)
        )
    })?;
    Ok(Some(expected))
}

/// An address of this node, of its pod, or of somebody else.
fn address(chance: &mut Chance, is_v4: bool) -> IpAddr {
    let [pod4, pod6] = PODS;
    match (chance.below(4), is_v4) {
        (0 | 1, true) => OWN_V4.into(),
        (0 | 1, false) => OWN_V6.into(),
        (2, true) => pod4,
        (2, false) => pod6,
        _ => peer(chance, is_v4),
    }
}

fn draw(chance: &mut Chance, hook: Hook) -> Vec<u8> {
    let is_v4 = chance.is_one_in(2);
    let (source, destination) = match hook {
        // A pod's packets are for the node, or for others: other pods of the node are not behind it.
        Hook::GuardOut | Hook::ToNetwork => (address(chance, is_v4), peer(chance, is_v4)),
        _ => (peer(chance, is_v4), address(chance, is_v4)),
    };
    let (source, destination) = if chance.is_one_in(8) {
        // Somebody says that he is somebody else.
        (address(chance, is_v4), own(is_v4))
    } else {
        (source, destination)
    };
    let mut frame = draw_between(chance, source, destination);
    if chance.is_one_in(2) {
        change(chance, &mut frame);
    }
    frame
}

fn own(is_v4: bool) -> IpAddr {
    if is_v4 { OWN_V4.into() } else { OWN_V6.into() }
}

fn way(chance: &mut Chance) -> Way {
    let marks = [0, 0, 0, MARK_REPLY, MARK_UPSTREAM, MARK_UPSTREAM_LOCAL];
    Way {
        mark: chance.of(&marks),
        is_forwarded: chance.is_one_in(2),
    }
}

/// How often each was expected.
type Met = std::collections::BTreeMap<String, u64>;

fn draw_for(place: Place, hooks: &[Hook], turns: u64) -> anyhow::Result<Met> {
    let mut kernel = Kernel::new(place)?;
    let mut met = Met::new();
    for seed in Turns::new(turns) {
        let mut chance = Chance::new(seed);
        let case = Case {
            owner: chance.of(&[Owner::Closed, Owner::Open]),
            hook: chance.of(hooks),
            way: way(&mut chance),
        };
        let frame = draw(&mut chance, case.hook);
        let expected = check(&mut kernel, case, &frame)
            .map_err(|error| error.context(format!("seed {seed}")))?;
        let key = format!("{:?} {expected:?}", case.hook);
        *met.entry(key).or_default() += 1;
    }
    Ok(met)
}

#[test]
fn drawn_packets_of_the_node_are_judged_as_a_receiver_reads_them() -> anyhow::Result<()> {
    let met = draw_for(Place::Node, &[Hook::GuardIn, Hook::GuardOut], 8_000)?;
    eprintln!("{met:?}");
    for hook in [Hook::GuardIn, Hook::GuardOut] {
        for expected in [
            Expected::Pass,
            Expected::Drop,
            Expected::Ignored,
            Expected::Guessed,
        ] {
            let key = format!("{hook:?} {:?}", Some(expected));
            assert!(met.contains_key(&key), "{key}: {met:?}");
        }
    }
    Ok(())
}

#[test]
fn drawn_packets_at_an_uplink_are_judged_where_they_are_a_pods_alone() -> anyhow::Result<()> {
    let hooks = [Hook::FromNetwork, Hook::ToNetwork, Hook::Portal];
    let met = draw_for(Place::OpenNode, &hooks, 4_000)?;
    eprintln!("{met:?}");
    for expected in [Expected::Pass, Expected::Drop, Expected::Ignored] {
        let key = format!("{:?} {:?}", Hook::ToNetwork, Some(expected));
        assert!(met.contains_key(&key), "{key}: {met:?}");
    }
    Ok(())
}

fn case(owner: Owner, direction: Direction) -> Case {
    let (hook, is_forwarded) = match direction {
        Direction::Ingress => (Hook::GuardIn, true),
        Direction::Egress => (Hook::GuardOut, false),
    };
    Case {
        owner,
        hook,
        way: Way::plain(is_forwarded),
    }
}

#[test]
fn packets_of_the_node_that_are_cut_off_are_judged_as_what_is_left() -> anyhow::Result<()> {
    let mut kernel = Kernel::new(Place::Node)?;
    let mut judged = 0;
    cut(|owner, direction, frame| {
        judged += usize::from(check(&mut kernel, case(owner, direction), frame)?.is_some());
        Ok(())
    })?;
    assert!(judged > 20, "whole ones and padded ones: {judged}");
    Ok(())
}

#[test]
fn every_byte_of_a_header_of_the_nodes_may_have_any_of_its_bounds() -> anyhow::Result<()> {
    let mut kernel = Kernel::new(Place::Node)?;
    let mut judged = 0;
    bend(|owner, direction, frame| {
        judged += usize::from(check(&mut kernel, case(owner, direction), frame)?.is_some());
        Ok(())
    })?;
    assert!(judged > 5000, "{judged}");
    Ok(())
}

/// The programs of the pods' interfaces do not believe what a pod says of itself: marks are the node's.
#[test]
fn marks_that_a_pod_sets_change_nothing() -> anyhow::Result<()> {
    let mut kernel = Kernel::new(Place::Pod)?;
    for seed in Turns::new(500) {
        let mut chance = Chance::new(seed);
        let is_v4 = chance.is_one_in(2);
        let other = peer(&mut chance, is_v4);
        let frame = draw_between(&mut chance, own(is_v4), other);
        let mut outcomes = Vec::new();
        for mark in [0, MARK_REPLY, MARK_UPSTREAM, MARK_UPSTREAM_LOCAL] {
            let way = Way {
                mark,
                is_forwarded: true,
            };
            let seen: Option<Seen> = kernel.run(Owner::Closed, Hook::FromPod, way, &frame)?;
            outcomes.push(seen.map(|seen| seen.outcome));
            kernel.forget()?;
        }
        outcomes.dedup();
        anyhow::ensure!(outcomes.len() == 1, "seed {seed}: {outcomes:?}");
        anyhow::ensure!(outcomes != [None::<Outcome>], "seed {seed}");
    }
    Ok(())
}
