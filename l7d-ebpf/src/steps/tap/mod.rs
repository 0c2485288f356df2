//! Bytes of a tapped connection → the tap's ring, each of them once and only those that a parser
//! needs.
//!
//! ```text
//!   packet ─▶ what of it is new ─▶ HTTP/2: frames, DATA left out ─┬─▶ record with bytes
//!                               └▶ else: the budget of this turn ─┘   or `skipped` grows
//! ```
//!
//! A turn is what one side says until the other speaks: heads come first in it, bodies behind. What
//! is left out is told by the next record, and so is what found no room.

mod frames;
mod ring;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::{
    CONNECTION_TAP, CONNECTION_TAP_DONE, CONNECTION_TAP_FORWARD_ARRIVING,
    CONNECTION_TAP_REPLY_ARRIVING, CONNECTION_TAPPED, Config, Connection, TAP_COPY_MAX, TAP_ENDED,
    TAP_FRAMES, TAP_LOSSY, TAP_SPOKEN, TAP_STARTED, TAP_WHOLE, TapHalf, WATCHED_BY_TAP,
    watched_port,
};
use l7d_ebpf::records::{SEGMENT_REPLY, SEGMENT_WHOLE, Segment};

use super::headers::{ACK, FIN, RST, SYN, TCP};
use super::passage::{Passage, Side};
use crate::state::{TAP_COPY, TAP_DONE, WATCHED_PORTS};
use frames::{PREFACE_LEN, begins, walk};
use ring::emit;

/// A record and the bytes behind it, before they go to the ring.
#[repr(C)]
pub(crate) struct Copy {
    /// In the bytes of a packet of frames: what was not copied yet begins here…
    from: u32,
    /// … and is looked at up to here.
    at: u32,
    segment: Segment,
    bytes: [u8; TAP_COPY_MAX as usize],
}

/// Bytes of an answer that each byte of what was asked allows beyond the setting.
const ANSWER_TO_BYTE: u32 = 4;
/// How often user space is asked whether a connection is still of interest, in turns.
const TURNS_PER_QUESTION: u32 = 16;

/// The new bytes of a packet.
#[derive(Clone, core::marker::Copy)]
struct Fresh {
    /// Where they are in the frame.
    offset: u32,
    len: u32,
    sequence: u32,
    /// Bytes behind them that are left out.
    missing: u32,
    /// TCP flags that end the direction.
    ends: u8,
}

/// The port's way to be watched, `WATCHED_*`; 0 where it is not.
#[inline(always)]
pub(crate) fn watched(protocol: u8, port: u16) -> u8 {
    // SAFETY: the value is copied at once.
    unsafe { WATCHED_PORTS.get(&watched_port(protocol, port)) }.map_or(0, |by| *by)
}

/// Flags of a connection that is tapped from this packet on. Each direction is copied where it
/// leaves a pod of this node, else where it arrives at one.
#[inline(always)]
pub(crate) fn begin(passage: &Passage) -> u32 {
    let arrives = passage.side == Side::Arriving;
    let returns_unseen = passage.destination.endpoint == 0;
    let (forward, reply) = if passage.is_reply {
        (returns_unseen, arrives)
    } else {
        (arrives, returns_unseen)
    };
    let mut flags = CONNECTION_TAPPED;
    if forward {
        flags |= CONNECTION_TAP_FORWARD_ARRIVING;
    }
    if reply {
        flags |= CONNECTION_TAP_REPLY_ARRIVING;
    }
    flags
}

/// Flags of a connection that is joined in its middle.
#[inline(always)]
pub(crate) fn join(passage: &Passage) -> u32 {
    let packet = &passage.packet;
    let port = if passage.is_reply {
        packet.source_port
    } else {
        packet.destination_port
    };
    if watched(packet.protocol, port) == WATCHED_BY_TAP {
        begin(passage)
    } else {
        0
    }
}

/// Flags of a connection when ports may have come to be watched, or no longer are.
#[inline(always)]
pub(crate) fn renew(passage: &Passage, flags: u32) -> u32 {
    let is_watched = watched(TCP, passage.packet.destination_port) == WATCHED_BY_TAP;
    match (is_watched, flags & CONNECTION_TAPPED != 0) {
        (true, true) => flags,
        (true, false) => flags | begin(passage),
        (false, _) => flags & !CONNECTION_TAP,
    }
}

/// Copies what is new in the packet, if this is the place where its direction is copied. What cannot be
/// copied is counted there, and passes all the same.
#[inline(always)]
pub(crate) fn copy(ctx: &TcContext, passage: &Passage, entry: &mut Connection, config: &Config) {
    copy_segment(ctx.skb.skb, passage, entry, config);
}

/// A global function: the verifier looks at it once, whoever calls it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_segment(
    ctx: *mut __sk_buff,
    passage: *const Passage,
    entry: *mut Connection,
    config: *const Config,
) -> u32 {
    // SAFETY: references of the only caller; the verifier wants them to be asked.
    let (passage, entry, config) = unsafe { (passage.as_ref(), entry.as_mut(), config.as_ref()) };
    let (Some(passage), Some(entry), Some(config)) = (passage, entry, config) else {
        return 0;
    };
    u32::from(copy_new(&TcContext::new(ctx), passage, entry, config).is_some())
}

#[inline(always)]
fn copy_new(
    ctx: &TcContext,
    passage: &Passage,
    entry: &mut Connection,
    config: &Config,
) -> Option<()> {
    let place = if passage.is_reply {
        CONNECTION_TAP_REPLY_ARRIVING
    } else {
        CONNECTION_TAP_FORWARD_ARRIVING
    };
    let is_at_arrival = entry.flags & place != 0;
    if is_at_arrival != (passage.side == Side::Arriving) || passage.packet.transport == 0 {
        return None;
    }
    let transport = passage.packet.transport;
    // RFC 9293 §3.1
    let head: [u8; 13] = ctx.load(transport as usize).ok()?;
    let offset = transport + u32::from(head[12] >> 4) * 4;
    let mut fresh = Fresh {
        offset,
        len: passage.packet.end.saturating_sub(offset),
        sequence: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        missing: 0,
        ends: passage.packet.tcp_flags & (FIN | RST),
    };
    let flags = passage.packet.tcp_flags;
    if fresh.len == 0 && flags & (SYN | FIN | RST) == 0 {
        return None;
    }
    // SAFETY: this CPU's own element; see `Passage::begin`.
    let copy = unsafe { &mut *TAP_COPY.get_ptr_mut(0)? };
    let segment = &mut copy.segment;
    segment.acknowledged = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    segment.flags = if passage.is_reply { SEGMENT_REPLY } else { 0 };
    segment.tcp_flags = flags & ACK;
    let [forward, reply] = &mut entry.tap;
    let (requests, responses) = (config.tap_request_bytes, config.tap_response_bytes);
    let (half, budget, other, others_budget) = if passage.is_reply {
        (reply, responses, forward, requests)
    } else {
        (forward, requests, reply, responses)
    };
    if flags & SYN != 0 {
        fresh.sequence = fresh.sequence.wrapping_add(1);
    }
    if flags & SYN != 0 || half.flags & TAP_STARTED == 0 {
        half.next = fresh.sequence;
        half.flags = if flags & SYN != 0 {
            TAP_STARTED | TAP_WHOLE
        } else {
            TAP_STARTED
        };
        half.budget = budget;
        half.skipped = 0;
        half.frame_skip = 0;
        half.frame_head_len = 0;
        half.hole_to = half.hole_from;
    }
    if fresh.len > 0 && half.flags & TAP_WHOLE != 0 {
        // Each side for itself: both may speak first, on two CPUs at once.
        half.flags &= !TAP_WHOLE;
        segment.flags |= SEGMENT_WHOLE;
    }
    if fresh.len > 0 {
        other.turns = other.turns.wrapping_add(1);
        let is_done = entry.flags & CONNECTION_TAP_DONE != 0;
        // Requests in a row have answers in a row.
        let asked = fresh.len.min(TAP_COPY_MAX) * ANSWER_TO_BYTE;
        other.budget = if is_done {
            0
        } else {
            (others_budget + asked).min(TAP_COPY_MAX)
        };
        if other.turns % TURNS_PER_QUESTION == 0
            && !is_done
            // SAFETY: only the presence of the key matters.
            && unsafe { TAP_DONE.get(&entry.id) }.is_some()
        {
            entry.flags |= CONNECTION_TAP_DONE;
            half.flags &= !TAP_FRAMES;
            half.budget = 0;
            other.flags &= !TAP_FRAMES;
            other.budget = 0;
        }
    }
    take(ctx, passage, half, copy, fresh);
    Some(())
}

/// Finds out what of the packet is new, and copies it.
#[inline(always)]
fn take(ctx: &TcContext, passage: &Passage, half: &mut TapHalf, copy: &mut Copy, mut fresh: Fresh) {
    if half.flags & TAP_ENDED != 0 {
        fresh.ends = 0;
    }
    if is_before(fresh.sequence, half.next) {
        let end = fresh.sequence.wrapping_add(fresh.len);
        if fills_hole(half, fresh.sequence, end) {
            fresh.ends = 0;
            limit(&mut fresh, TAP_COPY_MAX);
            let _there = emit(ctx, passage, half, copy, &fresh, 0);
            return;
        }
        // What was dealt with already comes again.
        let old = half.next.wrapping_sub(fresh.sequence).min(fresh.len);
        fresh.offset += old;
        fresh.len -= old;
        fresh.sequence = fresh.sequence.wrapping_add(old);
        if fresh.sequence != half.next {
            return;
        }
    }
    if fresh.len == 0 && fresh.ends == 0 {
        return;
    }
    if fresh.len > 0 && half.flags & TAP_SPOKEN == 0 {
        half.flags |= TAP_SPOKEN;
        if fresh.sequence == half.next && begins(ctx, passage.is_reply, &fresh) {
            half.flags |= TAP_FRAMES;
            half.frame_copy = if passage.is_reply { 0 } else { PREFACE_LEN };
        }
    }
    if fresh.sequence != half.next && half.budget > 0 {
        note_hole(half, fresh.sequence);
        half.flags &= !TAP_FRAMES;
    }
    if fresh.ends != 0 {
        half.flags |= TAP_ENDED;
    }
    if half.flags & TAP_FRAMES != 0 {
        walk(ctx, passage, half, copy, &fresh);
    } else {
        let most = half.budget;
        limit(&mut fresh, most);
        half.budget = most.saturating_sub(fresh.len);
        give(ctx, passage, half, copy, &fresh);
    }
}

/// Leaves out what is beyond `most` bytes.
#[inline(always)]
fn limit(fresh: &mut Fresh, most: u32) {
    let taken = fresh.len.min(most).min(TAP_COPY_MAX);
    fresh.missing = fresh.len - taken;
    fresh.len = taken;
}

/// Gives bytes that come next to the ring, or counts them among those that are in no record.
#[inline(always)]
fn give(ctx: &TcContext, passage: &Passage, half: &mut TapHalf, copy: &mut Copy, fresh: &Fresh) {
    let end = fresh
        .sequence
        .wrapping_add(fresh.len)
        .wrapping_add(fresh.missing);
    let passed = u64::from(end.wrapping_sub(half.next));
    if fresh.len == 0 && fresh.ends == 0 {
        half.skipped += passed;
    } else if emit(ctx, passage, half, copy, fresh, half.skipped) {
        half.skipped = 0;
        half.flags &= !TAP_LOSSY;
    } else {
        half.skipped += passed;
        half.flags |= TAP_LOSSY;
    }
    half.next = end;
}

/// Whether one sequence number is before another.
#[inline(always)]
fn is_before(sequence: u32, other: u32) -> bool {
    sequence.wrapping_sub(other) > i32::MAX as u32
}

/// Whether bytes belong to a hole that later ones have left.
#[inline(always)]
fn fills_hole(half: &TapHalf, start: u32, end: u32) -> bool {
    half.hole_from != half.hole_to
        && is_before(start, half.hole_to)
        && is_before(half.hole_from, end)
}

/// Bytes come before those in front of them: the hole grows, or a new one takes the place of an old
/// one that was long ago.
#[inline(always)]
fn note_hole(half: &mut TapHalf, sequence: u32) {
    const LONG_AGO: u32 = 1 << 20;
    let is_recent =
        half.hole_from != half.hole_to && half.next.wrapping_sub(half.hole_to) < LONG_AGO;
    if !is_recent {
        half.hole_from = half.next;
    }
    half.hole_to = sequence;
}
