//! Reasons that mean something else where certain functions give them.

use super::{Meaning, TTL_EXCEEDED, counted, told};

/// Reasons that mean something of their own where these functions give them.
pub(super) const PLACES: &[(&str, &[&str], Meaning)] = &[
    (
        "IP_INHDR",
        &["ip_forward", "ip6_forward"],
        told(
            "IP_INHDR",
            TTL_EXCEEDED,
            "the packet's time to live (hop limit) ended at this node: a routing loop, or traceroute",
        ),
    ),
    (
        "NO_SOCKET",
        &["cookie_v4_check", "cookie_v6_check"],
        told(
            "NO_SOCKET",
            0,
            "the end of a handshake that SYN cookies have answered: the server's accept queue is full (listen(2), net.core.somaxconn), or the cookie is too old",
        ),
    ),
    (
        "NO_SOCKET",
        &["ping_rcv"],
        counted(
            "NO_SOCKET",
            "the reply to a ping that asked by a raw socket, which has had a copy of it",
        ),
    ),
    (
        "NOT_SPECIFIED",
        &["udp_destruct_common"],
        counted("NOT_SPECIFIED", "it waited in a socket that was closed"),
    ),
    (
        "NOT_SPECIFIED",
        &["ip6_mc_input"],
        counted(
            "NOT_SPECIFIED",
            "a multicast packet of a group that nobody here has joined",
        ),
    ),
    (
        "NOT_SPECIFIED",
        &["tcp_v4_rcv", "tcp_v6_rcv"],
        counted(
            "NOT_SPECIFIED",
            "the end of a packet that the remains of a closed connection (TIME_WAIT) have answered",
        ),
    ),
];
