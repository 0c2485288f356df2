//! The DNS part of a record.

use super::{Network, Outcome, Span};

/// A query or its answer. Lists are lines, each ended by a line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Dns {
    /// Whether it is the answer.
    pub is_response: bool,
    /// The name asked for, in lower case with its last dot.
    pub query: Span,
    /// Types asked for.
    pub query_types: Span,
    /// Response code; 0 for a query.
    pub rcode: u16,
    /// Addresses in the answer.
    pub addresses: Span,
    /// Names that the name asked for stands for.
    pub canonical_names: Span,
    /// Types of the records in the answer.
    pub record_types: Span,
    /// Shortest time to live of addresses and canonical names, in seconds; `u32::MAX` without any.
    pub ttl: u32,
    /// From the first query to the answer; 0 for a query, and for what nobody asked.
    pub latency_ns: u64,
    /// What else is to be said: asked again, not answered; empty mostly.
    pub detail: Span,
    /// How it went, where it did not simply succeed: denied, not readable, never answered.
    pub outcome: Outcome,
    /// The network's part in it; nothing is known of datagrams.
    pub network: Network,
}
