//! What the kernel saw of a connection's packets, and of its end.

/// A packet, or the packets of one direction of a connection since the last such record, passed an
/// observation point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Trace {
    /// Where it was seen.
    pub point: TracePoint,
    /// State of its connection.
    pub state: ConnState,
    /// Why there is a record.
    pub why: Why,
    /// Packets since the direction's last record at this point, this one included.
    pub packets: u64,
    /// Bytes (IP length) of them.
    pub bytes: u64,
    /// How its TCP connection fares; all zero where it is none, or where nobody measured.
    pub health: TcpHealth,
}

/// Why a packet is worth a record.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub enum Why {
    /// The first of its direction at this point.
    #[default]
    First,
    /// It bears a TCP flag that the direction had not shown before.
    Flags,
    /// The direction is reported at intervals.
    Interval,
    /// Every packet is.
    Each,
    /// A SYN again: nobody answered the one before.
    SynAgain,
    /// Its sender's window closed.
    ZeroWindow,
}

/// How one direction of a TCP connection fares, as seen from where its packets pass this node first.
/// Times are in microseconds, and 0 while unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct TcpHealth {
    /// Of the connection: from the first SYN to the client's first ACK.
    pub handshake_us: u32,
    /// Smoothed time from a segment of this direction to its ACK (RFC 6298 §2).
    pub srtt_us: u32,
    /// The shortest such time: what the network needs when nothing waits.
    pub min_rtt_us: u32,
    /// Segments so far that repeated what had been seen already; repeated SYNs are among them.
    pub retransmits: u32,
    /// How often the sender closed its window so far.
    pub zero_windows: u32,
}

/// The end of a connection, as far as this node can tell. The record's source is who began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct End {
    /// Where its packets were seen.
    pub point: TracePoint,
    /// How it ended.
    pub how: EndedBy,
    /// From its first packet to its last one.
    pub duration_ns: u64,
    /// What went from who began it to the other.
    pub sent: Direct,
    /// What came back.
    pub received: Direct,
}

/// Everything that one direction of a connection sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Direct {
    /// Packets.
    pub packets: u64,
    /// Bytes (IP length) of them.
    pub bytes: u64,
    /// Of these packets, those that no earlier record had counted.
    pub untold_packets: u64,
    /// Their bytes.
    pub untold_bytes: u64,
    /// How TCP fared.
    pub health: TcpHealth,
}

/// How a connection ended. The names are stable: they appear in flows and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum EndedBy {
    /// Both sides said that they were done.
    Closed,
    /// The one who began it reset it.
    ResetByClient,
    /// The other one reset it.
    ResetByServer,
    /// The other one answered the SYN with a reset: nobody listens.
    Refused,
    /// Nobody answered.
    NoAnswer,
    /// Nothing came any more.
    Idle,
    /// Another connection between the same ports took its place.
    Replaced,
}

impl EndedBy {
    /// Stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ResetByClient => "reset_by_client",
            Self::ResetByServer => "reset_by_server",
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
            Self::Idle => "idle",
            Self::Replaced => "replaced",
        }
    }
}

/// Where the kernel saw a packet; numbers are Hubble's trace sub-types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum TracePoint {
    /// Delivered to a local endpoint.
    ToEndpoint = 0,
    /// Handed to the proxy.
    ToProxy = 1,
    /// To the host's own stack.
    ToHost = 2,
    /// To the stack, to be routed.
    ToStack = 3,
    /// Left an endpoint.
    FromEndpoint = 5,
    /// Left the proxy.
    FromProxy = 6,
    /// Left the host's own stack.
    FromHost = 7,
    /// Arrived from the wire.
    FromNetwork = 10,
    /// Left to the wire.
    ToNetwork = 11,
}

/// State of the connection a packet belongs to; numbers are Hubble's `TraceReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum ConnState {
    /// Not tracked.
    Unknown = 0,
    /// First packet.
    New = 1,
    /// In the direction of the first packet.
    Established = 2,
    /// Against the direction of the first packet.
    Reply = 3,
    /// An ICMP error about the connection.
    Related = 4,
}
