//! Frames of HTTP/2 in a packet: heads and small frames are copied, DATA is left out.

use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::{TAP_COPY_MAX, TAP_FRAMES, TapHalf};

use super::{Copy, Fresh, give};
use crate::steps::passage::Passage;

/// Steps through the frames of one packet at most.
const STEPS_MAX: u32 = 24;
/// RFC 9113 §4.1.
const FRAME_HEAD_LEN: u32 = 9;
/// DATA of more bytes is left out behind its first ones, which hold the prefix of a gRPC message.
const DATA_WHOLE: u32 = 1024;
const DATA_COPIED: u32 = 256;
/// The connection preface (RFC 9113 §3.4) is of so many bytes, and begins with these.
pub(super) const PREFACE_LEN: u32 = 24;
const PREFACE: u64 = u64::from_be_bytes(*b"PRI * HT");
/// A frame of settings on stream 0 without flags begins with these, of whatever short length.
const SETTINGS: u64 = 0x0000_0004_0000_0000;
const SETTINGS_LENGTH: u64 = 0x0000_ff00_0000_0000;

/// Copies frames but for the DATA in them. So many steps are done; what is behind is copied as it is,
/// and where frames start is no longer known.
#[inline(never)]
pub(super) fn walk(
    ctx: &TcContext,
    passage: &Passage,
    half: &mut TapHalf,
    copy: &mut Copy,
    fresh: &Fresh,
) {
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
pub(super) fn begins(ctx: &TcContext, is_reply: bool, fresh: &Fresh) -> bool {
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
