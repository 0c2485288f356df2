//! Finds or makes the entry of a connection, counts, and decides what is worth a record.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use l7d_ebpf::maps::{CONNECTION_FROM_A, Config, Connection, Counters, TapHalf};

use super::headers::{FIN, RST, SYN};
use super::passage::{Passage, Side};
use crate::state::CONNTRACK;

const NO_COUNTERS: Counters = Counters {
    packets: 0,
    bytes: 0,
    reported_packets: 0,
    reported_bytes: 0,
    reported_ns: 0,
    flags_seen: 0,
    reserved: [0; 7],
};

const NOT_TAPPED: TapHalf = TapHalf {
    skipped: 0,
    next: 0,
    budget: 0,
    hole_from: 0,
    hole_to: 0,
    frame_copy: 0,
    frame_skip: 0,
    frame_head: 0,
    frame_head_len: 0,
    flags: 0,
    turns: 0,
};

/// Packets of one direction since its last record.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Whether the direction had no record on this side before.
    pub(crate) is_first: bool,
}

/// Finds the connection of the packet and notes how the packet stands in it. A SYN on a closed
/// connection begins a new one, so the old entry is as good as none; so does one against the
/// direction of an open connection, or an entry that a late packet made would let it pass unjudged.
#[inline(always)]
pub(crate) fn find(passage: &mut Passage) -> Option<&'static mut Connection> {
    name(passage);
    let entry = CONNTRACK.get_ptr_mut(&passage.tuple)?;
    // SAFETY: the kernel keeps the memory of an element until the program ends. Other CPUs may
    // write at the same time: flags and verdicts are whole words and idempotent; counters are
    // added to atomically.
    let entry = unsafe { &mut *entry };
    let is_reply = (entry.flags & CONNECTION_FROM_A != 0) != passage.from_a;
    if passage.packet.is_syn() && (is_reply || is_closed(entry)) {
        return None;
    }
    passage.is_reply = is_reply;
    passage.connection = entry.id;
    passage.verdicts = entry.verdicts;
    Some(entry)
}

/// Makes the entry of the passage's connection, with the passage's verdicts; `passage.is_reply`
/// says that the packet goes against it. `None` when the map is full of entries in use.
#[inline(never)]
pub(crate) fn insert(passage: &mut Passage, flags: u32) -> Option<&'static mut Connection> {
    // SAFETY: plain helper calls.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    let began_a = passage.from_a != passage.is_reply;
    let fresh = &mut passage.fresh;
    for counters in &mut fresh.counters {
        *counters = NO_COUNTERS;
    }
    for half in &mut fresh.tap {
        *half = NOT_TAPPED;
    }
    fresh.verdicts = passage.verdicts;
    // Two connections of one CPU are more than 256 ns apart.
    fresh.id = (now & !0xff) | u64::from(cpu & 0xff);
    fresh.created_ns = now;
    fresh.flags = flags | if began_a { CONNECTION_FROM_A } else { 0 };
    fresh.reserved = 0;
    passage.connection = fresh.id;
    CONNTRACK.insert(&passage.tuple, &passage.fresh, 0).ok()?;
    let entry = CONNTRACK.get_ptr_mut(&passage.tuple)?;
    // SAFETY: as in `find`.
    Some(unsafe { &mut *entry })
}

/// Adds the packet to its direction's counters on its side, and says whether it is worth a record:
/// the first, new TCP flags, or the interval is over.
#[inline(always)]
pub(crate) fn count(passage: &Passage, entry: &mut Connection, config: &Config) -> Option<Run> {
    let [forward_out, forward_in, reply_out, reply_in] = &mut entry.counters;
    let counters = match (passage.is_reply, passage.side) {
        (false, Side::Leaving) => forward_out,
        (false, Side::Arriving) => forward_in,
        (true, Side::Leaving) => reply_out,
        (true, Side::Arriving) => reply_in,
    };
    // SAFETY: a plain helper call.
    let now = unsafe { bpf_ktime_get_ns() };
    add(&mut counters.packets, 1);
    add(&mut counters.bytes, u64::from(passage.packet.len));
    let interesting = passage.packet.tcp_flags & (SYN | FIN | RST);
    let news = interesting & !counters.flags_seen;
    let is_first = counters.reported_ns == 0;
    if !is_first && news == 0 && now.wrapping_sub(counters.reported_ns) < config.report_ns {
        return None;
    }
    counters.flags_seen |= interesting;
    counters.reported_ns = now;
    let run = Run {
        packets: counters.packets.wrapping_sub(counters.reported_packets),
        bytes: counters.bytes.wrapping_sub(counters.reported_bytes),
        is_first,
    };
    counters.reported_packets = counters.packets;
    counters.reported_bytes = counters.bytes;
    Some(run)
}

/// Whether both directions were closed, or either was reset.
#[inline(always)]
fn is_closed(entry: &Connection) -> bool {
    let [out, arrived, back, returned] = &entry.counters;
    let forward = out.flags_seen | arrived.flags_seen;
    let reply = back.flags_seen | returned.flags_seen;
    (forward | reply) & RST != 0 || forward & reply & FIN != 0
}

/// Makes the key of the packet's connection.
#[inline(always)]
fn name(passage: &mut Passage) {
    let Passage {
        packet,
        tuple,
        from_a,
        ..
    } = passage;
    *from_a = is_smaller(&packet.source, &packet.destination)
        .unwrap_or(packet.source_port <= packet.destination_port);
    if *from_a {
        tuple.a = packet.source;
        tuple.b = packet.destination;
        tuple.a_port = packet.source_port;
        tuple.b_port = packet.destination_port;
    } else {
        tuple.a = packet.destination;
        tuple.b = packet.source;
        tuple.a_port = packet.destination_port;
        tuple.b_port = packet.source_port;
    }
    tuple.protocol = packet.protocol;
    tuple.reserved = [0; 3];
}

/// Any fixed order serves; compared as words, since a byte-wise comparison would be a call.
#[inline(always)]
fn is_smaller(left: &[u8; 16], right: &[u8; 16]) -> Option<bool> {
    // SAFETY: sixteen bytes are four u32; packets keep addresses aligned to four bytes.
    let (left, right) = unsafe {
        (
            &*left.as_ptr().cast::<[u32; 4]>(),
            &*right.as_ptr().cast::<[u32; 4]>(),
        )
    };
    for word in (0..4).rev() {
        if left[word] != right[word] {
            return Some(left[word] < right[word]);
        }
    }
    None
}

#[inline(always)]
fn add(counter: &mut u64, value: u64) {
    // SAFETY: an aligned u64 of a map value; other CPUs add to it in the same way. The target has
    // the instruction, but the standard library's atomics ask for compare-and-swap as well.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({counter} + 0) += {value}",
            counter = in(reg) core::ptr::from_mut(counter),
            value = in(reg) value,
        );
    }
}
