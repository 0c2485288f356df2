//! Which of the proxy's sockets gets a redirected datagram.
//!
//! Unlike the assignment at the portal this happens when the datagram is whole: the socket that a
//! fragment was assigned to is lost when the fragments are joined (`inet_frag_reasm_prepare`).

use aya_ebpf::programs::SkLookupContext;

use crate::state::{self, DATAGRAM_SOCKETS};
use crate::steps::headers::{UDP, mapped, wide};
use crate::steps::passage::{Passage, Side};
use crate::steps::{conntrack, redirect};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// Socket lookup in this network namespace: datagrams that came through the portal go to the proxy,
/// what a client sent to one socket and what a server answered to another. All others find their own
/// socket as if we were not there.
#[inline(always)]
pub(crate) fn datagram(ctx: &SkLookupContext) -> Option<()> {
    let config = state::config()?;
    let lookup = ctx.lookup;
    // Volatile, so that reads in two arms are not merged into one through a computed context
    // pointer, which the verifier refuses.
    // SAFETY: reads of the context the kernel gave us.
    let (interface, protocol, family) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*lookup).ingress_ifindex),
            core::ptr::read_volatile(&raw const (*lookup).protocol),
            core::ptr::read_volatile(&raw const (*lookup).family),
        )
    };
    if interface == 0 || interface != config.portal || protocol != u32::from(UDP) {
        return None;
    }
    let passage = Passage::begin(Side::Arriving, interface, 0)?;
    let packet = &mut passage.packet;
    packet.protocol = UDP;
    packet.tcp_flags = 0;
    packet.is_ipv4 = family == AF_INET;
    // SAFETY: reads of the context the kernel gave us.
    unsafe {
        packet.source_port =
            u16::from_be(core::ptr::read_volatile(&raw const (*lookup).remote_port));
        packet.destination_port = core::ptr::read_volatile(&raw const (*lookup).local_port) as u16;
        match family {
            AF_INET => {
                let source = core::ptr::read_volatile(&raw const (*lookup).remote_ip4);
                let destination = core::ptr::read_volatile(&raw const (*lookup).local_ip4);
                packet.source = mapped(source.to_ne_bytes());
                packet.destination = mapped(destination.to_ne_bytes());
            }
            AF_INET6 => {
                let source = [
                    core::ptr::read_volatile(&raw const (*lookup).remote_ip6[0]),
                    core::ptr::read_volatile(&raw const (*lookup).remote_ip6[1]),
                    core::ptr::read_volatile(&raw const (*lookup).remote_ip6[2]),
                    core::ptr::read_volatile(&raw const (*lookup).remote_ip6[3]),
                ];
                let destination = [
                    core::ptr::read_volatile(&raw const (*lookup).local_ip6[0]),
                    core::ptr::read_volatile(&raw const (*lookup).local_ip6[1]),
                    core::ptr::read_volatile(&raw const (*lookup).local_ip6[2]),
                    core::ptr::read_volatile(&raw const (*lookup).local_ip6[3]),
                ];
                packet.source = wide(source);
                packet.destination = wide(destination);
            }
            _ => return None,
        }
    }
    // Without an entry (the table was full) it is what a client sent: nobody redirects answers then.
    if conntrack::find(passage).is_none() {
        passage.is_reply = false;
    }
    let slot = redirect::datagram_slot(passage, config);
    // A slot without a socket: nobody takes it, and the sender is told so by the stack.
    DATAGRAM_SOCKETS.redirect_sk_lookup(ctx, slot, 0).ok()
}
