//! Policies as their authors write them: no more is understood of the words than where they stand.

mod kubernetes;
mod peers;
mod write;

use policy_l7::Direction;

pub use kubernetes::{KubernetesElement, KubernetesPeer, KubernetesSpec};
pub use peers::{Block, CidrSet, Peers, ServicePeer, Source, Which};
pub use write::yaml;

/// One object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Name.
    pub name: String,
    /// Namespace; none for a cluster-wide policy.
    pub namespace: Option<String>,
    /// Whether it is only tried.
    pub is_audited: bool,
    /// What it says.
    pub specs: Specs,
}

/// The body of an object.
#[derive(Debug, Clone)]
pub enum Specs {
    /// `CiliumNetworkPolicy`, or `CiliumClusterwideNetworkPolicy` without a namespace.
    Cilium(Vec<Spec>),
    /// `NetworkPolicy`.
    Kubernetes(KubernetesSpec),
}

/// One `spec` of Cilium's.
#[derive(Debug, Clone)]
pub struct Spec {
    /// `endpointSelector`.
    pub subject: Selector,
    /// `ingress`, `ingressDeny`, `egress` and `egressDeny`, as far as they are there.
    pub lists: Vec<List>,
    /// `enableDefaultDeny`.
    pub default_deny: Vec<(Direction, bool)>,
}

/// A list of elements.
#[derive(Debug, Clone)]
pub struct List {
    /// Which way.
    pub direction: Direction,
    /// Whether it denies.
    pub is_deny: bool,
    /// Elements.
    pub elements: Vec<Element>,
}

impl List {
    /// Name of the field.
    pub fn name(&self) -> &'static str {
        match (self.direction, self.is_deny) {
            (Direction::Ingress, false) => "ingress",
            (Direction::Ingress, true) => "ingressDeny",
            (Direction::Egress, false) => "egress",
            (Direction::Egress, true) => "egressDeny",
        }
    }
}

/// An element of a list.
#[derive(Debug, Clone)]
pub struct Element {
    /// The other end, if it is spoken of.
    pub peers: Option<Peers>,
    /// Ports or ICMP types.
    pub limits: Limits,
}

/// A DNS name.
#[derive(Debug, Clone)]
pub enum Name {
    /// `matchName`.
    Exact(String),
    /// `matchPattern`.
    Pattern(String),
}

/// `toPorts` or `icmps`.
#[derive(Debug, Clone)]
pub enum Limits {
    /// Neither.
    Absent,
    /// `icmps`: the types of each, and whether they are of IPv6.
    Icmps(Vec<Vec<(bool, u8)>>),
    /// `toPorts`.
    Ports(Vec<ToPorts>),
}

/// An element of `toPorts`.
#[derive(Debug, Clone)]
pub struct ToPorts {
    /// `ports`.
    pub ports: Vec<Port>,
    /// `rules`, or `serverNames`.
    pub rules: Rules,
}

/// A port, in either kind of object.
#[derive(Debug, Clone)]
pub struct Port {
    /// Number or name.
    pub port: Option<String>,
    /// `endPort`.
    pub last: Option<u16>,
    /// `protocol`.
    pub protocol: Option<String>,
}

/// What is said of requests.
#[derive(Debug, Clone)]
pub enum Rules {
    /// Nothing.
    Absent,
    /// `dns`, each with what it names.
    Dns(Vec<Vec<Name>>),
    /// `http`.
    Http(Vec<Http>),
    /// `serverNames`.
    ServerNames(Vec<String>),
}

/// An HTTP rule.
#[derive(Debug, Clone, Default)]
pub struct Http {
    /// Expression.
    pub method: Option<String>,
    /// Expression.
    pub path: Option<String>,
    /// Expression.
    pub host: Option<String>,
    /// `headers`: `Name` or `Name value`.
    pub headers: Vec<String>,
    /// `headerMatches`: name, and value if there is one.
    pub matches: Vec<(String, Option<String>)>,
}

/// A label selector.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    /// `matchLabels`.
    pub labels: Vec<(String, String)>,
    /// `matchExpressions`: key, operator, values.
    pub expressions: Vec<(String, String, Vec<String>)>,
}
