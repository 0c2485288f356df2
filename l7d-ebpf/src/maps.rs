//! Keys and values of the maps: what they mean, who writes them and who reads them.
//!
//! | map | key → value | written by | read by |
//! |---|---|---|---|
//! | `CONFIG` | 0 → [`Config`] | user | programs |
//! | `HEARTBEAT` | 0 → `u64` ns of `CLOCK_MONOTONIC` | user | programs |
//! | `INTERFACES` | ifindex → [`Interface`] | user | programs |
//! | `ENDPOINTS` | endpoint → [`Endpoint`] | user | programs |
//! | `IPCACHE` | address prefix → [`Ipcache`] | user | programs |
//! | `POLICY` | [`PolicyKey`] prefix → [`Policy`] | user | programs |
//! | `WATCHED_PORTS` | [`watched_port`] → `WATCHED_*` | user | programs |
//! | `HOST_PORTS` | [`watched_port`] → 1 | user | socket programs |
//! | `CONNTRACK` | [`Tuple`] → [`Connection`] | programs | user (which ends them) |
//! | `TABLE` | `TABLE_*` → count, per CPU | programs | user |
//! | `FRAGMENTS` | [`Fragment`] → ports | programs | programs |
//! | `LISTENERS` | 0 IPv4, 1 IPv6 → socket | user | portal |
//! | `DATAGRAM_SOCKETS` | [`datagram_socket`] → socket | user | `datagram` |
//! | `ORIGINAL` | socket cookie → [`Original`] | socket programs | socket programs |
//! | `CLIENTS` | [`Client`] → [`Original`] | socket programs | user |
//! | `RECORDS` | recorder → [`RingCount`](crate::records::RingCount), per CPU | programs that judge no packets | user |
//! | `PASSAGE` | 0 → [`Scratch`](crate::records::Scratch), per CPU | programs | user (the counts) |
//! | `SHOT` | 0 → 1: the packet at hand is dropped by us, per CPU | programs | programs |
//! | `RING` | records | programs | user |
//! | `TAP_RING` | [`Segment`](crate::records::Segment)s with their bytes | programs | user |
//! | `TAP_RECORDS` | 0 → segments made and lost, per CPU | programs | user |
//! | `RING_READER`, `TAP_READER` | 0 → `READER_*` | user | programs |
//! | `TAP_DONE` | connection → 1: nothing more of it is of use | user | programs |

/// Most hooked interfaces of a node.
pub const INTERFACES_MAX: u32 = 4096;
/// Room for every endpoint that has a number: an endpoint without its entry would be open.
pub const ENDPOINTS_MAX: u32 = 65_536;
/// Most addresses and prefixes that have an identity.
pub const IPCACHE_MAX: u32 = 512_000;
/// Most policy entries of a node; memory is taken as they come.
pub const POLICY_MAX: u32 = 1_048_576;
/// Connections remembered where user space does not say; the least recently used gives way.
pub const CONNTRACK_MAX: u32 = 65_536;
/// First fragments remembered.
pub const FRAGMENTS_MAX: u32 = 8192;
/// Connections of this host's processes that are on their way to the proxy.
pub const CLIENTS_MAX: u32 = 65_536;

/// Settings that may change while the programs run.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Generation of the policy: a verdict made under another one is made again.
    pub generation: u32,
    /// Interface index of the portal; 0 while there is none.
    pub portal: u32,
    /// Bits of the packet mark that are ours.
    pub mark_mask: u32,
    /// Mark of packets from the proxy to clients.
    pub mark_reply: u32,
    /// Mark of packets from the proxy to servers outside.
    pub mark_upstream: u32,
    /// Mark of packets from the proxy to servers inside the cluster.
    pub mark_upstream_local: u32,
    /// TCP port of the proxy on loopback, for redirected processes of this host.
    pub proxy_port: u32,
    /// `CONFIG_*` bits.
    pub flags: u32,
    /// Workers of the proxy that take datagrams; at most [`DATAGRAM_WORKERS_MAX`].
    pub datagram_workers: u32,
    /// UDP ports of the proxy on loopback, IPv4 and IPv6, for redirected processes of this host; 0
    /// without any.
    pub datagram_ports: [u16; 2],
    /// Most bytes that the tap copies of what a client says until its server answers; at most
    /// [`TAP_COPY_MAX`].
    pub tap_request_bytes: u32,
    /// The same of what a server says until its client goes on.
    pub tap_response_bytes: u32,
    /// A beat older than this (ns) means that the proxy is gone.
    pub heartbeat_ns: u64,
    /// A running connection is reported this often, in moments.
    pub report_moments: u32,
    /// `AGGREGATION_*`.
    pub aggregation: u32,
}

/// `aggregation`: each packet is told, where it comes from and where it goes.
pub const AGGREGATION_NONE: u32 = 0;
/// `aggregation`: each packet is told, where it goes.
pub const AGGREGATION_LOW: u32 = 1;
/// `aggregation`: of each direction the first packet, new TCP flags, and what came in an interval.
pub const AGGREGATION_MEDIUM: u32 = 2;
/// `aggregation`: of each connection its beginning and its end, and what came in an interval.
pub const AGGREGATION_MAXIMUM: u32 = 3;

/// A moment is so many bits of nanoseconds of `CLOCK_MONOTONIC`: 1.05 ms.
pub const MOMENT_SHIFT: u32 = 20;

/// Enforced ports let everything pass while the proxy is gone.
pub const CONFIG_FAIL_OPEN: u32 = 1;
/// `IPCACHE` lacks entries that found no room: endpoints with policy drop what has no address of its
/// own there.
pub const CONFIG_IPCACHE_INCOMPLETE: u32 = 2;

const _: () = assert!(size_of::<Config>() == 64);

/// Key of `WATCHED_PORTS` and `HOST_PORTS`: an IP protocol and a port of it.
pub const fn watched_port(protocol: u8, port: u16) -> u32 {
    ((protocol as u32) << 16) | port as u32
}

/// Value in `WATCHED_PORTS`: connections go through the proxy.
pub const WATCHED_BY_PROXY: u8 = 1;
/// Value in `WATCHED_PORTS`: connections are tapped.
pub const WATCHED_BY_TAP: u8 = 2;

/// Most bytes of one [`Segment`](crate::records::Segment).
pub const TAP_COPY_MAX: u32 = 16 << 10;
/// Reader of a ring: it looks by itself, nobody needs to wake it.
pub const READER_AWAKE: u32 = 0;
/// Reader of a ring: it waits to be woken.
pub const READER_ASLEEP: u32 = 1;
/// Connections that user space wants no more of.
pub const TAP_DONE_MAX: u32 = 65_536;

/// Most workers that datagrams are spread over.
pub const DATAGRAM_WORKERS_MAX: u32 = 64;
/// Slots of `DATAGRAM_SOCKETS`.
pub const DATAGRAM_SOCKETS_MAX: u32 = DATAGRAM_WORKERS_MAX * 4;

/// Key of `DATAGRAM_SOCKETS`: each worker has a socket for what clients send and one for what
/// servers answer, in each family. Both directions of a client's port go to one worker.
pub const fn datagram_socket(worker: u32, is_reply: bool, is_ipv6: bool) -> u32 {
    worker * 4 + (is_reply as u32) * 2 + is_ipv6 as u32
}

/// What an interface is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Endpoint behind it.
    pub endpoint: u32,
    /// Identity of that endpoint.
    pub identity: u32,
}

/// Policy state of an endpoint. It is read in one piece, so that no packet sees half of a change.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// `ENDPOINT_*` bits of the set in force, and shifted by [`ENDPOINT_AUDITED_SHIFT`] those of the
    /// audited one.
    pub flags: u16,
    /// The endpoint's number again: a reader that was overtaken by a change finds another one here.
    pub endpoint: u16,
    /// Slot of the set in force; 0 is a set without entries.
    pub set: u16,
    /// Slot of the set that is only told about, 0 without any.
    pub audited_set: u16,
}

const _: () = assert!(size_of::<Endpoint>() == 8);

/// What no rule allows is dropped on the way in.
pub const ENDPOINT_INGRESS_DEFAULT_DENY: u16 = 1;
/// What no rule allows is dropped on the way out.
pub const ENDPOINT_EGRESS_DEFAULT_DENY: u16 = 2;
/// The endpoint has entries for the way in.
pub const ENDPOINT_INGRESS_POLICY: u16 = 4;
/// The endpoint has entries for the way out.
pub const ENDPOINT_EGRESS_POLICY: u16 = 8;
/// Denials for the way in found no room: everything is dropped.
pub const ENDPOINT_INGRESS_CLOSED: u16 = 16;
/// Denials for the way out found no room: everything is dropped.
pub const ENDPOINT_EGRESS_CLOSED: u16 = 32;
/// Where the bits of the audited set are.
pub const ENDPOINT_AUDITED_SHIFT: u32 = 8;

/// Who an address is. The key is the address (IPv4 mapped into IPv6: prefix lengths 96 and up).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipcache {
    /// Identity.
    pub identity: u32,
    /// Endpoint of this node, or 0.
    pub endpoint: u16,
    /// `IPCACHE_*` bits.
    pub flags: u16,
}

/// A virtual address: policy is decided behind the translation.
pub const IPCACHE_SERVICE: u16 = 1;
/// An address, not a prefix of many.
pub const IPCACHE_ADDRESS: u16 = 2;

/// Identity of what `IPCACHE` does not know.
pub const IDENTITY_WORLD: u32 = 2;
/// Identity of this node.
pub const IDENTITY_HOST: u32 = 1;
/// Endpoint of this node, where its own policies are enforced.
pub const HOST_ENDPOINT: u16 = 1;
/// Endpoint of interfaces that lead to pods which nobody knows yet.
pub const INIT_ENDPOINT: u16 = 2;

/// Key data of `POLICY`, in the order in which a longest prefix match reads it: slot of the set (big
/// endian), direction (`DIRECTION_*`), 0, identity (big endian, 0 = any), protocol, port (big
/// endian), 0.
pub type PolicyKey = [u8; 12];

/// Prefix length of a policy key up to the identity: any protocol.
pub const POLICY_BITS_IDENTITY: u32 = 64;
/// Prefix length up to the protocol: any port.
pub const POLICY_BITS_PROTOCOL: u32 = 72;
/// Prefix length up to the port.
pub const POLICY_BITS_PORT: u32 = 88;

/// Makes the key data of `POLICY`.
pub fn policy_key(set: u16, direction: u8, identity: u32, protocol: u8, port: u16) -> PolicyKey {
    let set = set.to_be_bytes();
    let id = identity.to_be_bytes();
    let port = port.to_be_bytes();
    [
        set[0], set[1], direction, 0, id[0], id[1], id[2], id[3], protocol, port[0], port[1], 0,
    ]
}

/// What a policy entry says.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `ACTION_*`; where two entries match, the greater one decides.
    pub action: u8,
    /// Hubble's policy match type.
    pub match_type: u8,
    /// Always 0.
    pub reserved: u16,
    /// Rule that made the entry.
    pub rule: u32,
}

/// Let it pass.
pub const ACTION_ALLOW: u8 = 1;
/// Let the proxy look at it, for the audited set's sake; in no entry, only in verdicts.
pub const ACTION_AUDIT: u8 = 2;
/// Let the proxy judge it.
pub const ACTION_REDIRECT: u8 = 3;
/// Drop it.
pub const ACTION_DENY: u8 = 4;

/// A connection's addresses in canonical order: the smaller (address, port) is `a`. One key serves
/// both directions.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Smaller end; IPv4 mapped into IPv6.
    pub a: [u8; 16],
    /// Greater end.
    pub b: [u8; 16],
    /// Port of `a`, host byte order (ICMP echo: the identifier).
    pub a_port: u16,
    /// Port of `b`, host byte order.
    pub b_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Always 0.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<Tuple>() == 40);

/// One direction of a connection, as seen at one place.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Packets so far.
    pub packets: u64,
    /// Bytes (IP length) so far.
    pub bytes: u64,
    /// Packets already told.
    pub told_packets: u64,
    /// Bytes already told.
    pub told_bytes: u64,
    /// When this direction was last told of, in moments; 0 is never.
    pub told_at: u32,
    /// When its last packet came, in moments.
    pub seen_at: u32,
    /// TCP flags seen since the connection began.
    pub flags_seen: u8,
    /// Always 0.
    pub reserved: [u8; 7],
}

const _: () = assert!(size_of::<Counters>() == 48);

impl Counters {
    /// Nothing was seen.
    pub const fn none() -> Self {
        Self {
            packets: 0,
            bytes: 0,
            told_packets: 0,
            told_bytes: 0,
            told_at: 0,
            seen_at: 0,
            flags_seen: 0,
            reserved: [0; 7],
        }
    }
}

/// How one direction of a TCP connection fares, measured where its packets pass first.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Sequence number behind everything that was seen.
    pub next: u32,
    /// The ACK of this sequence number is waited for.
    pub timed: u32,
    /// Since when, in µs of `CLOCK_MONOTONIC`.
    pub timed_us: u32,
    /// Eight times the smoothed time to an ACK, in µs.
    pub srtt8_us: u32,
    /// The shortest time to an ACK, in µs.
    pub min_rtt_us: u32,
    /// Segments that repeated what had been seen.
    pub retransmits: u32,
    /// How often the sender's window closed.
    pub zero_windows: u32,
    /// `HEALTH_*` bits.
    pub flags: u32,
}

const _: () = assert!(size_of::<Health>() == 32);

impl Health {
    /// Nothing was measured.
    pub const fn none() -> Self {
        Self {
            next: 0,
            timed: 0,
            timed_us: 0,
            srtt8_us: 0,
            min_rtt_us: 0,
            retransmits: 0,
            zero_windows: 0,
            flags: 0,
        }
    }
}

/// `next` is known.
pub const HEALTH_STARTED: u32 = 1;
/// An ACK is waited for.
pub const HEALTH_TIMING: u32 = 2;
/// The sender's window is closed.
pub const HEALTH_CLOSED: u32 = 4;

/// A verdict of one endpoint's policy on a connection.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Generation it was made under.
    pub generation: u32,
    /// Rule that decided.
    pub rule: u32,
    /// `ACTION_*`, 0 while not judged.
    pub action: u16,
    /// 1 where the audited set would have denied it; the rule is that set's.
    pub is_audited: u16,
}

/// One direction of a tapped connection, as far as its bytes were copied or left out.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapHalf {
    /// Bytes right before `next` that are in no record.
    pub skipped: u64,
    /// Sequence number behind what was dealt with.
    pub next: u32,
    /// Bytes that may be copied before the other side speaks.
    pub budget: u32,
    /// Bytes that came out of order leave a hole that later ones fill: where it starts.
    pub hole_from: u32,
    /// Where it ends; the same where there is none.
    pub hole_to: u32,
    /// HTTP/2: bytes of the present frame that are still to be copied.
    pub frame_copy: u32,
    /// HTTP/2: bytes of the present frame behind those, which nobody needs.
    pub frame_skip: u32,
    /// HTTP/2: length and type of a frame whose head is not whole yet.
    pub frame_head: u32,
    /// Bytes of that head that were seen.
    pub frame_head_len: u32,
    /// `TAP_*` bits.
    pub flags: u32,
    /// Turns, counted to look at `TAP_DONE` now and then.
    pub turns: u32,
}

impl TapHalf {
    /// Nothing was copied or left out.
    pub const fn none() -> Self {
        Self {
            skipped: 0,
            next: 0,
            budget: 0,
            hole_from: 0,
            hole_to: 0,
            frame_copy: 0,
            frame_skip: 0,
            frame_head: 0,
            frame_head_len: 0,
            flags: 0,
            turns: 0,
        }
    }
}

/// `next` is known.
pub const TAP_STARTED: u32 = 1;
/// Its end was told.
pub const TAP_ENDED: u32 = 2;
/// Among the bytes in no record are some that found no room.
pub const TAP_LOSSY: u32 = 4;
/// It is HTTP/2, and where frames start is known.
pub const TAP_FRAMES: u32 = 8;
/// Its first byte was seen.
pub const TAP_SPOKEN: u32 = 16;
/// It is copied from its first byte on, which did not come yet.
pub const TAP_WHOLE: u32 = 32;

/// State of a connection.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// By the sender's egress and the receiver's ingress policy.
    pub verdicts: [Verdict; 2],
    /// Number, unique while the maps live.
    pub id: u64,
    /// When the first packet was seen, in ns of `CLOCK_MONOTONIC`.
    pub created_ns: u64,
    /// `CONNECTION_*` bits.
    pub flags: u32,
    /// From the first SYN to the client's first ACK, in µs; 0 while unknown.
    pub handshake_us: u32,
    /// Of the direction that began: leaving a pod, arriving at one; the same of the other; the first one
    /// at an uplink, whichever way, and the other one there.
    pub counters: [Counters; 6],
    /// Of the direction that began, and of the other.
    pub health: [Health; 2],
    /// What the tap knows of the direction that began, and of the other.
    pub tap: [TapHalf; 2],
}

const _: () = assert!(size_of::<Connection>() == 496);

/// Who began: set when it was `a` of the tuple.
pub const CONNECTION_FROM_A: u32 = 1;
/// Redirected through the portal.
pub const CONNECTION_PROXIED: u32 = 2;
/// Redirected because policy wants its requests judged.
pub const CONNECTION_ENFORCED: u32 = 4;
/// Its bytes are copied to user space.
pub const CONNECTION_TAPPED: u32 = 8;
/// The direction that began is copied where it arrives, since nobody saw it leave under these
/// addresses.
pub const CONNECTION_TAP_FORWARD_ARRIVING: u32 = 16;
/// The other direction is copied where it arrives.
pub const CONNECTION_TAP_REPLY_ARRIVING: u32 = 32;
/// Nobody wants more of its bytes.
pub const CONNECTION_TAP_DONE: u32 = 64;
/// One end is this node, and its uplinks count the packets.
pub const CONNECTION_HOST: u32 = 128;
/// The proxy's own towards a server outside, on another port than its client's: its packets are no
/// connection of the pod's, and nothing is told of them.
pub const CONNECTION_UPSTREAM: u32 = 256;
/// Its first packet was a SYN (how long the handshake takes can be told), or a message of ICMP that is no
/// answer.
pub const CONNECTION_FROM_SYN: u32 = 512;
/// It bears this node's address in place of a pod's, behind a translation.
pub const CONNECTION_TRANSLATED: u32 = 1024;
/// Everything about the tap.
pub const CONNECTION_TAP: u32 = CONNECTION_TAPPED
    | CONNECTION_TAP_FORWARD_ARRIVING
    | CONNECTION_TAP_REPLY_ARRIVING
    | CONNECTION_TAP_DONE;

/// `TABLE`: connections that were given an entry.
pub const TABLE_INSERTED: u32 = 0;
/// `TABLE`: of these, those that took the place of one between the same ports.
pub const TABLE_REPLACED: u32 = 1;
/// `TABLE`: connections that found no room.
pub const TABLE_REFUSED: u32 = 2;
/// Number of counters in `TABLE`.
pub const TABLE_COUNTS: u32 = 3;

/// Key of the first fragment of a datagram.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Sender.
    pub source: [u8; 16],
    /// Receiver.
    pub destination: [u8; 16],
    /// Identification field.
    pub id: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// Where a process of this host wanted to connect.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// Address; IPv4 mapped into IPv6.
    pub address: [u8; 16],
    /// Port, host byte order.
    pub port: u16,
    /// Always 0.
    pub reserved: [u8; 6],
}

/// The client end of a connection of a process of this host to the proxy.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Address; IPv4 mapped into IPv6.
    pub address: [u8; 16],
    /// Port, host byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Always 0.
    pub reserved: [u8; 5],
}

#[cfg(feature = "user")]
mod pod {
    #![expect(unsafe_code, reason = "aya's marker for types that are plain bytes")]
    use super::{
        Client, Config, Connection, Endpoint, Fragment, Interface, Ipcache, Original, Policy, Tuple,
    };

    macro_rules! plain {
        ($($name:ty),*) => {$(
            // SAFETY: repr(C), only integers and arrays of them, no padding (sizes are asserted).
            unsafe impl aya::Pod for $name {}
        )*};
    }
    plain!(
        Client, Config, Connection, Endpoint, Fragment, Interface, Ipcache, Original, Policy, Tuple
    );
}
