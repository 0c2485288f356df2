//! Sockets of this host's own processes: sent to the proxy without any interface involved.

use aya_ebpf::bindings::{BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, bpf_sock_addr};
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::{SkBuffContext, SockAddrContext, SockOpsContext};
use l7d_ebpf::maps::{Client, Config, Original, datagram_socket, watched_port};

use crate::state::{self, CLIENTS, HOST_PORTS, ORIGINAL};
use crate::steps::headers::{mapped, wide};
use crate::steps::redirect;

/// Let the call go on.
const PROCEED: i32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const LOOPBACK4: [u8; 4] = [127, 0, 0, 1];
/// Families, as `datagram_ports` counts them.
const V4: usize = 0;
const V6: usize = 1;

/// `connect(2)` to an IPv4 address, and `sendmsg(2)` with one on a socket of datagrams.
pub(crate) fn connect4(ctx: &SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // SAFETY: reads of the context the kernel gave us.
    let (ip, port) = unsafe { ((*addr).user_ip4, port(addr)) };
    if !is_ours(addr, port, V4) {
        return PROCEED;
    }
    remember(ctx, mapped(ip.to_ne_bytes()), port);
    let Some(config) = state::config() else {
        return PROCEED;
    };
    // SAFETY: writes of fields that a connect program may write.
    unsafe {
        (*addr).user_ip4 = u32::from_ne_bytes(LOOPBACK4);
        (*addr).user_port = u32::from(proxy_port(addr, config, V4).to_be());
    }
    PROCEED
}

/// `connect(2)` to an IPv6 address, and `sendmsg(2)` with one on a socket of datagrams.
pub(crate) fn connect6(ctx: &SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // SAFETY: reads of the context the kernel gave us.
    let (ip, port) = unsafe { (ip6(addr), port(addr)) };
    if !is_ours(addr, port, V6) {
        return PROCEED;
    }
    remember(ctx, ip, port);
    let Some(config) = state::config() else {
        return PROCEED;
    };
    // SAFETY: writes of fields that a connect program may write.
    unsafe {
        (*addr).user_ip6[0] = 0;
        (*addr).user_ip6[1] = 0;
        (*addr).user_ip6[2] = 0;
        (*addr).user_ip6[3] = 1_u32.to_be();
        (*addr).user_port = u32::from(proxy_port(addr, config, V6).to_be());
    }
    PROCEED
}

/// `recvmsg(2)` on a socket of datagrams: what the proxy sent comes from whom the process asked. One
/// socket that asks several servers at once sees the last of them.
pub(crate) fn received4(ctx: &SockAddrContext) -> i32 {
    if is_from_proxy(ctx.sock_addr, V4) {
        peer4(ctx)
    } else {
        PROCEED
    }
}

/// The same with an IPv6 address.
pub(crate) fn received6(ctx: &SockAddrContext) -> i32 {
    if is_from_proxy(ctx.sock_addr, V6) {
        peer6(ctx)
    } else {
        PROCEED
    }
}

/// A datagram leaves a process: if it goes to the proxy, its client's port says from now on what was
/// asked for. A socket of datagrams gets its port only when it sends, so no earlier hook knows it.
pub(crate) fn datagram(ctx: &SkBuffContext) -> Option<()> {
    let config = state::config()?;
    let first: u8 = ctx.load(0).ok()?;
    let (source, protocol, at, family) = if first >> 4 == 4 {
        let source: [u8; 4] = ctx.load(12).ok()?;
        let header = usize::from(first & 0x0f) * 4;
        (mapped(source), ctx.load::<u8>(9).ok()?, header, V4)
    } else {
        (ctx.load(8).ok()?, ctx.load::<u8>(6).ok()?, 40, V6)
    };
    if u32::from(protocol) != IPPROTO_UDP {
        return None;
    }
    let ports: [u8; 4] = ctx.load(at).ok()?;
    let destination = u16::from_be_bytes([ports[2], ports[3]]);
    if destination == 0 || destination != config.datagram_ports[family & 1] {
        return None;
    }
    // SAFETY: a plain helper call on our own context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    // SAFETY: the value is copied at once.
    let original = unsafe { ORIGINAL.get(&cookie) }.copied()?;
    let client = Client {
        address: source,
        port: u16::from_be_bytes([ports[0], ports[1]]),
        protocol,
        reserved: [0; 5],
    };
    CLIENTS.insert(&client, &original, 0).ok()
}

/// `getpeername(2)`: the process sees the address that it asked for.
pub(crate) fn peer4(ctx: &SockAddrContext) -> i32 {
    let Some(original) = original(ctx) else {
        return PROCEED;
    };
    let [.., a, b, c, d] = original.address;
    // SAFETY: writes of fields that a getpeername program may write.
    unsafe {
        (*ctx.sock_addr).user_ip4 = u32::from_ne_bytes([a, b, c, d]);
        (*ctx.sock_addr).user_port = u32::from(original.port.to_be());
    }
    PROCEED
}

/// `getpeername(2)` on an IPv6 socket.
pub(crate) fn peer6(ctx: &SockAddrContext) -> i32 {
    let Some(original) = original(ctx) else {
        return PROCEED;
    };
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = original.address;
    // SAFETY: writes of fields that a getpeername program may write.
    unsafe {
        (*ctx.sock_addr).user_ip6[0] = u32::from_ne_bytes([a, b, c, d]);
        (*ctx.sock_addr).user_ip6[1] = u32::from_ne_bytes([e, f, g, h]);
        (*ctx.sock_addr).user_ip6[2] = u32::from_ne_bytes([i, j, k, l]);
        (*ctx.sock_addr).user_ip6[3] = u32::from_ne_bytes([m, n, o, p]);
        (*ctx.sock_addr).user_port = u32::from(original.port.to_be());
    }
    PROCEED
}

/// The connection to the proxy stands: from now on its client port says what was asked for. This
/// runs before the handshake's last packet leaves, so the proxy always finds it.
pub(crate) fn established(ctx: &SockOpsContext) -> u32 {
    if ctx.op() != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB {
        return 1;
    }
    // SAFETY: a plain helper call on our own context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.ops.cast()) };
    // SAFETY: the value is copied at once.
    let Some(original) = (unsafe { ORIGINAL.get(&cookie) }).copied() else {
        return 1;
    };
    // Read before the family is asked: reads in two arms would be merged into one through a
    // computed context pointer, which the verifier refuses.
    // SAFETY: volatile reads of the context the kernel gave us.
    let (v4, v6) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx.ops).local_ip4),
            [
                core::ptr::read_volatile(&raw const (*ctx.ops).local_ip6[0]),
                core::ptr::read_volatile(&raw const (*ctx.ops).local_ip6[1]),
                core::ptr::read_volatile(&raw const (*ctx.ops).local_ip6[2]),
                core::ptr::read_volatile(&raw const (*ctx.ops).local_ip6[3]),
            ],
        )
    };
    let address = match ctx.family() {
        AF_INET => mapped(v4.to_ne_bytes()),
        AF_INET6 => wide(v6),
        _ => return 1,
    };
    let client = Client {
        address,
        port: ctx.local_port() as u16,
        protocol: IPPROTO_TCP as u8,
        reserved: [0; 5],
    };
    // A full map evicts the oldest: the proxy then closes that connection, visibly.
    let _ = CLIENTS.insert(&client, &original, 0);
    1
}

/// The port of the proxy that speaks the socket's protocol; 0 where none does.
#[inline(always)]
fn proxy_port(addr: *mut bpf_sock_addr, config: &Config, family: usize) -> u16 {
    // SAFETY: a read of the context the kernel gave us.
    match unsafe { (*addr).protocol } {
        IPPROTO_TCP => config.proxy_port as u16,
        IPPROTO_UDP => config.datagram_ports[family & 1],
        _ => 0,
    }
}

/// Whether a datagram that was received is the proxy's.
#[inline(always)]
fn is_from_proxy(addr: *mut bpf_sock_addr, family: usize) -> bool {
    let Some(config) = state::config() else {
        return false;
    };
    // SAFETY: a read of the context the kernel gave us.
    let port = unsafe { port(addr) };
    let ours = config.datagram_ports[family & 1];
    ours != 0 && port == ours
}

/// Whether this connection is to be redirected: a port that was asked for, the proxy alive, and not
/// the proxy itself.
#[inline(always)]
fn is_ours(addr: *mut bpf_sock_addr, port: u16, family: usize) -> bool {
    let Some(config) = state::config() else {
        return false;
    };
    // SAFETY: reads of the context the kernel gave us.
    let (protocol, socket) = unsafe { ((*addr).protocol, (*addr).__bindgen_anon_1.sk) };
    if proxy_port(addr, config, family) == 0 || !state::proxy_is_alive(config) {
        return false;
    }
    let slot = datagram_socket(0, false, family == V6);
    if protocol == IPPROTO_UDP && !redirect::is_socket_there(slot) {
        return false;
    }
    // SAFETY: checked for null; the verifier knows it as a socket of the context.
    if !socket.is_null() && unsafe { (*socket).mark } & config.mark_mask != 0 {
        return false;
    }
    // SAFETY: only the presence of the key matters.
    unsafe { HOST_PORTS.get(&watched_port(protocol as u8, port)) }.is_some()
}

#[inline(always)]
fn remember(ctx: &SockAddrContext, address: [u8; 16], port: u16) {
    // SAFETY: a plain helper call on our own context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.sock_addr.cast()) };
    let original = Original {
        address,
        port,
        reserved: [0; 6],
    };
    let _ = ORIGINAL.insert(&cookie, &original, 0);
}

#[inline(always)]
fn original(ctx: &SockAddrContext) -> Option<Original> {
    // SAFETY: a plain helper call on our own context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.sock_addr.cast()) };
    // SAFETY: the value is copied at once.
    (unsafe { ORIGINAL.get(&cookie) }).copied()
}

/// # Safety
/// `addr` is the context of this program run.
#[inline(always)]
unsafe fn port(addr: *mut bpf_sock_addr) -> u16 {
    // SAFETY: by the caller's promise.
    u16::from_be(unsafe { (*addr).user_port } as u16)
}

/// # Safety
/// `addr` is the context of this program run.
#[inline(always)]
unsafe fn ip6(addr: *mut bpf_sock_addr) -> [u8; 16] {
    // SAFETY: by the caller's promise.
    let words = unsafe {
        [
            (*addr).user_ip6[0],
            (*addr).user_ip6[1],
            (*addr).user_ip6[2],
            (*addr).user_ip6[3],
        ]
    };
    wide(words)
}
