//! One fixed-size record into the ring buffer, or one more in the counter of those that did not
//! fit. What is made is counted before.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use l7d_ebpf::ABI_VERSION;
use l7d_ebpf::maps::{ACTION_DENY, ACTION_REDIRECT, Connection};
use l7d_ebpf::records::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, EndRecord, KIND_DROP, KIND_END, KIND_POLICY, KIND_TRACE,
    PacketRecord, STATE_ESTABLISHED, STATE_NEW, STATE_REPLY, VERDICT_AUDIT, VERDICT_DROPPED,
    VERDICT_FORWARDED, VERDICT_REDIRECTED, WHY_EACH,
};

use super::address;
use super::passage::{Passage, Run, Side};
use super::policy::Decision;
use super::{wake, words};
use crate::state::{RING, RING_READER};

/// Packets passed a point.
#[inline(never)]
pub(crate) fn trace(passage: &Passage, entry: &Connection, point: u8) {
    passage.count_made(KIND_TRACE);
    let Some(mut room) = RING.reserve::<PacketRecord>(0) else {
        return passage.count_lost(KIND_TRACE);
    };
    // SAFETY: the room is large enough and aligned, and `fill` writes every field.
    let record = unsafe { &mut *room.as_mut_ptr() };
    fill(passage, record);
    record.kind = KIND_TRACE;
    record.point = point;
    record.packets = passage.run.packets;
    record.bytes = passage.run.bytes;
    record.state = match (passage.is_reply, passage.run.is_first) {
        (true, _) => STATE_REPLY,
        (false, true) => STATE_NEW,
        (false, false) => STATE_ESTABLISHED,
    };
    record.why = passage.run.why;
    let [forward, reply] = &entry.health;
    let health = if passage.is_reply { reply } else { forward };
    record.handshake_us = entry.handshake_us;
    record.srtt_us = health.srtt8_us / 8;
    record.min_rtt_us = health.min_rtt_us;
    record.retransmits = health.retransmits;
    record.zero_windows = health.zero_windows;
    room.submit(wake::flags(&RING_READER));
}

/// One packet where it comes from, at the lowest level of aggregation; it is counted where it goes.
#[inline(always)]
pub(crate) fn packet(passage: &mut Passage, entry: &Connection, point: u8) {
    passage.run = Run {
        packets: 1,
        bytes: u64::from(passage.packet.len),
        why: WHY_EACH,
        is_first: false,
    };
    trace(passage, entry, point);
}

/// A connection's place in the table goes to another one.
#[inline(never)]
pub(crate) fn end(passage: &Passage, entry: &Connection) {
    passage.count_made(KIND_END);
    let Some(mut room) = RING.reserve::<EndRecord>(0) else {
        return passage.count_lost(KIND_END);
    };
    // SAFETY: the room is large enough and aligned, and every field is written.
    let record = unsafe { &mut *room.as_mut_ptr() };
    record.version = ABI_VERSION;
    record.kind = KIND_END;
    record.reserved = [0; 6];
    // SAFETY: a plain helper call.
    record.time_ns = unsafe { bpf_ktime_get_ns() };
    words::copy(&mut record.tuple, &passage.tuple);
    words::copy(&mut record.connection, entry);
    room.submit(wake::flags(&RING_READER));
}

/// A connection met a policy; `is_known` says that the same was said of it before.
#[inline(always)]
pub(crate) fn policy(passage: &Passage, decision: &Decision, is_known: bool) {
    passage.count_made(KIND_POLICY);
    let Some(mut room) = RING.reserve::<PacketRecord>(0) else {
        return passage.count_lost(KIND_POLICY);
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
    room.submit(wake::flags(&RING_READER));
}

/// The packet was dropped.
#[inline(always)]
pub(crate) fn drop(passage: &Passage, decision: &Decision) {
    passage.count_made(KIND_DROP);
    let Some(mut room) = RING.reserve::<PacketRecord>(0) else {
        return passage.count_lost(KIND_DROP);
    };
    // SAFETY: the room is large enough and aligned, and `fill` writes every field.
    let record = unsafe { &mut *room.as_mut_ptr() };
    fill(passage, record);
    record.kind = KIND_DROP;
    decided(record, decision);
    record.verdict = VERDICT_DROPPED;
    room.submit(wake::flags(&RING_READER));
}

/// The packet was dropped, though no policy was asked about it.
#[inline(always)]
pub(crate) fn refused(passage: &Passage, reason: u8) {
    let decision = Decision {
        action: ACTION_DENY,
        match_type: 0,
        reason,
        direction: direction(passage),
        has_policy: true,
        is_audited: false,
        rule: 0,
        endpoint: passage.endpoint,
        generation: passage.generation,
    };
    drop(passage, &decision);
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
    // SAFETY: nothing but integers.
    unsafe { words::clear(record) };
    record.version = ABI_VERSION;
    record.direction = direction(passage);
    record.protocol = packet.protocol;
    record.tcp_flags = packet.tcp_flags;
    // SAFETY: a plain helper call.
    record.time_ns = unsafe { bpf_ktime_get_ns() };
    address::copy(&mut record.source, &packet.source);
    address::copy(&mut record.destination, &packet.destination);
    record.source_port = packet.source_port;
    record.destination_port = packet.destination_port;
    record.verdict = VERDICT_FORWARDED;
    record.icmp_type = packet.icmp_type;
    record.icmp_code = packet.icmp_code;
    record.source_identity = passage.source.identity;
    record.destination_identity = passage.destination.identity;
    record.interface = passage.interface;
    record.endpoint = passage.endpoint;
    record.packets = 1;
    record.bytes = u64::from(packet.len);
    record.connection = passage.connection;
}

/// The direction of the policies that the packet's connection is subject to where it is seen.
#[inline(always)]
fn direction(passage: &Passage) -> u8 {
    if (passage.side == Side::Leaving) == passage.is_reply {
        DIRECTION_INGRESS
    } else {
        DIRECTION_EGRESS
    }
}
