//! One fixed-size record into the ring buffer, or one more in the counter of those that did not
//! fit.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use l7d_ebpf::ABI_VERSION;
use l7d_ebpf::maps::{ACTION_DENY, ACTION_REDIRECT};
use l7d_ebpf::records::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, KIND_DROP, KIND_POLICY, KIND_TRACE, PacketRecord,
    STATE_ESTABLISHED, STATE_NEW, STATE_REPLY, VERDICT_AUDIT, VERDICT_DROPPED, VERDICT_FORWARDED,
    VERDICT_REDIRECTED,
};

use super::conntrack::Run;
use super::passage::{Passage, Side};
use super::policy::Decision;
use crate::state::{LOST, RING};

/// Packets passed a point.
#[inline(never)]
pub(crate) fn trace(passage: &Passage, point: u8, run: &Run) {
    let Some(mut room) = RING.reserve::<PacketRecord>(0) else {
        return lost(KIND_TRACE);
    };
    // SAFETY: the room is large enough and aligned, and `fill` writes every field.
    let record = unsafe { &mut *room.as_mut_ptr() };
    fill(passage, record);
    record.kind = KIND_TRACE;
    record.point = point;
    record.packets = run.packets;
    record.bytes = run.bytes;
    record.state = match (passage.is_reply, run.is_first) {
        (true, _) => STATE_REPLY,
        (false, true) => STATE_NEW,
        (false, false) => STATE_ESTABLISHED,
    };
    room.submit(0);
}

/// A connection met a policy; `is_known` says that the same was said of it before.
#[inline(always)]
pub(crate) fn policy(passage: &Passage, decision: &Decision, is_known: bool) {
    let Some(mut room) = RING.reserve::<PacketRecord>(0) else {
        return lost(KIND_POLICY);
    };
    // SAFETY: the room is large enough and aligned, and `fill` writes every field.
    let record = unsafe { &mut *room.as_mut_ptr() };
    fill(passage, record);
    record.kind = KIND_POLICY;
    decided(record, decision);
    record.match_type = decision.match_type;
    record.state = if is_known {
        STATE_ESTABLISHED
    } else {
        STATE_NEW
    };
    record.verdict = match decision.action {
        ACTION_DENY => VERDICT_DROPPED,
        _ if decision.is_audited => VERDICT_AUDIT,
        ACTION_REDIRECT => VERDICT_REDIRECTED,
        _ => VERDICT_FORWARDED,
    };
    room.submit(0);
}

/// The packet was dropped.
#[inline(always)]
pub(crate) fn drop(passage: &Passage, decision: &Decision) {
    let Some(mut room) = RING.reserve::<PacketRecord>(0) else {
        return lost(KIND_DROP);
    };
    // SAFETY: the room is large enough and aligned, and `fill` writes every field.
    let record = unsafe { &mut *room.as_mut_ptr() };
    fill(passage, record);
    record.kind = KIND_DROP;
    decided(record, decision);
    record.verdict = VERDICT_DROPPED;
    room.submit(0);
}

#[inline(always)]
fn decided(record: &mut PacketRecord, decision: &Decision) {
    record.direction = decision.direction;
    record.endpoint = decision.endpoint;
    record.generation = decision.generation;
    record.reason = decision.reason;
    record.rule = decision.rule;
}

#[inline(always)]
fn fill(passage: &Passage, record: &mut PacketRecord) {
    let packet = &passage.packet;
    record.version = ABI_VERSION;
    record.point = 0;
    record.direction = if (passage.side == Side::Leaving) == passage.is_reply {
        DIRECTION_INGRESS
    } else {
        DIRECTION_EGRESS
    };
    record.protocol = packet.protocol;
    record.tcp_flags = packet.tcp_flags;
    record.state = 0;
    record.match_type = 0;
    // SAFETY: a plain helper call.
    record.time_ns = unsafe { bpf_ktime_get_ns() };
    record.source = packet.source;
    record.destination = packet.destination;
    record.source_port = packet.source_port;
    record.destination_port = packet.destination_port;
    record.reason = 0;
    record.verdict = VERDICT_FORWARDED;
    record.icmp_type = packet.icmp_type;
    record.icmp_code = packet.icmp_code;
    record.source_identity = passage.source.identity;
    record.destination_identity = passage.destination.identity;
    record.interface = passage.interface;
    record.endpoint = passage.endpoint;
    record.rule = 0;
    record.generation = 0;
    record.packets = 1;
    record.bytes = u64::from(packet.len);
    record.connection = passage.connection;
}

#[inline(always)]
fn lost(kind: u8) {
    if let Some(lost) = LOST.get_ptr_mut(u32::from(kind)) {
        // SAFETY: this CPU's own counter; programs of one CPU do not preempt each other at a tc
        // hook.
        unsafe { *lost += 1 };
    }
}
