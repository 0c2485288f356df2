//! Sends a packet to the portal.

use aya_ebpf::bindings::{BPF_F_INGRESS, bpf_sock_tuple};
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::{
    bpf_map_lookup_elem, bpf_redirect, bpf_sk_release, bpf_skc_lookup_tcp,
};
use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::{
    CONFIG_FAIL_OPEN, CONNECTION_ENFORCED, CONNECTION_PROXIED, Config, Connection, datagram_socket,
};
use l7d_ebpf::records::REASON_PROXY_UNAVAILABLE;

use super::action::{DROP, PASS};
use super::address;
use super::headers::{Packet, UDP};
use super::passage::Passage;
use super::report;
use crate::state::{self, DATAGRAM_SOCKETS};

/// State of a listening socket (`include/net/tcp_states.h`).
const TCP_LISTEN: u32 = 10;

/// Puts the packet on the portal's way in.
#[inline(always)]
pub(crate) fn to_portal(config: &Config) -> i32 {
    if config.portal == 0 {
        return PASS;
    }
    // SAFETY: a plain helper call; the redirect happens when the program returns its value.
    let action = unsafe { bpf_redirect(config.portal, u64::from(BPF_F_INGRESS)) };
    i32::try_from(action).unwrap_or(DROP)
}

/// What happens to a new connection that the proxy must judge while there is no proxy: `None` when
/// it may pass.
#[inline(always)]
pub(crate) fn without_proxy(passage: &Passage, config: &Config) -> Option<i32> {
    if config.flags & CONFIG_FAIL_OPEN != 0 {
        return None;
    }
    report::refused(passage, REASON_PROXY_UNAVAILABLE);
    Some(DROP)
}

/// Whether a packet of a connection goes to the proxy. Datagrams have no state there and keep their
/// addresses and ports: while the proxy is away they pass it by, in both directions, without anybody
/// noticing.
#[inline(always)]
pub(crate) fn is_for_proxy(passage: &Passage, entry: &Connection, config: &Config) -> bool {
    entry.flags & CONNECTION_PROXIED != 0
        && (passage.packet.protocol != UDP
            || is_possible(config) && is_socket_there(datagram_slot(passage, config)))
}

/// The slot of the socket for a datagram. Both directions of a client's port are one worker's.
#[inline(always)]
pub(crate) fn datagram_slot(passage: &Passage, config: &Config) -> u32 {
    let packet = &passage.packet;
    let client_port = if passage.is_reply {
        packet.destination_port
    } else {
        packet.source_port
    };
    let worker = u32::from(client_port) % config.datagram_workers.max(1);
    datagram_socket(worker, passage.is_reply, !packet.is_ipv4)
}

/// Whether a slot of `DATAGRAM_SOCKETS` has its socket. A process that dies takes its sockets along,
/// long before its heartbeat is missed.
#[inline(always)]
pub(crate) fn is_socket_there(slot: u32) -> bool {
    let map = core::ptr::addr_of!(DATAGRAM_SOCKETS)
        .cast_mut()
        .cast::<c_void>();
    let key = core::ptr::addr_of!(slot).cast::<c_void>();
    // SAFETY: the map is ours and the key is a u32 on the stack. For socket maps the look-up takes
    // a reference, which is released exactly once.
    unsafe {
        let socket = bpf_map_lookup_elem(map, key);
        if socket.is_null() {
            return false;
        }
        bpf_sk_release(socket);
    }
    true
}

/// What happens to a packet that does not go to the proxy: it passes, unless it is a datagram that
/// only the proxy may let pass.
#[inline(always)]
pub(crate) fn past_proxy(passage: &Passage, entry: &Connection, config: &Config) -> i32 {
    const BOTH: u32 = CONNECTION_PROXIED | CONNECTION_ENFORCED;
    if entry.flags & BOTH == BOTH && passage.packet.protocol == UDP && !passage.is_reply {
        return without_proxy(passage, config).unwrap_or(PASS);
    }
    PASS
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
        tuple.__bindgen_anon_1.ipv6.saddr = address::words(&packet.source);
        tuple.__bindgen_anon_1.ipv6.daddr = address::words(&packet.destination);
        tuple.__bindgen_anon_1.ipv6.sport = source_port;
        tuple.__bindgen_anon_1.ipv6.dport = destination_port;
        (tuple, 36)
    }
}
