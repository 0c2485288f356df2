//! What is asked.

use policy_l7::{AuditScope, Direction, Enforcement};

use crate::policy::world::{End, Pod};

/// A connection.
#[derive(Debug, Clone, Copy)]
pub struct Question<'w> {
    /// Whose policies are asked.
    pub subject: &'w Pod,
    /// Which way, from its view.
    pub direction: Direction,
    /// The other end.
    pub other: End<'w>,
    /// IP protocol.
    pub protocol: u8,
    /// Port of the server, or ICMP type.
    pub port: u16,
}

/// A request on a connection.
#[derive(Debug, Clone, Copy)]
pub enum Request<'r> {
    /// A DNS query for a name, in lower case and with its last dot.
    Dns(&'r str),
    /// An HTTP request.
    Http(&'r HttpWords),
    /// A TLS connection to a server of that name, in lower case and with its last dot, or of none.
    Tls(Option<&'r str>),
}

/// An HTTP request.
#[derive(Debug, Clone, Default)]
pub struct HttpWords {
    /// Method.
    pub method: String,
    /// Every reading of its path.
    pub paths: Vec<String>,
    /// Authority.
    pub host: String,
    /// Header fields.
    pub fields: Vec<(String, String)>,
}

/// How policies are enforced.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// For which endpoints.
    pub enforcement: Enforcement,
    /// Where policies only tell what they would do.
    pub audit: AuditScope,
}
