//! The way in of the portal: redirected packets are given to the proxy's sockets.

use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::{
    bpf_map_lookup_elem, bpf_sk_assign, bpf_sk_release, bpf_skb_change_type,
};
use aya_ebpf::programs::TcContext;
use l7d_ebpf::records::REASON_ASSIGN_FAILED;

use crate::state::LISTENERS;
use crate::steps::action::{DROP, PASS};
use crate::steps::headers::{self, TCP};
use crate::steps::passage::{Passage, Side};
use crate::steps::{ipcache, redirect, report};

/// `PACKET_HOST` (`include/uapi/linux/if_packet.h`): for us, whatever the frame's address says.
const PACKET_HOST: u32 = 0;

/// Gives the packet to the established socket of its connection, else to a listener. The rule on
/// the portal's interface then delivers it locally whatever its address. Datagrams find theirs when
/// they are whole: see `datagram`.
pub(crate) fn portal(ctx: &TcContext) -> Option<i32> {
    // SAFETY: a plain helper call on our own context.
    unsafe { bpf_skb_change_type(ctx.skb.skb, PACKET_HOST) };
    // SAFETY: a read of the context the kernel gave us.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    let passage = Passage::begin(Side::Arriving, interface, 0)?;
    let packet = &mut passage.packet;
    headers::read(ctx, packet).ok()?;
    if packet.protocol != TCP {
        return None;
    }
    let socket = match redirect::established(ctx, packet) {
        Some(socket) => socket,
        None => listener(packet.is_ipv4)?,
    };
    // SAFETY: both references are valid; the socket's own one is given back exactly once.
    let assigned = unsafe {
        let assigned = bpf_sk_assign(ctx.skb.skb.cast(), socket, 0);
        bpf_sk_release(socket);
        assigned
    };
    if assigned == 0 {
        return Some(PASS);
    }
    passage.source = ipcache::look_up(&passage.packet.source);
    passage.destination = ipcache::look_up(&passage.packet.destination);
    report::refused(passage, REASON_ASSIGN_FAILED);
    Some(DROP)
}

#[inline(always)]
fn listener(is_ipv4: bool) -> Option<*mut c_void> {
    let index: u32 = u32::from(!is_ipv4);
    let map = core::ptr::addr_of!(LISTENERS).cast_mut().cast::<c_void>();
    let key = core::ptr::addr_of!(index).cast::<c_void>();
    // SAFETY: the map is ours and the key is a u32 on the stack. For socket maps the look-up takes
    // a reference, which the caller releases.
    let socket = unsafe { bpf_map_lookup_elem(map, key) };
    (!socket.is_null()).then_some(socket)
}
