//! Where the kernel frees packets that went nowhere, and where it lets a SYN go for want of room
//! without saying so.

use aya_ebpf::programs::{BtfTracePointContext, FEntryContext};
use l7d_ebpf::drops::{CLASS_COUNTED, CLASS_HOOK, CLASS_IGNORED};

use crate::state::{DROP_CLASSES, SHOT};
use crate::steps::freed::{Freed, Queue};
use crate::steps::{kernel, loss};

/// The tracepoint: packet, address of the code, reason, and in newer kernels the socket that the packet
/// was for.
#[inline(always)]
pub(crate) fn kfree_skb(ctx: &BtfTracePointContext) -> Option<()> {
    let reason: u32 = ctx.arg(2);
    let index = l7d_ebpf::drops::reason_index(reason);
    let class = *DROP_CLASSES.get(index)?;
    match class {
        CLASS_IGNORED => return None,
        CLASS_COUNTED => return loss::count_normal(index),
        CLASS_HOOK if take_shot() => return None,
        _ => {}
    }
    let freed = Freed {
        skb: ctx.arg::<*const u8>(0) as u64,
        socket: if kernel::layout!(tells_socket) == 0 {
            0
        } else {
            ctx.arg::<*const u8>(3) as u64
        },
        place: ctx.arg::<*const u8>(1) as u64,
        reason,
        queue: Queue { used: 0, limit: 0 },
    };
    loss::tell(loss::FREED, &freed)
}

/// `tcp_conn_request(rsk_ops, af_ops, sk, skb)`: where the queue of connections that wait for
/// `accept(2)` is full, the SYN is let go as if it had been used (`sk_acceptq_is_full`).
#[inline(always)]
pub(crate) fn tcp_conn_request(ctx: &FEntryContext) -> Option<()> {
    let socket = ctx.arg::<*const u8>(2) as u64;
    let used: u32 = kernel::read(socket, kernel::layout!(socket_queued))?;
    let limit: u32 = kernel::read(socket, kernel::layout!(socket_queue_limit))?;
    if used <= limit {
        return None;
    }
    let freed = Freed {
        skb: ctx.arg::<*const u8>(3) as u64,
        socket,
        place: 0,
        reason: kernel::layout!(listen_overflow),
        queue: Queue { used, limit },
    };
    loss::tell(loss::QUEUE, &freed)
}

/// Whether the packet was dropped by one of our own hooks, which has told it. Forgets it.
#[inline(always)]
fn take_shot() -> bool {
    let Some(shot) = SHOT.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's own word.
    unsafe { core::mem::replace(&mut *shot, 0) != 0 }
}
