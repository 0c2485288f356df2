//! Ports whose traffic is looked at, and who looks at it.

use std::path::PathBuf;
use std::time::Duration;

/// A port to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchedPort {
    /// Port of the server.
    pub port: u16,
    /// Its transport protocol; default TCP.
    pub transport: Transport,
    /// How it is looked at; default: by the tap, datagrams by the proxy.
    pub mode: Visibility,
}

/// How a port is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// The kernel copies what parsers need; the traffic itself goes its own way.
    Tap,
    /// Through the proxy.
    Proxy,
}

/// Transport protocols that the proxy takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Transport {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams: DNS.
    Udp,
}

impl Transport {
    /// IANA protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// Socket hooks for processes of this host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// Ports of servers; empty switches the hooks off.
    pub ports: Vec<WatchedPort>,
    /// Cgroup below which processes are seen; default: the root of the cgroup v2 hierarchy.
    pub cgroup: Option<PathBuf>,
}

/// Copies of bytes of ports that are only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tap {
    /// Size of the kernel's buffer of them in bytes, a power of two; default 8 MiB.
    pub ring_bytes: u32,
    /// Most bytes copied of what a client says until it is answered; default 16 KiB.
    pub request_bytes: u32,
    /// Most bytes copied of what a server says until its client goes on; default 4 KiB.
    pub response_bytes: u32,
    /// Most connections followed; default 65,536.
    pub connections: usize,
}

impl Default for Tap {
    fn default() -> Self {
        Self {
            ring_bytes: 8 << 20,
            request_bytes: 16 << 10,
            response_bytes: 4 << 10,
            connections: 1 << 16,
        }
    }
}

/// The transparent proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxy {
    /// Worker threads; default: one per core, at most 8.
    pub workers: usize,
    /// Longest request or response head on an enforced port, in bytes; default 64 KiB.
    pub head_bytes: usize,
    /// Most header fields in a head on an enforced port; default 128.
    pub headers: usize,
    /// How long a client may take for one head on an enforced port; default 30 s.
    pub head_timeout: Duration,
    /// How long connections may go on when the agent is told to stop; default 5 s.
    pub drain: Duration,
    /// Most proxied connections of one endpoint; default 10,000.
    pub connections_per_endpoint: usize,
}

impl Default for Proxy {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            workers: cores.min(8),
            head_bytes: 64 << 10,
            headers: 128,
            head_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            connections_per_endpoint: 10_000,
        }
    }
}

/// What DNS is answered, and what is learnt from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dns {
    /// How a query is refused that no rule allows.
    pub refusal: DnsRefusal,
    /// An address is known by a name for at least so long after an answer; default 60 s.
    pub min_ttl: Duration,
    /// How long it stays so when that has passed, for connections that stay open; default 5 min.
    pub grace: Duration,
    /// Most addresses of one name, as one endpoint learnt it; default 1,000.
    pub addresses_per_name: usize,
    /// Most names of one endpoint; default 10,000.
    pub names_per_endpoint: usize,
}

/// What a refused DNS query is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DnsRefusal {
    /// REFUSED: some resolvers ask the next server then.
    #[default]
    Refused,
    /// NXDOMAIN: the name does not exist, and nobody is asked further.
    NameError,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            refusal: DnsRefusal::default(),
            min_ttl: Duration::from_mins(1),
            grace: Duration::from_mins(5),
            addresses_per_name: 1000,
            names_per_endpoint: 10_000,
        }
    }
}
