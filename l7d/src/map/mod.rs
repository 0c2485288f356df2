//! The service map: who talks to whom, how much, how fast, and what fails.
//!
//! ```text
//!   flow ─▶ Reader ─▶ Sighting ─▶ Graph, Timeline ─▶ Overview ─▶ Drawing ─▶ text, dot, mermaid, svg
//!                                                       └─▶ json, diff, the web page
//! ```
//!
//! | file | what it decides |
//! |---|---|
//! | [`reading`] | what a flow says: who asked whom, what for, and what became of it |
//! | [`node`] | which ends are one node |
//! | [`graph`], [`edge`] | what is counted, within which bounds |
//! | [`timeline`] | which part of time is looked at |
//! | [`overview`] | the figures that people read, and which of them are bad |
//! | [`diff`] | what is different from an earlier map |
//! | [`layout`] | where everything stands in a picture |
//! | [`form`] | how it is written |
//!
//! This stands beside `print` and not below `flow`, since names of drop reasons are `print`'s: what
//! reads flows here must call a thing what `l7d observe` calls it. Protobuf is read in [`reading`]
//! alone, and nothing here reads a clock or a socket.

pub mod diff;
pub mod edge;
mod figures;
pub mod form;
pub mod graph;
mod latency;
pub mod layout;
pub mod node;
pub mod overview;
pub mod reading;
mod tally;
pub mod timeline;

pub use graph::Graph;
pub use node::{By, Node, NodeKind};
pub use overview::Overview;
pub use reading::Reader;
pub use timeline::Timeline;

use crate::clock::Timestamp;
use edge::Side;

/// What one flow says for the map.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// When it was seen.
    pub time: Timestamp,
    /// Who opened the connection.
    pub client: Node,
    /// Who accepted it.
    pub server: Node,
    /// Both pods, or addresses, where the map shows whom they belong to.
    pub pods: (String, String),
    /// What they speak.
    pub protocol: Protocol,
    /// The server's port; 0 where there is none.
    pub port: u16,
    /// Where it was seen: what both ends' nodes tell is counted once.
    pub side: Side,
    /// What it is.
    pub what: What,
    /// What an audited policy would have done.
    pub audited: Option<Reason>,
    /// Policies that allowed it.
    pub allowed_by: Vec<String>,
}

/// What a sighting is.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A request or a query that went on.
    Request,
    /// An answer, or that there was none.
    Answer {
        /// Method and path template, method of gRPC, or name asked for.
        operation: String,
        /// Since the request, in nanoseconds; 0 where nobody measured.
        latency_ns: u64,
        /// How it went.
        outcome: Outcome,
    },
    /// A request that did not go on.
    Refused {
        /// As of an answer.
        operation: String,
        /// Why.
        reason: Reason,
    },
    /// A packet that passed a place.
    Passed {
        /// Which place: several see the same packet.
        point: usize,
        /// Whether it opens a connection.
        is_open: bool,
        /// Segments that were sent again since the last one that was told.
        retransmits: u64,
    },
    /// A packet that did not go on.
    Dropped {
        /// Why.
        reason: Reason,
        /// Whether it is a policy's verdict on the packet; its drop may be told as well.
        is_verdict: bool,
    },
    /// The end of a connection, or of bytes that nobody read.
    Ended {
        /// Why it failed, where it did.
        failed: Option<Reason>,
        /// Bytes from the client.
        sent: u64,
        /// Bytes from the server.
        received: u64,
    },
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Good,
    /// The server says that the client asked for something wrong: 4xx, NXDOMAIN, `NOT_FOUND`.
    Rejected(Reason),
    /// The server failed, or there was no answer.
    Failed(Reason),
}

/// Why something did not get through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason {
    /// What kind of failure.
    pub fault: Fault,
    /// In words.
    pub text: String,
    /// Policies or rules that decided; empty where none did.
    pub by: String,
}

/// Kinds of failures, the worst first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// A policy did not allow it.
    Denied,
    /// It was dropped for another reason.
    Dropped,
    /// Nobody answered, or the connection was refused or reset.
    Unanswered,
    /// The answer tells of a failure.
    Error,
    /// The answer says that the request was wrong.
    Rejected,
    /// An audited policy would have denied it.
    Audited,
}

/// What is spoken on a connection.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Protocol {
    /// HTTP.
    #[serde(rename = "HTTP")]
    Http,
    /// gRPC.
    #[serde(rename = "gRPC")]
    Grpc,
    /// DNS.
    #[serde(rename = "DNS")]
    Dns,
    /// Kafka.
    #[serde(rename = "Kafka")]
    Kafka,
    /// TCP, or what nobody reads on top of it.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
    /// ICMP of either version.
    #[serde(rename = "ICMP")]
    Icmp,
    /// Anything else.
    #[serde(rename = "other")]
    Other,
}

impl Protocol {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Grpc => "gRPC",
            Self::Dns => "DNS",
            Self::Kafka => "Kafka",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Icmp => "ICMP",
            Self::Other => "other",
        }
    }

    /// Whether requests are seen of it: a connection's transport is not told beside them.
    pub fn has_requests(self) -> bool {
        matches!(self, Self::Http | Self::Grpc | Self::Dns | Self::Kafka)
    }
}
