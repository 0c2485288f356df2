//! How a TCP connection fares, told by its packets alone: no socket of it need be on this node.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use l7d_ebpf::maps::{
    CONNECTION_FROM_SYN, Connection, HEALTH_CLOSED, HEALTH_STARTED, HEALTH_TIMING, Health,
};
use l7d_ebpf::records::{WHY_SYN_AGAIN, WHY_ZERO_WINDOW};

use super::headers::{ACK, FIN, Packet, RST, SYN, TCP};
use super::passage::Passage;
use super::{clock, conntrack};

/// Measures a packet where its direction is measured, and leaves in `passage.news` what is to be told of
/// it. Times are taken of the first packet of a moment: more of them would say no more, and the precise
/// clock costs as much as all the rest.
#[inline(always)]
pub(crate) fn observe(passage: &mut Passage, entry: &mut Connection) {
    measure(passage, entry);
}

/// A global function: the verifier looks at it once, whoever calls it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn measure(passage: *mut Passage, entry: *mut Connection) -> u32 {
    // SAFETY: references of the only caller; the verifier wants them to be asked.
    if let (Some(passage), Some(entry)) = (unsafe { passage.as_mut() }, unsafe { entry.as_mut() }) {
        measure_packet(passage, entry);
    }
    0
}

#[inline(always)]
fn measure_packet(passage: &mut Passage, entry: &mut Connection) {
    let packet = &passage.packet;
    // Later fragments have no header.
    if packet.protocol != TCP || packet.transport == 0 || packet.tcp_flags & RST != 0 {
        return;
    }
    if entry.handshake_us == 0 && entry.flags & CONNECTION_FROM_SYN != 0 {
        note_handshake(passage, entry);
    }
    let counters = entry.counters.get(conntrack::place(passage));
    let is_time = counters.is_some_and(|counters| counters.seen_at != passage.moment);
    let [forward, reply] = &mut entry.health;
    let (own, other) = if passage.is_reply {
        (reply, forward)
    } else {
        (forward, reply)
    };
    if packet.tcp_flags & ACK != 0
        && other.flags & HEALTH_TIMING != 0
        && !is_before(packet.acknowledged, other.timed)
    {
        take_sample(other);
    }
    if note_window(packet, own) {
        passage.news = WHY_ZERO_WINDOW;
    }
    if note_sequence(&passage.packet, own, is_time) {
        passage.news = WHY_SYN_AGAIN;
    }
}

/// The client's first ACK ends the handshake, wherever between client and server it is seen: since its
/// SYN, one way to the server and back and one to the client and back have passed.
#[inline(always)]
fn note_handshake(passage: &Passage, entry: &mut Connection) {
    if passage.is_reply || passage.packet.tcp_flags & (SYN | ACK) != ACK {
        return;
    }
    // SAFETY: a plain helper call.
    let now = unsafe { bpf_ktime_get_ns() };
    let micros = now.wrapping_sub(entry.created_ns) / 1000;
    entry.handshake_us = if micros >= u64::from(u32::MAX) {
        u32::MAX
    } else {
        (micros as u32) | u32::from(micros == 0)
    };
}

/// RFC 6298 §2, with a gain of 1/8.
#[inline(always)]
fn take_sample(direction: &mut Health) {
    let sample = clock::micros().wrapping_sub(direction.timed_us) | 1;
    direction.flags &= !HEALTH_TIMING;
    direction.srtt8_us = if direction.srtt8_us == 0 {
        sample.wrapping_mul(8)
    } else {
        direction.srtt8_us - direction.srtt8_us / 8 + sample
    };
    if direction.min_rtt_us == 0 || sample < direction.min_rtt_us {
        direction.min_rtt_us = sample;
    }
}

/// A window that closes is counted, and told once: whether it is to be.
#[inline(always)]
fn note_window(packet: &Packet, own: &mut Health) -> bool {
    if packet.window != 0 {
        own.flags &= !HEALTH_CLOSED;
        return false;
    }
    if own.flags & HEALTH_CLOSED != 0 || packet.tcp_flags & (SYN | FIN) != 0 {
        return false;
    }
    own.flags |= HEALTH_CLOSED;
    own.zero_windows += 1;
    own.zero_windows == 1
}

/// New bytes are timed, where `is_time`; what was seen before is counted. Karn's rule (RFC 6298 §3): an ACK
/// of what was sent twice tells nothing. Whether it is a SYN again.
#[inline(always)]
fn note_sequence(packet: &Packet, own: &mut Health, is_time: bool) -> bool {
    let marks = packet.tcp_flags & (SYN | FIN);
    let span = packet.payload + u32::from(marks != 0);
    if span == 0 {
        return false;
    }
    let end = packet.sequence.wrapping_add(span);
    if own.flags & HEALTH_STARTED == 0 || is_before(own.next, end) {
        own.next = end;
        if is_time && own.flags & HEALTH_TIMING == 0 && packet.payload != 0 {
            own.timed = end;
            own.timed_us = clock::micros();
            own.flags |= HEALTH_TIMING;
        }
        own.flags |= HEALTH_STARTED;
        return false;
    }
    // A keep-alive probe repeats the last byte (RFC 9293 §3.8.4).
    if packet.payload <= 1 && marks == 0 && end == own.next {
        return false;
    }
    own.retransmits += 1;
    own.flags &= !HEALTH_TIMING;
    packet.is_syn()
}

/// Whether one sequence number is before another (RFC 9293 §3.4).
#[inline(always)]
fn is_before(sequence: u32, other: u32) -> bool {
    sequence.wrapping_sub(other) > i32::MAX as u32
}
