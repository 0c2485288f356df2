//! One frame of which nothing was seen before: what becomes of it, what is told, what is remembered.

use std::net::IpAddr;

use anyhow::Context as _;
use l7d_ebpf::maps::Tuple;
use l7d_ebpf::records::PacketRecord;
use properties::received::{self, Datagram, Received, Transport};

use crate::kernel::{Kernel, Outcome, Seen};
use crate::world::{Direction, Expected, Owner, expect};

/// Most extension headers that the programs follow.
const EXTENSIONS_MAX: usize = 6;
/// Reasons of Hubble's for headers that cannot be followed.
const UNREADABLE: [u8; 3] = [135, 156, 166];

/// Judges a frame, holds it against the model, and forgets it; what differs is said.
pub(crate) fn check(
    kernel: &mut Kernel,
    owner: Owner,
    direction: Direction,
    frame: &[u8],
) -> anyhow::Result<Option<Expected>> {
    let Some(seen) = kernel.judge(owner, direction, frame)? else {
        return Ok(None);
    };
    let received = received::read(frame);
    let connections = kernel.connections()?;
    kernel.forget()?;
    let Received::Whole(datagram) = received else {
        return Ok(None);
    };
    let expected = expect(owner, direction, &datagram);
    let compared = if is_unreadable(frame) {
        // Nobody asks for such packets: they may go, but must be told, and never pass unjudged.
        refused(&seen)
    } else {
        compare(&seen, &datagram, expected, &connections)
    };
    compared.with_context(|| {
        format!(
            "{owner:?} {direction:?}, {datagram:?}: expected {expected:?}, {seen:?}, {connections:?}\n{}",
            hexadecimal(frame)
        )
    })?;
    Ok(Some(expected))
}

/// Whether a frame has headers that the programs do not follow.
fn is_unreadable(frame: &[u8]) -> bool {
    received::is_tagged(frame) || has_long_chain(frame)
}

pub(crate) fn has_long_chain(frame: &[u8]) -> bool {
    received::extensions(frame) > EXTENSIONS_MAX
}

/// What cannot be read is dropped, and why is told.
pub(crate) fn refused(seen: &Seen) -> anyhow::Result<()> {
    let is_told = seen
        .records
        .iter()
        .any(|record| UNREADABLE.contains(&record.reason));
    let is_refused = seen.outcome == Outcome::Dropped && is_told;
    anyhow::ensure!(is_refused, "what cannot be read is not refused");
    Ok(())
}

pub(crate) fn hexadecimal(frame: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in frame {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn compare(
    seen: &Seen,
    datagram: &Datagram,
    expected: Expected,
    connections: &[Tuple],
) -> anyhow::Result<()> {
    if expected == Expected::Ignored {
        anyhow::ensure!(seen.outcome == Outcome::Passed, "it does not pass");
        anyhow::ensure!(seen.records.is_empty(), "it is told");
        anyhow::ensure!(connections.is_empty(), "it is remembered");
        return Ok(());
    }
    let is_as_expected = match expected {
        Expected::Pass => seen.outcome == Outcome::Passed,
        Expected::Drop => seen.outcome == Outcome::Dropped,
        Expected::Redirect => seen.outcome == Outcome::Redirected,
        Expected::NoDrop => seen.outcome != Outcome::Dropped,
        Expected::Guessed => seen.outcome != Outcome::Redirected,
        Expected::Ignored => false,
    };
    anyhow::ensure!(is_as_expected, "it is judged as something else");
    anyhow::ensure!(!seen.records.is_empty(), "nothing is told");
    for record in &seen.records {
        anyhow::ensure!(tells(record, datagram), "something else is told");
    }
    match (seen.outcome, connections) {
        (Outcome::Dropped, []) => Ok(()),
        (Outcome::Passed | Outcome::Redirected, [tuple]) if names(tuple, datagram) => Ok(()),
        _ => anyhow::bail!("something else is remembered"),
    }
}

fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn tells(record: &PacketRecord, datagram: &Datagram) -> bool {
    let is_between = record.source == bytes(datagram.source)
        && record.destination == bytes(datagram.destination)
        && record.protocol == datagram.transport.protocol();
    let ports = (record.source_port, record.destination_port);
    is_between
        && match datagram.transport {
            Transport::Tcp(source, destination, flags) => {
                ports == (source, destination) && record.tcp_flags == flags
            }
            Transport::Udp(..) | Transport::Sctp(..) => Some(ports) == datagram.transport.ports(),
            Transport::Icmp(kind, code, _) | Transport::IcmpV6(kind, code, _) => {
                (record.icmp_type, record.icmp_code) == (kind, code)
            }
            Transport::Other(_) => ports == (0, 0),
        }
}

/// Whether it is the key of the datagram's connection, whichever end comes first.
fn names(tuple: &Tuple, datagram: &Datagram) -> bool {
    let source = bytes(datagram.source);
    let destination = bytes(datagram.destination);
    let same_ends =
        [tuple.a, tuple.b] == [source, destination] || [tuple.a, tuple.b] == [destination, source];
    let of = |address, port| {
        (tuple.a, tuple.a_port) == (address, port) || (tuple.b, tuple.b_port) == (address, port)
    };
    let same_ports = match (datagram.transport, datagram.transport.ports()) {
        (_, Some((from, to))) => of(source, from) && of(destination, to),
        (Transport::Icmp(8 | 0, _, id) | Transport::IcmpV6(128 | 129, _, id), _) => {
            (tuple.a_port, tuple.b_port) == (id, id)
        }
        // Told apart by their type, so that no echo makes way for them.
        (Transport::Icmp(..) | Transport::IcmpV6(..), _) => tuple.a_port != tuple.b_port,
        (_, None) => (tuple.a_port, tuple.b_port) == (0, 0),
    };
    same_ends && same_ports && tuple.protocol == datagram.transport.protocol()
}
