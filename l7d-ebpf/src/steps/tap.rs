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

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_ringbuf_output, bpf_skb_load_bytes};
use aya_ebpf::programs::TcContext;
use l7d_ebpf::ABI_VERSION;
use l7d_ebpf::maps::{
    CONNECTION_TAP, CONNECTION_TAP_DONE, CONNECTION_TAP_FORWARD_ARRIVING,
    CONNECTION_TAP_REPLY_ARRIVING, CONNECTION_TAP_WHOLE, CONNECTION_TAPPED, Config, Connection,
    TAP_COPY_MAX, TAP_ENDED, TAP_FRAMES, TAP_LOSSY, TAP_READER_ASLEEP, TAP_SPOKEN, TAP_STARTED,
    TapHalf, WATCHED_BY_TAP, watched_port,
};
use l7d_ebpf::records::{SEGMENT_LOSSY, SEGMENT_REPLY, SEGMENT_WHOLE, Segment};

use super::headers::{ACK, FIN, RST, SYN, TCP};
use super::passage::{Passage, Side};
use crate::state::{TAP_COPY, TAP_DONE, TAP_LOST, TAP_READER, TAP_RING, WATCHED_PORTS};

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
/// Steps through the frames of one packet at most.
const STEPS_MAX: u32 = 24;
/// RFC 9113 §4.1.
const FRAME_HEAD_LEN: u32 = 9;
/// DATA of more bytes is left out behind its first ones, which hold the prefix of a gRPC message.
const DATA_WHOLE: u32 = 1024;
const DATA_COPIED: u32 = 256;
/// The connection preface (RFC 9113 §3.4) is of so many bytes, and begins with these.
const PREFACE_LEN: u32 = 24;
const PREFACE: u64 = u64::from_be_bytes(*b"PRI * HT");
/// A frame of settings on stream 0 without flags begins with these, of whatever short length.
const SETTINGS: u64 = 0x0000_0004_0000_0000;
const SETTINGS_LENGTH: u64 = 0x0000_ff00_0000_0000;
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
    if passage.packet.is_syn() {
        flags |= CONNECTION_TAP_WHOLE;
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
        (true, false) => flags | (begin(passage) & !CONNECTION_TAP_WHOLE),
        (false, _) => flags & !CONNECTION_TAP,
    }
}

/// Copies what is new in the packet, if this is the place where its direction is copied.
#[inline(never)]
pub(crate) fn copy(
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
    if passage.packet.is_syn() {
        // The same ends again, before the former connection was seen to end.
        entry.flags |= CONNECTION_TAP_WHOLE;
    }
    if entry.flags & CONNECTION_TAP_WHOLE != 0 && fresh.len > 0 {
        segment.flags |= SEGMENT_WHOLE;
        entry.flags &= !CONNECTION_TAP_WHOLE;
    }
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
        half.flags = TAP_STARTED;
        half.budget = budget;
        half.skipped = 0;
        half.frame_skip = 0;
        half.frame_head_len = 0;
        half.hole_to = half.hole_from;
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
        if fresh.sequence == half.next && begins_frames(ctx, passage.is_reply, &fresh) {
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

/// Copies frames but for the DATA in them. So many steps are done; what is behind is copied as it is,
/// and where frames start is no longer known.
#[inline(never)]
fn walk(ctx: &TcContext, passage: &Passage, half: &mut TapHalf, copy: &mut Copy, fresh: &Fresh) {
    set(&mut copy.from, 0);
    set(&mut copy.at, 0);
    for step in 0..STEPS_MAX {
        let Some(missing) = (if step < STEPS_MAX - 1 {
            look(ctx, half, copy, fresh)
        } else {
            half.flags &= !TAP_FRAMES;
            let left = fresh.len.saturating_sub(get(&copy.from));
            set(&mut copy.at, get(&copy.from) + left.min(TAP_COPY_MAX));
            Some(fresh.len.saturating_sub(get(&copy.at)))
        }) else {
            continue;
        };
        let (from, at) = (get(&copy.from), get(&copy.at));
        let next = at + missing;
        let is_last = next >= fresh.len;
        let piece = Fresh {
            offset: fresh.offset + from,
            len: at.saturating_sub(from),
            sequence: fresh.sequence.wrapping_add(from),
            missing,
            ends: if is_last { fresh.ends } else { 0 },
        };
        give(ctx, passage, half, copy, &piece);
        set(&mut copy.from, next);
        set(&mut copy.at, next);
        if is_last {
            break;
        }
    }
}

/// One step through frames. Tells when what was looked at is to be copied now, and how many bytes
/// behind it are left out.
#[inline(always)]
fn look(ctx: &TcContext, half: &mut TapHalf, copy: &mut Copy, fresh: &Fresh) -> Option<u32> {
    let at = get(&copy.at);
    let left = fresh.len.saturating_sub(at);
    if left == 0 || at - get(&copy.from) > TAP_COPY_MAX - FRAME_HEAD_LEN {
        return Some(0);
    }
    if get(&half.frame_copy) == 0 && get(&half.frame_skip) == 0 {
        read_head(ctx, half, copy, (fresh.offset + at) as usize, left);
    }
    let at = get(&copy.at);
    let left = fresh.len.saturating_sub(at);
    let to_copy = get(&half.frame_copy);
    let more = to_copy.min(left);
    if at - get(&copy.from) + more > TAP_COPY_MAX {
        return Some(0);
    }
    set(&mut half.frame_copy, to_copy - more);
    set(&mut copy.at, at + more);
    let left = left - more;
    let to_skip = get(&half.frame_skip);
    if to_copy > more || to_skip == 0 || left == 0 {
        return None;
    }
    let missing = to_skip.min(left);
    set(&mut half.frame_skip, to_skip - missing);
    Some(missing)
}

/// Reads the head of a frame, or a byte of one that two packets share.
#[inline(always)]
fn read_head(ctx: &TcContext, half: &mut TapHalf, copy: &mut Copy, offset: usize, left: u32) {
    let seen = get(&half.frame_head_len);
    let at = get(&copy.at);
    if seen == 0 && left >= FRAME_HEAD_LEN {
        // What cannot be read is the end of it.
        let head: [u8; 4] = ctx.load(offset).unwrap_or_default();
        set(&mut half.frame_head, u32::from_be_bytes(head));
        set(&mut half.frame_head_len, FRAME_HEAD_LEN);
        set(&mut copy.at, at + FRAME_HEAD_LEN);
    } else {
        let byte: u8 = ctx.load(offset).unwrap_or_default();
        if seen < 4 {
            let head = get(&half.frame_head) << 8 | u32::from(byte);
            set(&mut half.frame_head, head);
        }
        set(&mut half.frame_head_len, seen + 1);
        set(&mut copy.at, at + 1);
    }
    if get(&half.frame_head_len) == FRAME_HEAD_LEN {
        begin_frame(half, get(&half.frame_head));
    }
}

/// Reads from memory each time: what the verifier knows of a value that stays in a register differs
/// from step to step, and it would look at every combination.
#[inline(always)]
fn get(place: &u32) -> u32 {
    // SAFETY: a reference is readable.
    unsafe { core::ptr::read_volatile(place) }
}

/// The other way of [`get`].
#[inline(always)]
fn set(place: &mut u32, value: u32) {
    // SAFETY: a reference is writable.
    unsafe { core::ptr::write_volatile(place, value) }
}

/// A frame begins whose head starts with this length and type (RFC 9113 §4.1).
#[inline(always)]
fn begin_frame(half: &mut TapHalf, head: u32) {
    let length = head >> 8;
    let is_data = head & 0xff == 0;
    let copied = if is_data && length > DATA_WHOLE {
        DATA_COPIED
    } else {
        length.min(TAP_COPY_MAX - FRAME_HEAD_LEN)
    };
    set(&mut half.frame_head_len, 0);
    set(&mut half.frame_copy, copied);
    set(&mut half.frame_skip, length - copied);
}

/// Whether a side begins as HTTP/2 has it: the client with the preface, the server with its settings
/// (RFC 9113 §3.4).
#[inline(always)]
fn begins_frames(ctx: &TcContext, is_reply: bool, fresh: &Fresh) -> bool {
    let Ok(first) = ctx.load::<[u8; 8]>(fresh.offset as usize) else {
        return false;
    };
    let first = u64::from_be_bytes(first);
    if is_reply {
        first & !SETTINGS_LENGTH == SETTINGS
    } else {
        first == PREFACE
    }
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

/// Puts a record with these bytes into the ring. Whether there was room.
#[inline(always)]
fn emit(
    ctx: &TcContext,
    passage: &Passage,
    half: &TapHalf,
    copy: &mut Copy,
    fresh: &Fresh,
    skipped: u64,
) -> bool {
    let packet = &passage.packet;
    let segment = &mut copy.segment;
    segment.version = ABI_VERSION;
    segment.protocol = packet.protocol;
    segment.tcp_flags = segment.tcp_flags & ACK | fresh.ends;
    segment.flags &= !SEGMENT_LOSSY;
    if half.flags & TAP_LOSSY != 0 {
        segment.flags |= SEGMENT_LOSSY;
    }
    segment.taken = fresh.len;
    segment.connection = passage.connection;
    segment.source = packet.source;
    segment.destination = packet.destination;
    segment.source_port = packet.source_port;
    segment.destination_port = packet.destination_port;
    segment.sequence = fresh.sequence;
    segment.missing = fresh.missing;
    segment.skipped = skipped;
    segment.skipped_from = half.next.wrapping_sub(skipped as u32);
    segment.reserved = 0;
    // SAFETY: a plain helper call.
    segment.time_ns = unsafe { bpf_ktime_get_ns() };
    let is_there = push(ctx, copy, fresh.offset, fresh.len);
    copy.segment.flags &= !SEGMENT_WHOLE;
    is_there
}

#[inline(never)]
fn push(ctx: &TcContext, copy: &mut Copy, offset: u32, mut len: u32) -> bool {
    if len > 0 {
        if len > TAP_COPY_MAX {
            len = TAP_COPY_MAX;
        }
        // SAFETY: the buffer is of TAP_COPY_MAX bytes.
        let read = unsafe {
            bpf_skb_load_bytes(
                ctx.skb.skb.cast(),
                offset,
                copy.bytes.as_mut_ptr().cast(),
                len,
            )
        };
        if read != 0 {
            lost();
            return false;
        }
    }
    let is_asleep = TAP_READER.get(0) == Some(&TAP_READER_ASLEEP);
    let flags = if is_asleep {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    let size = size_of::<Segment>() as u64 + u64::from(len);
    // SAFETY: record and bytes are one allocation of at least `size` bytes.
    let full = unsafe {
        bpf_ringbuf_output(
            core::ptr::addr_of!(TAP_RING).cast_mut().cast(),
            core::ptr::from_mut(&mut copy.segment).cast(),
            size,
            u64::from(flags),
        )
    };
    if full != 0 {
        lost();
    }
    full == 0
}

/// Counts a record that found no room.
#[inline(always)]
fn lost() {
    if let Some(lost) = TAP_LOST.get_ptr_mut(0) {
        // SAFETY: this CPU's own counter; see `report`.
        unsafe { *lost += 1 };
    }
}
