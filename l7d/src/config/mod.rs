//! What the agent is told: one YAML file.
//!
//! [`read`](read::read_config) turns the file into a [`Config`], in which every default is filled
//! in and every value is checked. What is wrong is reported all at once, each with file, line,
//! field, what was expected and, where one is near, a suggestion.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use policy_l7::{AuditScope, Enforcement};
pub use read::{
    ConfigError, Told, files_of, read_config, read_config_file, read_inline, read_inventory,
};

/// The whole configuration, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node's name in flows; default: the host name.
    pub node: String,
    /// Cluster name; `default` is left out of node names, as Hubble does.
    pub cluster: String,
    /// Where the Hubble API is served.
    pub api: Api,
    /// Folder for state that a restart needs; default `/run/l7d`.
    pub runtime_dir: PathBuf,
    /// Kernel side.
    pub datapath: Datapath,
    /// Ports to see on endpoints, never judged.
    pub visibility: Vec<WatchedPort>,
    /// The tap.
    pub tap: Tap,
    /// Ports of this host's own processes to see (socket hooks, no pods needed).
    pub host: Host,
    /// The transparent proxy.
    pub proxy: Proxy,
    /// DNS.
    pub dns: Dns,
    /// The flow ring and what may be written into it.
    pub flows: Flows,
    /// Endpoints of this node, and of others where they are to be named.
    pub endpoints: Vec<Endpoint>,
    /// Labels of namespaces, by name.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Services: their addresses, and what policies may know of them.
    pub services: Vec<Service>,
    /// Nodes of the cluster; this one is known by its name.
    pub nodes: Vec<Node>,
    /// Groups of prefixes that policies refer to, where objects of Kubernetes tell of them; others stand
    /// beside the policies.
    pub cidr_groups: Vec<policy_l7::CidrGroup>,
    /// Where policies are.
    pub policies: Policies,
}

/// Listeners of the Hubble API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Unix socket; default `/run/l7d/l7d.sock`.
    pub socket: PathBuf,
    /// TCP listener; none by default.
    pub tcp: Option<Tcp>,
}

/// A TCP listener of the Hubble API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificates; without them only loopback addresses are accepted.
    pub tls: Option<Tls>,
    /// Serve plaintext to the network all the same.
    pub insecure: bool,
}

/// Server certificate, and the CA of clients where they must show one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the server's certificate chain.
    pub certificate: PathBuf,
    /// PEM file with its key.
    pub key: PathBuf,
    /// PEM file with the CA that client certificates must come from.
    pub client_ca: Option<PathBuf>,
}

/// Kernel side: where things are pinned, what they are called, which bits are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datapath {
    /// Folder in a bpf filesystem; default `/sys/fs/bpf/l7d`.
    pub pin_dir: PathBuf,
    /// Interfaces that lead out of the node.
    pub uplinks: Vec<String>,
    /// Name of the portal interface; default `l7d0`.
    pub portal: String,
    /// Routing table for packets from the portal; default 1077.
    pub table: u32,
    /// Priority of the rule that leads into it; default 99.
    pub rule_priority: u32,
    /// Packet marks.
    pub marks: Marks,
    /// Size of the kernel's ring buffer in bytes, a power of two; default 4 MiB.
    pub ring_bytes: u32,
    /// Most entries of all policies in the kernel; default 1,048,576.
    pub policy_entries: u32,
    /// Most addresses and prefixes that have an identity in the kernel; default 512,000.
    pub ipcache_entries: u32,
    /// What enforced ports do while the proxy is not there.
    pub on_proxy_down: OnProxyDown,
    /// Whether policies that select this node are enforced; default: no, since they can lock out who
    /// administers it.
    pub host_firewall: bool,
}

/// Packet marks of the proxy's own packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Bits that are ours; default `0x3000`.
    pub mask: u32,
    /// On packets from the proxy to clients; default `0x1000`.
    pub reply: u32,
    /// On packets from the proxy to servers outside the cluster; default `0x2000`.
    pub upstream: u32,
    /// On packets from the proxy to servers inside the cluster; default `0x3000`.
    pub upstream_local: u32,
    /// Accept bits that kube-proxy, Calico, Cilium or the AWS VPC CNI use.
    pub allow_reserved: bool,
}

/// What the kernel does with new connections to enforced ports while the proxy is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnProxyDown {
    /// Drop them: no request passes unjudged.
    #[default]
    Closed,
    /// Let them pass unjudged.
    Open,
}

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

/// The flow ring and redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flows {
    /// Records kept, 2^n − 1; default 4095.
    pub ring: usize,
    /// What is hidden before a flow is recorded.
    pub redact: Redact,
}

/// What is hidden before a flow is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redact {
    /// Record headers at all; default true.
    pub headers: bool,
    /// When not empty, only these headers keep their value (lower case).
    pub allow: Vec<String>,
    /// Headers whose value is hidden (lower case); default: authorization, cookies, API keys.
    pub deny: Vec<String>,
    /// Hide the query of URLs; default false, as Hubble's.
    pub query: bool,
}

/// An endpoint: a pod, or anything else with an address of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Pod name.
    pub name: String,
    /// Namespace; default `default`.
    pub namespace: String,
    /// Labels without source; those that make an identity become `k8s:key=value`.
    pub labels: BTreeMap<String, String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// Host-side interface. Without one the endpoint is of another node: it is named in flows and
    /// selected by peers' rules, but nothing is attached for it.
    pub interface: Option<String>,
    /// Named ports, for policies that use names.
    pub named_ports: BTreeMap<String, u16>,
    /// Ports that containers say they serve, with their IP protocols; empty where nothing is said.
    pub ports: BTreeSet<(u8, u16)>,
    /// Service account that it runs as, for policies that select by it.
    pub service_account: Option<String>,
    /// Owner, as `Kind/name`.
    pub workload: Option<(String, String)>,
    /// Line in the file, for later messages.
    pub line: usize,
}

/// A node of the cluster: who its addresses are, and its labels for policies that select nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Labels without source; they become `node:key=value`.
    pub labels: BTreeMap<String, String>,
    /// Addresses; those of this node are found without being told.
    pub ips: Vec<IpAddr>,
}

/// A service: names in flows, addresses whose policy is decided behind the NAT, and what `toServices`
/// of policies finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Name.
    pub name: String,
    /// Namespace; default `default`.
    pub namespace: String,
    /// Virtual addresses.
    pub ips: Vec<IpAddr>,
    /// Ports; empty means every port.
    pub ports: Vec<u16>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Labels of the pods behind it; empty where its backends are told one by one.
    pub selector: BTreeMap<String, String>,
    /// Addresses behind a service without a selector.
    pub backends: Vec<IpAddr>,
}

/// Where policies are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// Single files.
    pub files: Vec<PathBuf>,
    /// A folder whose `.yaml`, `.yml` and `.json` files are policies.
    pub directory: Option<PathBuf>,
    /// For which endpoints policy is enforced; default: those that a policy selects.
    pub enforcement: Enforcement,
    /// Whose policies only tell what they would deny, beside those that say so themselves.
    pub audit: AuditScope,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            mask: 0x3000,
            reply: 0x1000,
            upstream: 0x2000,
            upstream_local: 0x3000,
            allow_reserved: false,
        }
    }
}

impl Default for Datapath {
    fn default() -> Self {
        Self {
            pin_dir: PathBuf::from("/sys/fs/bpf/l7d"),
            uplinks: Vec::new(),
            portal: "l7d0".to_owned(),
            table: 1077,
            rule_priority: 99,
            marks: Marks::default(),
            ring_bytes: 4 << 20,
            policy_entries: l7d_ebpf::maps::POLICY_MAX,
            ipcache_entries: l7d_ebpf::maps::IPCACHE_MAX,
            on_proxy_down: OnProxyDown::default(),
            host_firewall: false,
        }
    }
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

impl Default for Flows {
    fn default() -> Self {
        Self {
            ring: 4095,
            redact: Redact::default(),
        }
    }
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
            allow: Vec::new(),
            deny: deny.map(str::to_owned).to_vec(),
            query: false,
        }
    }
}
