//! Events that leave the kernel through the ring buffer.

use crate::maps::{Connection, Tuple};

/// A packet passed an observation point.
pub const KIND_TRACE: u8 = 1;
/// A connection met the policy of an endpoint.
pub const KIND_POLICY: u8 = 2;
/// A packet was dropped.
pub const KIND_DROP: u8 = 3;
/// A connection ended since another one took its place.
pub const KIND_END: u8 = 4;
/// The kernel itself dropped a packet: [`crate::drops::DropRecord`].
pub const KIND_KERNEL_DROP: u8 = 5;
/// Number of kinds, and of their [`RingCount`]s (index 0 is unused).
pub const KINDS: u32 = 6;

/// `direction`: not known.
pub const DIRECTION_UNKNOWN: u8 = 0;
/// `direction`: towards the endpoint.
pub const DIRECTION_INGRESS: u8 = 1;
/// `direction`: away from the endpoint.
pub const DIRECTION_EGRESS: u8 = 2;

/// `state`: first packet of a connection.
pub const STATE_NEW: u8 = 1;
/// `state`: same direction as the first packet.
pub const STATE_ESTABLISHED: u8 = 2;
/// `state`: against the direction of the first packet.
pub const STATE_REPLY: u8 = 3;

/// `point`: delivered to an endpoint.
pub const POINT_TO_ENDPOINT: u8 = 0;
/// `point`: handed to the proxy.
pub const POINT_TO_PROXY: u8 = 1;
/// `point`: left an endpoint, towards the stack.
pub const POINT_TO_STACK: u8 = 3;
/// `point`: to this host's own stack.
pub const POINT_TO_HOST: u8 = 2;
/// `point`: sent by an endpoint.
pub const POINT_FROM_ENDPOINT: u8 = 5;
/// `point`: sent by the proxy.
pub const POINT_FROM_PROXY: u8 = 6;
/// `point`: arrived from the wire.
pub const POINT_FROM_NETWORK: u8 = 10;
/// `point`: left to the wire.
pub const POINT_TO_NETWORK: u8 = 11;

/// `reason`, Hubble's number: no rule allowed it.
pub const REASON_POLICY_DENIED: u8 = 133;
/// `reason`, Hubble's number: a deny rule forbade it.
pub const REASON_POLICY_DENY: u8 = 181;
/// `reason`, Hubble's number: fragment whose first part was not seen, at an endpoint with policy.
pub const REASON_FRAGMENT: u8 = 157;
/// `reason`, Hubble's number: a first fragment that ends before its ports and flags.
pub const REASON_TINY_FRAGMENT: u8 = 135;
/// `reason`, Hubble's number: more IPv6 extension headers than are followed.
pub const REASON_LONG_CHAIN: u8 = 156;
/// `reason`, Hubble's number: a VLAN's tag inside of another.
pub const REASON_TAGGED: u8 = 166;
/// `reason`, Hubble's number: the port is enforced and the proxy is not there.
pub const REASON_PROXY_UNAVAILABLE: u8 = 205;
/// `reason`, Hubble's number: the kernel does not let us give the packet to the proxy's socket.
pub const REASON_ASSIGN_FAILED: u8 = 179;

/// `why`: the first packet of this direction here.
pub const WHY_FIRST: u8 = 1;
/// `why`: a TCP flag that this direction had not shown before.
pub const WHY_FLAGS: u8 = 2;
/// `why`: the interval of reports is over.
pub const WHY_INTERVAL: u8 = 3;
/// `why`: every packet is reported.
pub const WHY_EACH: u8 = 4;
/// `why`: a SYN again, since nobody answered the one before.
pub const WHY_SYN_AGAIN: u8 = 5;
/// `why`: the sender's window closed.
pub const WHY_ZERO_WINDOW: u8 = 6;

/// `verdict`: passed.
pub const VERDICT_FORWARDED: u8 = 1;
/// `verdict`: dropped.
pub const VERDICT_DROPPED: u8 = 2;
/// `verdict`: passed, though the audited set would have denied it.
pub const VERDICT_AUDIT: u8 = 4;
/// `verdict`: handed to the proxy.
pub const VERDICT_REDIRECTED: u8 = 5;

/// What one CPU made for a ring of one kind of record.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingCount {
    /// Records that were to be written, those that found no room among them.
    pub made: u64,
    /// Records that found no room.
    pub lost: u64,
}

const _: () = assert!(size_of::<RingCount>() == 16);

/// Programs that make records without judging packets: each has a [`RingCount`] of its own, since one
/// may interrupt the other.
pub const RECORDERS: u32 = 4;

/// Memory of one CPU: what its hooks made for the ring, then room that they use as they like.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Scratch {
    /// By kind.
    pub counts: [RingCount; KINDS as usize],
    /// The programs' own.
    pub room: [u64; SCRATCH_WORDS],
}

/// Words of a [`Scratch`] that are the programs' own.
pub const SCRATCH_WORDS: usize = 192;

/// One fact about a packet, or about the packets of one direction of a connection since the last
/// record of that direction.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketRecord {
    /// [`crate::ABI_VERSION`].
    pub version: u8,
    /// One of `KIND_*`.
    pub kind: u8,
    /// One of `POINT_*`; only on traces.
    pub point: u8,
    /// One of `DIRECTION_*`.
    pub direction: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flag bits of this packet.
    pub tcp_flags: u8,
    /// One of `STATE_*`; on policy verdicts, new or established: the same was said of the connection
    /// before.
    pub state: u8,
    /// Hubble's policy match type; only on policy verdicts.
    pub match_type: u8,
    /// `bpf_ktime_get_ns` (`CLOCK_MONOTONIC`).
    pub time_ns: u64,
    /// Sender; IPv4 mapped into IPv6.
    pub source: [u8; 16],
    /// Receiver; IPv4 mapped into IPv6.
    pub destination: [u8; 16],
    /// Sender's port, host byte order; 0 where there is none.
    pub source_port: u16,
    /// Receiver's port, host byte order; 0 where there is none.
    pub destination_port: u16,
    /// One of `REASON_*`, 0 where nothing was dropped or would have been.
    pub reason: u8,
    /// One of `VERDICT_*`.
    pub verdict: u8,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// Identity of the sender.
    pub source_identity: u32,
    /// Identity of the receiver.
    pub destination_identity: u32,
    /// Interface of the hook.
    pub interface: u32,
    /// Endpoint that policy was applied for, 0 where none was.
    pub endpoint: u32,
    /// Rule that decided, 0 where none did.
    pub rule: u32,
    /// Generation of the policy that decided.
    pub generation: u32,
    /// Packets of this direction since its last record.
    pub packets: u64,
    /// Bytes (IP length) of this direction since its last record.
    pub bytes: u64,
    /// Number of the connection; unique on this node while the maps live.
    pub connection: u64,
    /// TCP, of the connection: from the first SYN to the client's first ACK, in µs; 0 while unknown.
    pub handshake_us: u32,
    /// TCP, of this direction: smoothed time from a segment here to its ACK, in µs; 0 while unknown.
    pub srtt_us: u32,
    /// The shortest such time.
    pub min_rtt_us: u32,
    /// TCP, of this direction so far: segments that repeated what had been seen already.
    pub retransmits: u32,
    /// TCP, of this direction so far: how often the sender closed its window.
    pub zero_windows: u32,
    /// One of `WHY_*`; only on traces.
    pub why: u8,
    /// Always 0.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<PacketRecord>() == 128);

/// A connection whose place in the table another one takes: everything that was known of it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndRecord {
    /// [`crate::ABI_VERSION`].
    pub version: u8,
    /// [`KIND_END`].
    pub kind: u8,
    /// Always 0.
    pub reserved: [u8; 6],
    /// `bpf_ktime_get_ns` (`CLOCK_MONOTONIC`).
    pub time_ns: u64,
    /// Its key.
    pub tuple: Tuple,
    /// Its entry.
    pub connection: Connection,
}

const _: () = assert!(size_of::<EndRecord>() == 552);

/// Bytes of a tapped connection, in `TAP_RING`; as many as [`Segment::taken`] says follow at once.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// [`crate::ABI_VERSION`].
    pub version: u8,
    /// `SEGMENT_*` bits.
    pub flags: u8,
    /// TCP flag bits of the packet; those that end a direction are on the last record of a packet.
    pub tcp_flags: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// Bytes that follow this record.
    pub taken: u32,
    /// `bpf_ktime_get_ns` (`CLOCK_MONOTONIC`).
    pub time_ns: u64,
    /// Number of the connection; unique on this node while the maps live.
    pub connection: u64,
    /// Sender; IPv4 mapped into IPv6.
    pub source: [u8; 16],
    /// Receiver; IPv4 mapped into IPv6.
    pub destination: [u8; 16],
    /// Sender's port, host byte order.
    pub source_port: u16,
    /// Receiver's port, host byte order.
    pub destination_port: u16,
    /// Sequence number of the first byte that follows.
    pub sequence: u32,
    /// What the sender has received.
    pub acknowledged: u32,
    /// Bytes behind those that follow that were left out of the same packet.
    pub missing: u32,
    /// Bytes of this direction, from `skipped_from` on, that are in no record.
    pub skipped: u64,
    /// Sequence number of the first of them.
    pub skipped_from: u32,
    /// Always 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Segment>() == 88);

/// `flags`: against the direction of who began.
pub const SEGMENT_REPLY: u8 = 1;
/// `flags`: the first bytes of this direction, in a connection that is tapped from its start.
pub const SEGMENT_WHOLE: u8 = 2;
/// `flags`: among the `skipped` bytes are some that found no room.
pub const SEGMENT_LOSSY: u8 = 4;

#[cfg(feature = "user")]
mod pod {
    #![expect(unsafe_code, reason = "aya's marker for types that are plain bytes")]

    // SAFETY: repr(C), only integers, no padding (its size is asserted).
    unsafe impl aya::Pod for super::RingCount {}
    // SAFETY: repr(C), only integers of eight bytes.
    unsafe impl aya::Pod for super::Scratch {}
}
