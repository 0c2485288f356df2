//! Finds or makes the entry of a connection, counts, and decides what is worth a record.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use l7d_ebpf::maps::{
    AGGREGATION_LOW, AGGREGATION_MAXIMUM, CONNECTION_FROM_A, CONNECTION_FROM_SYN, Config,
    Connection, TABLE_INSERTED, TABLE_REFUSED, TABLE_REPLACED, Tuple,
};
use l7d_ebpf::records::{WHY_EACH, WHY_FIRST, WHY_FLAGS, WHY_INTERVAL};

use super::headers::{FIN, RST, SYN};
use super::passage::{Passage, Side};
use super::{address, clock, report, words};
use crate::state::{CONNTRACK, TABLE};

/// Finds the connection of the packet and notes how the packet stands in it. A SYN on a closed
/// connection begins a new one, so the old entry is as good as none; so does one against the
/// direction of an open connection, or an entry that a late packet made would let it pass unjudged; and
/// so does a message of ICMP that is no answer: who is asked may answer, not ask. Nor is it let through by
/// an entry that began with something else, like an answer that nobody asked for.
#[inline(always)]
pub(crate) fn find(passage: &mut Passage) -> Option<&'static mut Connection> {
    name(passage);
    let entry = CONNTRACK.get_ptr_mut(&passage.tuple)?;
    // SAFETY: the kernel keeps the memory of an element until the program ends. Other CPUs may
    // write at the same time: flags and verdicts are whole words and idempotent; counters are
    // added to atomically.
    let entry = unsafe { &mut *entry };
    let is_reply = (entry.flags & CONNECTION_FROM_A != 0) != passage.from_a;
    let is_another = is_reply || entry.flags & CONNECTION_FROM_SYN == 0 || is_closed(entry);
    if is_another && passage.packet.begins() {
        passage.replaces = true;
        return None;
    }
    passage.is_reply = is_reply;
    passage.connection = entry.id;
    words::copy(&mut passage.verdicts, &entry.verdicts);
    Some(entry)
}

/// Gives a connection that has no entry its number, so that what is said of it before it has one bears
/// the same.
#[inline(always)]
pub(crate) fn number(passage: &mut Passage) {
    // SAFETY: plain helper calls.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    passage.began_ns = now;
    // Two connections of one CPU are more than 256 ns apart.
    passage.connection = (now & !0xff) | u64::from(cpu & 0xff);
}

/// Makes the entry of the passage's connection, which has its number, with the passage's verdicts;
/// `passage.is_reply` says that the packet goes against it. `None` when the map is full of entries in
/// use.
#[inline(never)]
pub(crate) fn insert(passage: &mut Passage, flags: u32) -> Option<&'static mut Connection> {
    let began_a = passage.from_a != passage.is_reply;
    let begins = passage.packet.begins();
    let fresh = &mut passage.fresh;
    // SAFETY: nothing but integers, and nothing was counted, measured or copied.
    unsafe { words::clear(fresh) };
    words::copy(&mut fresh.verdicts, &passage.verdicts);
    fresh.id = passage.connection;
    fresh.created_ns = passage.began_ns;
    fresh.flags = flags
        | if began_a { CONNECTION_FROM_A } else { 0 }
        | if begins { CONNECTION_FROM_SYN } else { 0 };
    if passage.replaces
        && let Some(former) = CONNTRACK.get_ptr_mut(&passage.tuple)
    {
        // SAFETY: as in `find`.
        report::end(passage, unsafe { &*former });
        tally(TABLE_REPLACED);
    }
    if CONNTRACK.insert(&passage.tuple, &passage.fresh, 0).is_err() {
        tally(TABLE_REFUSED);
        return None;
    }
    tally(TABLE_INSERTED);
    let entry = CONNTRACK.get_ptr_mut(&passage.tuple)?;
    // SAFETY: as in `find`.
    Some(unsafe { &mut *entry })
}

/// Adds the packet to its direction's counters at this place, and says whether it is worth a record,
/// which `passage.run` is to tell then. `passage.news` is what else is to be told of it.
#[inline(always)]
pub(crate) fn count(passage: &mut Passage, entry: &mut Connection, config: &Config) -> bool {
    let Some(counters) = entry.counters.get_mut(place(passage)) else {
        return false;
    };
    let now = passage.moment;
    add(&mut counters.packets, 1);
    add(&mut counters.bytes, u64::from(passage.packet.len));
    counters.seen_at = now;
    let interesting = passage.packet.tcp_flags & (SYN | FIN | RST);
    let flags = interesting & !counters.flags_seen;
    let is_late = now.wrapping_sub(counters.told_at) >= config.report_moments;
    let is_quiet = counters.told_at != 0
        && flags == 0
        && passage.news == 0
        && !is_late
        && config.aggregation > AGGREGATION_LOW;
    if is_quiet {
        return false;
    }
    counters.flags_seen |= interesting;
    passage.run.is_first = counters.told_at == 0;
    passage.run.why = if counters.told_at == 0 {
        WHY_FIRST
    } else if passage.news != 0 {
        passage.news
    } else if flags != 0 {
        WHY_FLAGS
    } else if config.aggregation <= AGGREGATION_LOW {
        WHY_EACH
    } else {
        WHY_INTERVAL
    };
    counters.told_at = now;
    if config.aggregation >= AGGREGATION_MAXIMUM && !is_told_at_maximum(passage, flags) {
        return false;
    }
    passage.run.packets = counters.packets.wrapping_sub(counters.told_packets);
    passage.run.bytes = counters.bytes.wrapping_sub(counters.told_bytes);
    counters.told_packets = counters.packets;
    counters.told_bytes = counters.bytes;
    true
}

/// Which of an entry's counters are those of the packet's direction at this place. Computed, not chosen:
/// the verifier follows each way through a choice to the end of the program.
#[inline(always)]
pub(crate) fn place(passage: &Passage) -> usize {
    let reply = bit(&passage.is_reply);
    let uplink = bit(&passage.is_uplink);
    let arriving = usize::from(passage.side as u8 & 1);
    (reply << 1 | arriving) & !(uplink * 3) | uplink << 2 | reply & uplink
}

/// A truth as a number. The compiler must not know that it is 0 or 1 already, or the verifier does not.
#[inline(always)]
fn bit(truth: &bool) -> usize {
    // SAFETY: a byte of this CPU's own memory.
    let byte = unsafe { core::ptr::read_volatile(core::ptr::from_ref(truth).cast::<u8>()) };
    usize::from(byte & 1)
}

/// Adds the packet to its direction's counters at an uplink where it comes in: it is told where it goes.
#[inline(always)]
pub(crate) fn note(passage: &Passage, entry: &mut Connection) {
    let Some(counters) = entry.counters.get_mut(place(passage)) else {
        return;
    };
    add(&mut counters.packets, 1);
    add(&mut counters.bytes, u64::from(passage.packet.len));
    counters.seen_at = clock::moment();
    counters.flags_seen |= passage.packet.tcp_flags & (SYN | FIN | RST);
}

/// At the highest level of aggregation one place tells of a direction, and of a connection only what
/// its end does not tell as well: that it began, that it was reset, that it goes on.
#[inline(always)]
fn is_told_at_maximum(passage: &Passage, flags: u8) -> bool {
    passage.is_first_place
        && match passage.run.why {
            WHY_FIRST => !passage.is_reply,
            WHY_FLAGS => flags & RST != 0,
            _ => true,
        }
}

/// Finds out whether no other place of this node saw the packet before.
#[inline(always)]
pub(crate) fn note_place(passage: &mut Passage, entry: &Connection) {
    let Some(out) = entry.counters.get(bit(&passage.is_reply) << 1) else {
        return;
    };
    passage.is_first_place = passage.side == Side::Leaving || out.packets == 0;
}

/// Whether both directions were closed, or either was reset.
#[inline(always)]
fn is_closed(entry: &Connection) -> bool {
    let [out, arrived, back, returned, up, down] = &entry.counters;
    let forward = out.flags_seen | arrived.flags_seen | up.flags_seen;
    let reply = back.flags_seen | returned.flags_seen | down.flags_seen;
    (forward | reply) & RST != 0 || forward & reply & FIN != 0
}

/// Notes the key of the packet's connection.
#[inline(always)]
fn name(passage: &mut Passage) {
    let packet = &passage.packet;
    passage.from_a = key(
        &mut passage.tuple,
        (&packet.source, packet.source_port),
        (&packet.destination, packet.destination_port),
        packet.protocol,
    );
}

/// Makes the key of a connection. Whether the sender is `a` of it.
#[inline(always)]
pub(crate) fn key(
    tuple: &mut Tuple,
    (source, source_port): (&[u8; 16], u16),
    (destination, destination_port): (&[u8; 16], u16),
    protocol: u8,
) -> bool {
    let from_a =
        address::is_smaller(source, destination).unwrap_or(source_port <= destination_port);
    if from_a {
        address::copy(&mut tuple.a, source);
        address::copy(&mut tuple.b, destination);
        tuple.a_port = source_port;
        tuple.b_port = destination_port;
    } else {
        address::copy(&mut tuple.a, destination);
        address::copy(&mut tuple.b, source);
        tuple.a_port = destination_port;
        tuple.b_port = source_port;
    }
    words::set_protocol(tuple, protocol);
    from_a
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

#[inline(always)]
fn tally(count: u32) {
    if let Some(count) = TABLE.get_ptr_mut(count) {
        // SAFETY: this CPU's own counter; programs of one CPU do not preempt each other at a tc hook.
        unsafe { *count += 1 };
    }
}
