//! What the agent is told: one YAML file.
//!
//! [`read`](read::read_config) turns the file into a [`Config`], in which every default is filled
//! in and every value is checked. What is wrong is reported all at once, each with file, line,
//! field, what was expected and, where one is near, a suggestion.

mod aggregation;
mod bytes;
mod cluster;
mod datapath;
mod endpoint;
mod export;
mod flows;
mod hubble_metric;
mod kernel_feature;
mod metrics;
mod openapi;
mod proxy;
mod read;
mod retina;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use aggregation::{Aggregation, AggregationLevel};
pub use bytes::{Bytes, BytesError};
pub use cluster::Kubernetes;
pub use datapath::{Datapath, Drops, Marks, OnProxyDown, Uplinks};
pub use endpoint::{Endpoint, Node, Service, ServicePort};
pub use export::{Aggregate, Export, ExportFile, ExportTarget, Lines, Otlp, Signal};
pub use flows::{Flows, Redact, UserInfo};
pub use hubble_metric::{
    ContextLabel, Contexts, HubbleMetric, HubbleMetricError, HubblePlugin, Identifier, Switch,
};
pub use kernel_feature::KernelFeature;
pub use metrics::{Metrics, PairLabels};
pub use openapi::{OpenapiError, read_openapi};
pub use policy_l7::{AuditScope, Enforcement};
pub use proxy::{Dns, DnsRefusal, Host, Proxy, Tap, Transport, Visibility, WatchedPort};
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
