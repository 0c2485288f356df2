//! A packet that the kernel lost: told where it is one of this node's endpoints', counted in any case.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use l7d_ebpf::ABI_VERSION;
use l7d_ebpf::drops::{
    DROP_FORWARD, DROP_IN_POD, DROP_REPLY, DropCounts, DropRecord, Place, reason_index,
};
use l7d_ebpf::maps::{CONNECTION_FROM_A, Tuple};
use l7d_ebpf::records::{KIND_KERNEL_DROP, RingCount};

use super::freed::{self, Freed};
use super::kernel::layout;
use super::namespace::{self, Spot};
use super::{address, conntrack, ipcache, place, wake};
use crate::state::{
    CONNTRACK, DROP_BUDGET, DROP_COUNTS, INTERFACES, LOSSES, RECORDS, RING, RING_READER,
};

/// Which program uses the memory of [`LOSSES`]: one may be interrupted by the other.
pub(crate) const FREED: u32 = 0;
/// The one that watches queues of connections.
pub(crate) const QUEUE: u32 = 1;

/// Room for what a program makes, which its stack has none for.
#[repr(C)]
pub(crate) struct Loss {
    record: DropRecord,
    tuple: Tuple,
    place: Place,
}

/// Counts a normal end.
#[inline(always)]
pub(crate) fn count_normal(index: u32) -> Option<()> {
    counts(index)?.normal += 1;
    Some(())
}

/// Tells of the packet where it is one of an endpoint's, within the budget.
#[inline(always)]
pub(crate) fn tell(program: u32, freed: &Freed) -> Option<()> {
    let index = reason_index(freed.reason);
    let has_reason = freed.reason != layout!(not_specified);
    if place::class(freed.place).is_some_and(|class| place::is_end(class, has_reason)) {
        return count_normal(index);
    }
    let loss = LOSSES.get_ptr_mut(program)?;
    // SAFETY: this CPU's own element, and this program's.
    let Loss {
        record,
        tuple,
        place,
    } = unsafe { &mut *loss };
    freed::read(freed.skb, record)?;
    if !has_reason && address::is_multicast_ipv4(&record.destination) {
        // Of a group that nobody has joined: `ip_route_input_rcu` refuses it, and `ip_rcv_finish_core`
        // gives no reason for that, as for much else.
        return count_normal(index);
    }
    let Some(spot) = namespace::spot(freed).filter(|spot| is_ours(record, spot)) else {
        counts(index)?.others += 1;
        return None;
    };
    let class = place::name(freed.place, place);
    if place::is_end(class, has_reason) {
        return count_normal(index);
    }
    // SAFETY: a plain helper call.
    record.time_ns = unsafe { bpf_ktime_get_ns() };
    if !has_budget(record.time_ns) {
        counts(index)?.untold += 1;
        return None;
    }
    record.version = ABI_VERSION;
    record.kind = KIND_KERNEL_DROP;
    record.flags = if spot.is_pod { DROP_IN_POD } else { 0 };
    record.reason = freed.reason;
    record.place = freed.place;
    record.interface = spot.interface;
    record.queued = freed.queue.used;
    record.queue_limit = freed.queue.limit;
    find_connection(record, tuple);
    counts(index)?.told += 1;
    let made = ring_count(program)?;
    made.made += 1;
    let Some(mut room) = RING.reserve::<DropRecord>(0) else {
        made.lost += 1;
        return None;
    };
    room.write(*record);
    room.submit(wake::flags(&RING_READER));
    Some(())
}

/// Whether either end is an endpoint of this node, or the interface is one of theirs.
#[inline(always)]
fn is_ours(record: &DropRecord, spot: &Spot) -> bool {
    // SAFETY: only the presence of the key matters.
    let is_hooked = unsafe { INTERFACES.get(&spot.interface) }.is_some();
    is_hooked
        || ipcache::look_up(&record.source).endpoint != 0
        || ipcache::look_up(&record.destination).endpoint != 0
}

#[inline(always)]
fn has_budget(now: u64) -> bool {
    let Some(budget) = DROP_BUDGET.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's own element. Where a program interrupts another one, a record more or less is
    // told.
    let budget = unsafe { &mut *budget };
    let second = now / 1_000_000_000;
    if budget.second != second {
        budget.second = second;
        budget.used = 0;
    }
    budget.used += 1;
    budget.used <= u64::from(layout!(records_per_second))
}

/// The number of the connection, and which way in it the packet goes.
#[inline(always)]
fn find_connection(record: &mut DropRecord, tuple: &mut Tuple) {
    record.connection = 0;
    let from_a = conntrack::key(
        tuple,
        (&record.source, record.source_port),
        (&record.destination, record.destination_port),
        record.protocol,
    );
    // SAFETY: two words are read, which do not change together.
    let Some(connection) = (unsafe { CONNTRACK.get(&*tuple) }) else {
        return;
    };
    record.connection = connection.id;
    let began_a = connection.flags & CONNECTION_FROM_A != 0;
    record.flags |= if began_a == from_a {
        DROP_FORWARD
    } else {
        DROP_REPLY
    };
}

/// What is counted of these records for the ring.
#[inline(always)]
fn ring_count(program: u32) -> Option<&'static mut RingCount> {
    let count = RECORDS.get_ptr_mut(program)?;
    // SAFETY: this CPU's own element, and this program's.
    Some(unsafe { &mut *count })
}

#[inline(always)]
fn counts(index: u32) -> Option<&'static mut DropCounts> {
    let counts = DROP_COUNTS.get_ptr_mut(index)?;
    // SAFETY: this CPU's own element. Where a program interrupts another one, a count may be lost.
    Some(unsafe { &mut *counts })
}
