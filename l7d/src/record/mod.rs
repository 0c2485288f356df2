//! The fact: what was seen, before anybody asked for a form of it.
//!
//! A [`Record`] is made once, by the place that saw something (the kernel's ring, a proxied
//! connection, a replayed capture), and handed to a [`Sink`]. Protobuf, JSON, metric labels and
//! text are made from it only when somebody reads. A record owns one text buffer that keeps its
//! capacity when the record is reused, so that recording a request allocates nothing in steady
//! state: `clone_from` is the way into the flow ring.

mod agent_event;
mod dns;
mod drop_reason;
mod endpoint;
mod footprint;
mod http;
mod ledger;
mod losses;
mod network;
mod opaque;
mod provenance;
mod text;
mod thrift;
mod trace;
mod trace_parent;
mod translation;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use agent_event::{AddressChange, AgentEvent, PolicyChange};
pub use dns::Dns;
pub use drop_reason::{DropReason, DropSite, FullQueue, KernelDrop};
pub use endpoint::{DnsNames, Endpoint, EndpointId, IdentityNumber, Party, Service, Workload};
pub use http::{Grpc, Http, HttpKind, Outcome, Volume};
pub use ledger::{Counters, Ledger, Place, Tally};
pub use losses::{Follower, Loss, Losses, Spot};
pub use network::{Network, TcpEvent};
pub use opaque::Opaque;
pub use parsers::packet::{Encapsulation, Tunnel, TunnelKind};
pub use provenance::{PolicyKind, PolicyRef, none as no_policies};
pub use text::{Span, Text};
pub use thrift::{Relief, Thrift};
pub use trace::{ConnState, Direct, End, EndedBy, TcpHealth, Trace, TracePoint, Why};
pub use trace_parent::TraceParent;
pub use translation::{Stand, Translation};

use crate::clock::Timestamp;

/// Where records go. Implementations must not block: the data path calls this.
pub trait Sink: Send + Sync {
    /// Takes a fact. The record is borrowed: copy with `clone_from` to keep it.
    fn record(&self, record: &Record);
}

/// One fact about a packet, a connection or a request.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// When it happened, by the wall clock; in the flow ring, where times rise from record to record,
    /// that of its place.
    pub time: Timestamp,
    /// How long before `time` it happened, in microseconds: what the kernel tells comes behind what a
    /// thread of ours has told of the same moment.
    pub late_us: u32,
    /// Another agent has told of it before: in its exports it is already.
    #[serde(skip)]
    pub is_inherited: bool,
    /// Who sent what this record tells of: for a response, the server.
    pub source: Party,
    /// Who it was sent to.
    pub destination: Party,
    /// Names by which the destination knows the source, where it is outside.
    pub source_names: Option<Arc<DnsNames>>,
    /// Names by which the source knows the destination, where it is outside.
    pub destination_names: Option<Arc<DnsNames>>,
    /// From the view of the endpoint that policy was applied for.
    pub direction: Direction,
    /// What became of it.
    pub verdict: Verdict,
    /// `None` where the kernel could not tell.
    pub reply: Option<bool>,
    /// Transport header facts.
    pub l4: L4,
    /// What kind of fact, and what only that kind has.
    pub event: Event,
    /// Policies that allowed (verdict forwarded, redirected) or denied it (dropped, audit).
    pub policies: Arc<[PolicyRef]>,
    /// Number of the connection on this node, 0 where there is none.
    pub connection: u64,
    /// Interface the packet was seen at (index), 0 where it was not seen at one.
    pub interface: u32,
    /// Who saw it.
    pub observer: Observer,
    /// What it came packed in, as far as that was seen. Shared: the packets of a tunnel have one.
    pub encapsulation: Option<Arc<Encapsulation>>,
    /// What netfilter makes of its connection's addresses, where that is known.
    pub translation: Option<Arc<Translation>>,
    /// Text that spans in `event` point into.
    pub text: Text,
}

/// Who saw what a record tells of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub enum Observer {
    /// Whoever made a capture; nobody of ours was there.
    Capture,
    /// The kernel programs.
    #[default]
    Kernel,
    /// The proxy.
    Proxy,
}

/// Direction of traffic, from the view of the endpoint that policy was applied for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub enum Direction {
    /// Not known, or neither end is an endpoint of this node.
    #[default]
    Unknown,
    /// Towards the endpoint.
    Ingress,
    /// Away from the endpoint.
    Egress,
}

/// What became of a packet or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Verdict {
    /// Passed on.
    Forwarded,
    /// Not passed on; the reason stands in the event.
    Dropped,
    /// Something failed that is not a matter of policy.
    Error,
    /// Would have been dropped; passed because the policy is in audit mode.
    Audit,
    /// Handed to the proxy, which judges further.
    Redirected,
}

/// Facts of the transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum L4 {
    /// TCP, with the flag bits of the header (`FIN`=0x01 … `CWR`=0x80); 0 for L7 records.
    Tcp {
        /// Flag bits as on the wire.
        flags: u8,
    },
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP for IPv4.
    Icmp4 {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// ICMP for IPv6.
    Icmp6 {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// Any other protocol, by its IANA number.
    Other(u8),
}

/// What kind of fact a record is.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub enum Event {
    /// A packet, or a run of packets of one connection, passed an observation point.
    Trace(Trace),
    /// A connection ended, or nothing was heard of it for long.
    End(End),
    /// A packet was dropped.
    Drop {
        /// Hubble's reason.
        reason: DropReason,
        /// What the kernel says, where it was not us.
        kernel: Option<Arc<KernelDrop>>,
    },
    /// A new connection met the policy of an endpoint.
    PolicyVerdict {
        /// How the rule matched: 0 none, 1 L3-only, 2 L3-L4, 3 L4-only, 4 all.
        match_type: u8,
        /// Set when the verdict was a denial.
        reason: Option<DropReason>,
    },
    /// A DNS query or answer.
    Dns(Dns),
    /// An HTTP request or response.
    Http(Http),
    /// A connection whose bytes are not (or no longer) messages ended: upgraded,
    /// CONNECT tunnel, or a protocol that is not read.
    Opaque(Opaque),
}

impl Record {
    /// A record of `event` between two parties at `time`, with nothing else known yet.
    pub fn new(time: Timestamp, source: Party, destination: Party, event: Event) -> Self {
        Self {
            time,
            late_us: 0,
            is_inherited: false,
            source,
            destination,
            source_names: None,
            destination_names: None,
            direction: Direction::Unknown,
            verdict: Verdict::Forwarded,
            reply: None,
            l4: L4::Tcp { flags: 0 },
            event,
            policies: provenance::none(),
            connection: 0,
            interface: 0,
            observer: Observer::Kernel,
            encapsulation: None,
            translation: None,
            text: Text::default(),
        }
    }

    /// The HTTP message, if this is one.
    pub fn http(&self) -> Option<&Http> {
        match &self.event {
            Event::Http(http) => Some(http),
            Event::Trace(_)
            | Event::End(_)
            | Event::Dns(_)
            | Event::Drop { .. }
            | Event::PolicyVerdict { .. }
            | Event::Opaque(_) => None,
        }
    }

    /// The DNS message, if this is one.
    pub fn dns(&self) -> Option<&Dns> {
        match &self.event {
            Event::Dns(dns) => Some(dns),
            Event::Trace(_)
            | Event::End(_)
            | Event::Drop { .. }
            | Event::Http(_)
            | Event::PolicyVerdict { .. }
            | Event::Opaque(_) => None,
        }
    }

    /// Text of a span of this record; empty where the span points nowhere.
    pub fn text(&self, span: Span) -> &[u8] {
        self.text.slice(span)
    }

    /// Copies into this record, keeping the capacity of its text: the way into a ring.
    pub fn copy_from(&mut self, other: &Self) {
        let mut text = std::mem::take(&mut self.text);
        text.copy_from(&other.text);
        *self = Self {
            time: other.time,
            late_us: other.late_us,
            is_inherited: other.is_inherited,
            source: other.source.clone(),
            destination: other.destination.clone(),
            source_names: other.source_names.clone(),
            destination_names: other.destination_names.clone(),
            direction: other.direction,
            verdict: other.verdict,
            reply: other.reply,
            l4: other.l4,
            event: other.event.clone(),
            policies: Arc::clone(&other.policies),
            connection: other.connection,
            interface: other.interface,
            observer: other.observer,
            encapsulation: other.encapsulation.clone(),
            translation: other.translation.clone(),
            text,
        };
    }
}

impl Event {
    /// Notes the network's part on a message.
    pub(crate) fn note_network(&mut self, seen: Network) {
        match self {
            Self::Dns(dns) => dns.network = seen,
            Self::Http(http) => http.network = seen,
            Self::Opaque(opaque) => opaque.network = seen,
            Self::Trace(_) | Self::End(_) | Self::Drop { .. } | Self::PolicyVerdict { .. } => {}
        }
    }
}

impl L4 {
    /// IANA protocol number.
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
            Self::Icmp4 { .. } => 1,
            Self::Icmp6 { .. } => 58,
            Self::Other(number) => number,
        }
    }

    /// Whether ports mean anything.
    pub fn has_ports(self) -> bool {
        matches!(self, Self::Tcp { .. } | Self::Udp | Self::Sctp)
    }
}

/// The address family and port a record's party is known by.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(canonical_ip(addr.ip()), addr.port())
}

/// IPv4 addresses mapped into IPv6 become IPv4 again.
pub fn canonical_ip(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
