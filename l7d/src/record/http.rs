//! The HTTP part of a record.

use super::{Network, Span, TraceParent};

/// An HTTP request or response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Http {
    /// Which of the two.
    pub kind: HttpKind,
    /// 10 for HTTP/1.0, 11 for HTTP/1.1, 20 for HTTP/2.
    pub version: u8,
    /// Status code; 0 for a request, and for a response that never came.
    pub code: u16,
    /// Request method, also on the response.
    pub method: Span,
    /// `scheme://authority/path?query` after redaction, also on the response.
    pub url: Span,
    /// Header lines of this message after redaction, as `name: value\r\n`; names as sent.
    pub headers: Span,
    /// Time from the request's head to the response's head; 0 for a request.
    pub latency_ns: u64,
    /// How the exchange went, where it did not simply succeed.
    pub outcome: Outcome,
    /// More about the outcome: the strict rule, the rule that came nearest; empty where nothing is
    /// to be said.
    pub detail: Span,
    /// What is known of the gRPC call, on its response.
    pub grpc: Option<Grpc>,
    /// The network's part in it.
    pub network: Network,
    /// The trace that the request belongs to, also on the response.
    pub trace: Option<TraceParent>,
}

/// What became of a gRPC call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Grpc {
    /// `grpc-status`; none while the call runs, and where it ended without one.
    pub status: Option<u32>,
    /// `grpc-message`, decoded.
    pub message: Span,
    /// Messages of the client.
    pub sent: Volume,
    /// Messages of the server.
    pub received: Volume,
}

/// How much of something there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Volume {
    /// How many.
    pub messages: u32,
    /// Their bytes, without framing.
    pub bytes: u64,
}

/// Request or response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum HttpKind {
    /// From the client.
    Request,
    /// From the server, or made by the proxy for a refused request.
    Response,
    /// A report of a call that still runs.
    Sample,
}

/// Why an exchange did not simply succeed. The names are stable: they appear in flows (extension
/// `l7d.outcome`), metrics and `l7d observe`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub enum Outcome {
    /// The message passed as it was.
    #[default]
    Passed,
    /// A policy refused the request (403).
    PolicyDenied,
    /// Servers may read the path in several ways, of which policy refused some (403).
    AmbiguousPath,
    /// The request could be read in two ways, or in none (400).
    ParseError,
    /// A limit was passed: head size, header count, head timeout, connections (431, 408, 503).
    Limit,
    /// A feature an enforced port does not let through (501).
    NotImplemented,
    /// The server did not accept the connection.
    UpstreamRefused,
    /// The server reset the connection before the response was complete.
    UpstreamReset,
    /// The connection ended, or the client left, before any response.
    NoResponse,
    /// The capture lacks the bytes that may have held the response.
    Unseen,
}

impl Outcome {
    /// Stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::PolicyDenied => "policy_denied",
            Self::AmbiguousPath => "ambiguous_path",
            Self::ParseError => "parse_error",
            Self::Limit => "limit",
            Self::NotImplemented => "not_implemented",
            Self::UpstreamRefused => "upstream_refused",
            Self::UpstreamReset => "upstream_reset",
            Self::NoResponse => "no_response",
            Self::Unseen => "unseen",
        }
    }
}
