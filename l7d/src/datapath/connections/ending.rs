//! Whether a connection has ended, and how. Pure: an entry of the kernel's table and the time of the
//! look at it, in; an end, out.

use l7d_ebpf::maps::{
    CONNECTION_FROM_SYN, CONNECTION_PROXIED, CONNECTION_UPSTREAM, Connection, Counters,
    MOMENT_SHIFT,
};

use crate::record::{Direct, EndedBy, TcpHealth};

const TCP: u8 = 6;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;

/// Moments of about a millisecond.
const fn seconds(seconds: u32) -> u32 {
    seconds * (1_000_000_000 >> MOMENT_SHIFT)
}

/// How long entries are kept when nothing more comes, in moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// A TCP connection that was closed or reset: late packets are still its own.
    closed: u32,
    /// A SYN that nobody answered is repeated after as long again as all attempts took so far, at most
    /// 64 s (RFC 6298 §5.5); this much later it is given up.
    unanswered: u32,
    /// A TCP connection that is open. Cilium's.
    open: u32,
    /// Anything else. Cilium's.
    other: u32,
}

impl Patience {
    /// With room to spare.
    pub(super) const LONG: Self = Self {
        closed: seconds(2),
        unanswered: seconds(3),
        open: seconds(8000),
        other: seconds(60),
    };
    /// When the table is nearly full.
    pub(super) const SHORT: Self = Self {
        closed: seconds(1) / 4,
        unanswered: seconds(3),
        open: seconds(600),
        other: seconds(10),
    };
}

/// How an entry's connection has ended at `now` (moments); `None` while it goes on.
pub(super) fn ending(
    protocol: u8,
    entry: &Connection,
    now: u32,
    patience: &Patience,
) -> Option<EndedBy> {
    // Between two readings of a clock on two CPUs an entry may be younger than now.
    let idle = now.wrapping_sub(last_seen(entry));
    let idle = if idle > u32::MAX / 2 { 0 } else { idle };
    if protocol != TCP {
        return (idle >= patience.other).then_some(EndedBy::Idle);
    }
    if let Some(how) = closed(entry) {
        return (idle >= patience.closed).then_some(how);
    }
    if entry.flags & CONNECTION_FROM_SYN != 0 && packets(entry, true) == 0 {
        let tried = last_seen(entry).wrapping_sub(first_seen(entry));
        let due = tried.min(seconds(64)) + patience.unanswered;
        return (idle >= due).then_some(EndedBy::NoAnswer);
    }
    (idle >= patience.open).then_some(EndedBy::Idle)
}

/// How a connection stands whose place another one takes.
pub(super) fn replaced(protocol: u8, entry: &Connection) -> EndedBy {
    if protocol == TCP {
        closed(entry).unwrap_or(EndedBy::Replaced)
    } else {
        EndedBy::Replaced
    }
}

/// A proxy that is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Former {
    /// When it beat last.
    pub(super) last_beat: u32,
    /// Connections that began later than this, in ns, are not its own.
    pub(super) gone_ns: u64,
}

/// Whether a connection through a former proxy was open when that one beat last: it ended with it. One that
/// was refused when the proxy was gone was never open. One that its ends have closed between the last beat
/// and the end of the proxy looks the same as one that was cut.
pub(super) fn was_cut(protocol: u8, entry: &Connection, former: &Former) -> bool {
    if entry.created_ns > former.gone_ns {
        return false;
    }
    let is_proxied = protocol == TCP && entry.flags & CONNECTION_PROXIED != 0;
    let was_open = packets(entry, false) > 0 && packets(entry, true) > 0;
    // Its end may be what the kernel has sent for a process that is gone.
    let is_after = last_seen(entry).wrapping_sub(former.last_beat) < u32::MAX / 2;
    let may_be_cut = match closed(entry) {
        None => true,
        Some(EndedBy::Refused) => false,
        Some(_) => is_after,
    };
    is_proxied && was_open && may_be_cut
}

/// How a TCP connection was closed.
fn closed(entry: &Connection) -> Option<EndedBy> {
    let (forward, reply) = (flags(entry, false), flags(entry, true));
    if reply & RST != 0 {
        // A server that has accepted has sent a SYN before.
        let is_refused = reply & 0x02 == 0 && entry.flags & CONNECTION_FROM_SYN != 0;
        return Some(if is_refused {
            EndedBy::Refused
        } else {
            EndedBy::ResetByServer
        });
    }
    if forward & RST != 0 {
        return Some(EndedBy::ResetByClient);
    }
    (forward & reply & FIN != 0).then_some(EndedBy::Closed)
}

/// Counters of a direction, where its packets pass first at the head.
fn places(entry: &Connection, is_reply: bool) -> [&Counters; 3] {
    let [out, arrived, back, returned, up, down] = &entry.counters;
    match (is_reply, entry.flags & CONNECTION_PROXIED != 0) {
        (false, _) => [out, arrived, up],
        (true, false) => [back, returned, down],
        // What clients hear is the proxy's, not what servers said to it.
        (true, true) => [returned, down, back],
    }
}

fn flags(entry: &Connection, is_reply: bool) -> u8 {
    places(entry, is_reply)
        .iter()
        .fold(0, |seen, place| seen | place.flags_seen)
}

fn packets(entry: &Connection, is_reply: bool) -> u64 {
    places(entry, is_reply)
        .iter()
        .map(|place| place.packets)
        .sum()
}

fn first_seen(entry: &Connection) -> u32 {
    moment_of(entry.created_ns)
}

/// The wrapping count of moments at a time.
#[expect(
    clippy::cast_possible_truncation,
    reason = "moments wrap, as those of the programs do"
)]
pub(super) fn moment_of(time_ns: u64) -> u32 {
    (time_ns >> MOMENT_SHIFT) as u32
}

/// Moment of the last packet.
fn last_seen(entry: &Connection) -> u32 {
    let first = first_seen(entry);
    let later = |counters: &Counters| {
        let after = counters.seen_at.wrapping_sub(first);
        if counters.packets == 0 || after > u32::MAX / 2 {
            0
        } else {
            after
        }
    };
    let longest = entry.counters.iter().map(later).max().unwrap_or(0);
    first.wrapping_add(longest)
}

/// How long a connection lived, in ns.
pub(super) fn duration_ns(entry: &Connection) -> u64 {
    u64::from(last_seen(entry).wrapping_sub(first_seen(entry))) << MOMENT_SHIFT
}

/// Everything that a direction sent.
pub(super) fn direct(entry: &Connection, is_reply: bool) -> Direct {
    let places = places(entry, is_reply);
    let counters = places
        .iter()
        .find(|place| place.packets > 0)
        .map_or_else(Counters::none, |place| **place);
    let [forward, reply] = &entry.health;
    let health = if is_reply { reply } else { forward };
    Direct {
        packets: counters.packets,
        bytes: counters.bytes,
        untold_packets: counters.packets.saturating_sub(counters.told_packets),
        untold_bytes: counters.bytes.saturating_sub(counters.told_bytes),
        health: TcpHealth {
            handshake_us: entry.handshake_us,
            srtt_us: health.srtt8_us / 8,
            min_rtt_us: health.min_rtt_us,
            retransmits: health.retransmits,
            zero_windows: health.zero_windows,
        },
    }
}

/// Whether nothing is to be told of it: it is the proxy's own.
pub(super) fn is_silent(entry: &Connection) -> bool {
    entry.flags & CONNECTION_UPSTREAM != 0
}
