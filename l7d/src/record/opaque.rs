//! The part of a record about a connection that was not read.

use super::{Network, Outcome, Span};

/// A connection that was relayed, or refused, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Opaque {
    /// Why it was not followed; short and stable (`websocket`, `tls to db:443`, `not http`).
    pub note: Span,
    /// Bytes from the client to the server.
    pub sent: u64,
    /// Bytes from the server to the client.
    pub received: u64,
    /// How long it lasted, in nanoseconds.
    pub duration_ns: u64,
    /// How it went, where it did not simply end.
    pub outcome: Outcome,
    /// More about the outcome: the rule that came nearest, the rule that was broken.
    pub detail: Span,
    /// The network's part in it.
    pub network: Network,
}
