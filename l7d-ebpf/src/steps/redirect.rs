//! Sends a packet to the portal.

use aya_ebpf::bindings::{BPF_F_INGRESS, TC_ACT_PIPE, TC_ACT_SHOT, bpf_sock_tuple};
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::{bpf_redirect, bpf_sk_release, bpf_skc_lookup_tcp};
use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::{ACTION_DENY, CONFIG_FAIL_OPEN, Config};
use l7d_ebpf::records::{DIRECTION_EGRESS, DIRECTION_INGRESS, REASON_PROXY_UNAVAILABLE};

use super::headers::Packet;
use super::passage::{Passage, Side};
use super::policy::Decision;
use super::report;
use crate::state;

/// State of a listening socket (`include/net/tcp_states.h`).
const TCP_LISTEN: u32 = 10;

/// Puts the packet on the portal's way in.
#[inline(always)]
pub(crate) fn to_portal(config: &Config) -> i32 {
    if config.portal == 0 {
        return TC_ACT_PIPE;
    }
    // SAFETY: a plain helper call; the redirect happens when the program returns its value.
    let action = unsafe { bpf_redirect(config.portal, u64::from(BPF_F_INGRESS)) };
    i32::try_from(action).unwrap_or(TC_ACT_SHOT)
}

/// What happens to a new connection that the proxy must judge while there is no proxy: `None` when
/// it may pass.
#[inline(always)]
pub(crate) fn without_proxy(passage: &Passage, config: &Config) -> Option<i32> {
    if config.flags & CONFIG_FAIL_OPEN != 0 {
        return None;
    }
    let decision = Decision {
        action: ACTION_DENY,
        match_type: 0,
        reason: REASON_PROXY_UNAVAILABLE,
        direction: if passage.side == Side::Leaving {
            DIRECTION_EGRESS
        } else {
            DIRECTION_INGRESS
        },
        has_policy: true,
        rule: 0,
        endpoint: passage.endpoint,
        generation: config.generation,
    };
    report::drop(passage, &decision);
    Some(TC_ACT_SHOT)
}

/// Whether the proxy may be sent new connections.
#[inline(always)]
pub(crate) fn is_possible(config: &Config) -> bool {
    config.portal != 0 && state::proxy_is_alive(config)
}

/// Whether a socket of this host is in the middle of the packet's connection: the proxy's, when the
/// entry of a redirected connection was evicted.
#[inline(always)]
pub(crate) fn proxy_has_socket(ctx: &TcContext, packet: &Packet) -> bool {
    established(ctx, packet).is_some_and(|socket| {
        // SAFETY: the reference came from the look-up and is released exactly once.
        unsafe { bpf_sk_release(socket) };
        true
    })
}

/// The socket in the middle of the packet's connection; to be released.
#[inline(never)]
pub(crate) fn established(ctx: &TcContext, packet: &Packet) -> Option<*mut c_void> {
    let (mut tuple, size) = tuple(packet);
    // SAFETY: the tuple outlives the call and `size` is the length of its family's form. −1 asks
    // in the network namespace of the packet's interface.
    let socket = unsafe {
        bpf_skc_lookup_tcp(
            ctx.skb.skb.cast(),
            &mut tuple,
            size,
            u64::from(u32::MAX) | !0,
            0,
        )
    };
    if socket.is_null() {
        return None;
    }
    // SAFETY: not null, and valid until released.
    if unsafe { (*socket).state } == TCP_LISTEN {
        // SAFETY: as above; released exactly once.
        unsafe { bpf_sk_release(socket.cast()) };
        return None;
    }
    Some(socket.cast())
}

#[inline(always)]
fn tuple(packet: &Packet) -> (bpf_sock_tuple, u32) {
    // SAFETY: all-zero is a valid value of a union of integer structs.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let source_port = packet.source_port.to_be();
    let destination_port = packet.destination_port.to_be();
    if packet.is_ipv4 {
        let [.., a, b, c, d] = packet.source;
        let [.., e, f, g, h] = packet.destination;
        tuple.__bindgen_anon_1.ipv4.saddr = u32::from_ne_bytes([a, b, c, d]);
        tuple.__bindgen_anon_1.ipv4.daddr = u32::from_ne_bytes([e, f, g, h]);
        tuple.__bindgen_anon_1.ipv4.sport = source_port;
        tuple.__bindgen_anon_1.ipv4.dport = destination_port;
        (tuple, 12)
    } else {
        tuple.__bindgen_anon_1.ipv6.saddr = words(packet.source);
        tuple.__bindgen_anon_1.ipv6.daddr = words(packet.destination);
        tuple.__bindgen_anon_1.ipv6.sport = source_port;
        tuple.__bindgen_anon_1.ipv6.dport = destination_port;
        (tuple, 36)
    }
}

#[inline(always)]
fn words(address: [u8; 16]) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
        u32::from_ne_bytes([i, j, k, l]),
        u32::from_ne_bytes([m, n, o, p]),
    ]
}
