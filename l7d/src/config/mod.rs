//! What the agent is told: one YAML file.
//!
//! [`read`](read::read_config) turns the file into a [`Config`], in which every default is filled
//! in and every value is checked. What is wrong is reported all at once, each with file, line,
//! field, what was expected and, where one is near, a suggestion.

mod aggregation;
mod bytes;
mod cluster;
mod export;
mod hubble_metric;
mod kernel_feature;
mod openapi;
mod read;
mod retina;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use parsers::template::Templates;

pub use aggregation::{Aggregation, AggregationLevel};
pub use bytes::{Bytes, BytesError};
pub use cluster::Kubernetes;
pub use export::{Aggregate, Export, ExportFile, ExportTarget, Lines, Otlp, Signal};
pub use hubble_metric::{
    ContextLabel, Contexts, HubbleMetric, HubbleMetricError, HubblePlugin, Identifier, Switch,
};
pub use kernel_feature::KernelFeature;
pub use openapi::{OpenapiError, read_openapi};
pub use policy_l7::{AuditScope, Enforcement};
pub use read::{
    ConfigError, SingleError, Told, files_of, read_config, read_config_file, read_inline,
    read_inventory, read_namespace, read_node, read_pod, read_service,
};
pub use retina::{Retina, RetinaKind, RetinaLabel, RetinaMetric};

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
    /// Folder for what outlives a reboot; default `/var/lib/l7d`.
    pub state_dir: PathBuf,
    /// Bytes that the process and its maps may take before detail is given up; none by default.
    pub memory_budget: Option<u64>,
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
    /// What the kernel drops.
    pub drops: Drops,
    /// Metrics.
    pub metrics: Metrics,
    /// Where flows go on their own.
    pub exports: Vec<Export>,
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
    /// The cluster that tells who is there and what is allowed, if any is asked.
    pub kubernetes: Option<Kubernetes>,
    /// What the agent gives up at its start.
    pub rights: Rights,
}

/// What the agent gives up at its start, where the kernel lets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// System calls that it has no use for; default true.
    pub seccomp: bool,
    /// Files that it has no use for; default true.
    pub landlock: bool,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            seccomp: true,
            landlock: true,
        }
    }
}

/// Which of a node's interfaces lead to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interface {
    /// The one of that name.
    Named(String),
    /// Those at whose other end its addresses are.
    Found,
}

/// Listeners of the Hubble API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Unix socket; default `/run/l7d/l7d.sock`.
    pub socket: PathBuf,
    /// TCP listener; none by default.
    pub tcp: Option<Tcp>,
}

/// A TCP listener of the Hubble API, or of metrics.
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

/// Interfaces that lead out of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uplinks {
    /// These; default: none.
    Named(Vec<String>),
    /// Those of its default routes, whichever these are at a time (`auto`).
    Found,
}

impl Uplinks {
    /// Whether there is none, whatever routes there are.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Named(names) if names.is_empty())
    }
}

/// Kernel side: where things are pinned, what they are called, which bits are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datapath {
    /// Folder in a bpf filesystem; default `/sys/fs/bpf/l7d`.
    pub pin_dir: PathBuf,
    /// Folder of the network's sysctls; default `/proc/sys/net`, which containers have read-only.
    pub sysctl_dir: PathBuf,
    /// Interfaces that lead out of the node.
    pub uplinks: Uplinks,
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
    /// Most connections remembered in the kernel; default: by the machine's memory, 65,536 to 524,288.
    pub connections: u32,
    /// What enforced ports do while the proxy is not there.
    pub on_proxy_down: OnProxyDown,
    /// Features of the kernel that are not used though they may be there: to find out whether one of
    /// them is at fault.
    pub without: BTreeSet<KernelFeature>,
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

/// What is told of packets that the kernel drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drops {
    /// Most records that a CPU writes in a second, the others are counted; default 1000.
    pub records_per_second: u32,
    /// Find out by which netfilter rule; default false. Followed live.
    pub netfilter_rules: bool,
}

impl Default for Drops {
    fn default() -> Self {
        Self {
            records_per_second: 1000,
            netfilter_rules: false,
        }
    }
}

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

/// Where metrics are served, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Listener for scrapes; none by default.
    pub listen: Option<Tcp>,
    /// What pairs of endpoints are told apart by; default: workloads.
    pub labels: PairLabels,
    /// Most series of all families that have labels of endpoints; default 50,000.
    pub max_series: usize,
    /// A series that nothing was added to for so long is dropped; default 10 min.
    pub idle: Duration,
    /// Hubble's metrics.
    pub hubble: Vec<HubbleMetric>,
    /// Metrics under Retina's names; none by default.
    pub retina: Retina,
    /// Templates of paths, which come before those that are found by looking.
    pub paths: Templates,
    /// Files that some of these were read from.
    pub openapi: Vec<PathBuf>,
}

/// What the labels of a pair of endpoints say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PairLabels {
    /// Namespace and workload of both.
    #[default]
    Workload,
    /// Their pods as well.
    Pod,
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
    /// Its interfaces at the node's end. Without any the endpoint is of another node: it is named in flows
    /// and selected by peers' rules, but nothing is attached for it.
    pub interface: Option<Interface>,
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
    /// Virtual addresses, those of load balancers and external ones among them.
    pub ips: Vec<IpAddr>,
    /// Ports; empty means every port.
    pub ports: Vec<ServicePort>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Labels of the pods behind it; empty where its backends are told one by one.
    pub selector: BTreeMap<String, String>,
    /// Addresses behind a service without a selector.
    pub backends: Vec<IpAddr>,
}

/// A port of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServicePort {
    /// Of its addresses.
    pub port: u16,
    /// IP protocol number, 0 for any.
    pub protocol: u8,
    /// Of every node, where it has one.
    pub node_port: Option<u16>,
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
    /// Pods that nobody knows yet are closed.
    pub closes_new_pods: bool,
    /// They are enforced even where Cilium enforces them as well.
    pub beside_cilium: bool,
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
            sysctl_dir: PathBuf::from("/proc/sys/net"),
            uplinks: Uplinks::Named(Vec::new()),
            portal: "l7d0".to_owned(),
            table: 1077,
            rule_priority: 99,
            marks: Marks::default(),
            ring_bytes: 4 << 20,
            policy_entries: l7d_ebpf::maps::POLICY_MAX,
            ipcache_entries: l7d_ebpf::maps::IPCACHE_MAX,
            connections: connections(),
            on_proxy_down: OnProxyDown::default(),
            without: BTreeSet::new(),
            host_firewall: false,
        }
    }
}

/// A quarter of a percent of the machine's memory for connections, as Cilium has it.
fn connections() -> u32 {
    const SHARE: u64 = 400;
    const BYTES_EACH: u64 = 640;
    let memory = rustix::system::sysinfo();
    let bytes = u64::from(memory.mem_unit).saturating_mul(memory.totalram);
    let most = (bytes / SHARE / BYTES_EACH).clamp(1 << 16, 1 << 19);
    u32::try_from(most).unwrap_or(l7d_ebpf::maps::CONNTRACK_MAX)
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
            ring_bytes: 16 << 20,
            allow: Vec::new(),
            deny: Vec::new(),
            aggregation: Aggregation::default(),
            redact: Redact::default(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: None,
            labels: PairLabels::default(),
            max_series: 50_000,
            idle: Duration::from_mins(10),
            hubble: hubble_metric::usual(),
            retina: Retina::default(),
            paths: Templates::default(),
            openapi: Vec::new(),
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
