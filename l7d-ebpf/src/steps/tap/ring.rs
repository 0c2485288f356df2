//! Copied bytes → the tap's ring.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_ringbuf_output, bpf_skb_load_bytes};
use aya_ebpf::programs::TcContext;
use l7d_ebpf::ABI_VERSION;
use l7d_ebpf::maps::{TAP_COPY_MAX, TAP_LOSSY, TapHalf};
use l7d_ebpf::records::{SEGMENT_LOSSY, SEGMENT_WHOLE, Segment};

use super::{Copy, Fresh};
use crate::state::{TAP_READER, TAP_RECORDS, TAP_RING};
use crate::steps::address;
use crate::steps::headers::ACK;
use crate::steps::passage::Passage;
use crate::steps::wake;

/// Puts a record with these bytes into the ring. Whether there was room.
#[inline(always)]
pub(super) fn emit(
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
    address::copy(&mut segment.source, &packet.source);
    address::copy(&mut segment.destination, &packet.destination);
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
    let Some(count) = TAP_RECORDS.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's own counters; see `report::room`.
    let count = unsafe { &mut *count };
    count.made += 1;
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
            count.lost += 1;
            return false;
        }
    }
    let flags = wake::flags(&TAP_READER);
    let size = size_of::<Segment>() as u64 + u64::from(len);
    // SAFETY: record and bytes are one allocation of at least `size` bytes.
    let full = unsafe {
        bpf_ringbuf_output(
            core::ptr::addr_of!(TAP_RING).cast_mut().cast(),
            core::ptr::from_mut(&mut copy.segment).cast(),
            size,
            flags,
        )
    };
    if full != 0 {
        count.lost += 1;
    }
    full == 0
}
