//! What of flows is kept, and what is taken out of them.

use super::Aggregation;

/// The flow ring and redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flows {
    /// Records kept, 2^n − 1; default 4095.
    pub ring: usize,
    /// Most bytes that they hold; default 16 MiB.
    pub ring_bytes: u64,
    /// When not empty, only flows that pass one of these filters are kept: Hubble's `FlowFilter`, as
    /// JSON.
    pub allow: Vec<String>,
    /// Flows that pass one of these are not kept.
    pub deny: Vec<String>,
    /// What of packets is told.
    pub aggregation: Aggregation,
    /// What is hidden before a flow is recorded.
    pub redact: Redact,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            ring: 4095,
            ring_bytes: 16 << 20,
            allow: Vec::new(),
            deny: Vec::new(),
            aggregation: Aggregation::default(),
            redact: Redact::default(),
        }
    }
}

/// What is hidden before a flow is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redact {
    /// Record headers at all; default true.
    pub headers: bool,
    /// When given, only these headers keep their value (lower case).
    pub allow: Option<Vec<String>>,
    /// Headers whose value is hidden (lower case); default: authorization, cookies, API keys.
    pub deny: Vec<String>,
    /// Hide the query and the fragment of URLs; default false, as Hubble's.
    pub query: bool,
    /// What is hidden of who asks, where a URL says so; default: name and password.
    pub user_info: UserInfo,
}

impl Default for Redact {
    fn default() -> Self {
        let deny = [
            "authorization",
            "cookie",
            "proxy-authorization",
            "set-cookie",
            "x-amz-security-token",
            "x-api-key",
            "x-auth-token",
            "x-csrf-token",
        ];
        Self {
            headers: true,
            allow: None,
            deny: deny.map(str::to_owned).to_vec(),
            query: false,
            user_info: UserInfo::default(),
        }
    }
}

impl Redact {
    /// What Hubble hides where nobody asks it to hide anything.
    pub fn as_hubble() -> Self {
        Self {
            headers: true,
            allow: None,
            deny: Vec::new(),
            query: false,
            user_info: UserInfo::Password,
        }
    }
}

/// What is hidden of the user in front of a URL's host (RFC 3986 §3.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserInfo {
    /// Name and password.
    #[default]
    All,
    /// The password.
    Password,
    /// Nothing.
    Nothing,
}
