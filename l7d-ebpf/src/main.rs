//! The kernel programs of l7d, by section.
//!
//! | program | attached to | does |
//! |---|---|---|
//! | `from_pod` | tc ingress of a pod's host interface | judges what the pod sends |
//! | `to_pod` | tc egress of a pod's host interface | judges what the pod receives |
//! | `from_network` | tc ingress of an uplink | brings replies of proxied connections to the proxy |
//! | `to_network` | tc egress of an uplink | judges what left a pod for a service address |
//! | `guard_in` | tc ingress of an uplink, in the place of `from_network` | judges what comes for this node as well |
//! | `guard_out` | tc egress of an uplink, in the place of `to_network` | judges what this node sends as well |
//! | `portal` | tc ingress of the portal | gives redirected packets to the proxy's sockets |
//! | `datagram` | socket lookup of the network namespace | gives redirected datagrams to the proxy |
//! | `connect4`, `connect6` | cgroup | sends this host's processes to the proxy |
//! | `sendmsg4`, `sendmsg6` | cgroup | the same with their datagrams |
//! | `peer4`, `peer6`, `recvmsg4`, `recvmsg6` | cgroup | tells them the address that they asked for |
//! | `leaving` | cgroup, egress | remembers who asked for what by datagrams |
//! | `established` | cgroup, sock_ops | remembers who asked for what |
//! | `kfree_skb` | tracepoint | tells what the kernel drops, and why |
//! | `tcp_conn_request` | the kernel's function | tells of connections that find no room with their server |

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    unsafe_code,
    reason = "kernel programs read packets and maps through raw pointers"
)]

mod hooks;
mod state;
mod steps;

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::macros::{
    btf_tracepoint, cgroup_skb, cgroup_sock_addr, classifier, fentry, sk_lookup, sock_ops,
};
use aya_ebpf::programs::{
    BtfTracePointContext, FEntryContext, SkBuffContext, SkLookupContext, SockAddrContext,
    SockOpsContext, TcContext,
};

use steps::action::{self, PASS};

#[classifier]
pub(crate) fn from_pod(ctx: TcContext) -> i32 {
    action::note(hooks::pod::from_pod(&ctx))
}

#[classifier]
pub(crate) fn to_pod(ctx: TcContext) -> i32 {
    action::note(hooks::pod::to_pod(&ctx))
}

#[classifier]
pub(crate) fn from_network(ctx: TcContext) -> i32 {
    action::note(hooks::uplink::from_network(&ctx))
}

#[classifier]
pub(crate) fn to_network(ctx: TcContext) -> i32 {
    action::note(hooks::uplink::to_network(&ctx))
}

#[classifier]
pub(crate) fn guard_in(ctx: TcContext) -> i32 {
    action::note(hooks::host::guard_in(&ctx))
}

#[classifier]
pub(crate) fn guard_out(ctx: TcContext) -> i32 {
    action::note(hooks::host::guard_out(&ctx))
}

#[classifier]
pub(crate) fn portal(ctx: TcContext) -> i32 {
    action::note(hooks::portal::portal(&ctx).unwrap_or(PASS))
}

#[sk_lookup]
pub(crate) fn datagram(ctx: SkLookupContext) -> u32 {
    // With or without a socket chosen: a lookup is never refused.
    let _chosen = hooks::datagram::datagram(&ctx);
    SK_PASS
}

#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    hooks::cgroup::connect4(&ctx)
}

#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(ctx: SockAddrContext) -> i32 {
    hooks::cgroup::connect6(&ctx)
}

#[cgroup_sock_addr(getpeername4)]
pub(crate) fn peer4(ctx: SockAddrContext) -> i32 {
    hooks::cgroup::peer4(&ctx)
}

#[cgroup_sock_addr(getpeername6)]
pub(crate) fn peer6(ctx: SockAddrContext) -> i32 {
    hooks::cgroup::peer6(&ctx)
}

#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn sendmsg4(ctx: SockAddrContext) -> i32 {
    hooks::cgroup::connect4(&ctx)
}

#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn sendmsg6(ctx: SockAddrContext) -> i32 {
    hooks::cgroup::connect6(&ctx)
}

#[cgroup_sock_addr(recvmsg4)]
pub(crate) fn recvmsg4(ctx: SockAddrContext) -> i32 {
    hooks::cgroup::received4(&ctx)
}

#[cgroup_sock_addr(recvmsg6)]
pub(crate) fn recvmsg6(ctx: SockAddrContext) -> i32 {
    hooks::cgroup::received6(&ctx)
}

#[cgroup_skb(egress)]
pub(crate) fn leaving(ctx: SkBuffContext) -> i32 {
    // Noted or not, it leaves.
    let _noted = hooks::cgroup::datagram(&ctx);
    1
}

#[sock_ops]
pub(crate) fn established(ctx: SockOpsContext) -> u32 {
    hooks::cgroup::established(&ctx)
}

#[btf_tracepoint(function = "kfree_skb")]
pub(crate) fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    // Told or not, it is gone.
    let _told = hooks::kfree_skb::kfree_skb(&ctx);
    0
}

#[fentry(function = "tcp_conn_request")]
pub(crate) fn tcp_conn_request(ctx: FEntryContext) -> i32 {
    // As above.
    let _told = hooks::kfree_skb::tcp_conn_request(&ctx);
    0
}

/// Never reached: nothing here panics, and the verifier refuses what could.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers that are for GPL programs only are used, so the kernel must be told.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
