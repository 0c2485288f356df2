//! A cluster's objects, reduced to what names addresses and decides about traffic.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::config;

/// One step of what a cluster tells. Steps about one kind come in order; kinds are independent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are objects, and few are on their way at a time"
)]
pub enum Update {
    /// All objects of a kind are told from the beginning. What was known stays in force meanwhile.
    ListBegins(Kind),
    /// All have been told: what the list did not name is gone.
    ListEnds(Kind),
    /// An object that is new or has changed.
    Applied(Object),
    /// An object that is gone.
    Deleted(Kind, Name),
}

/// Kinds of objects that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` `Pod`.
    Pod,
    /// `v1` `Namespace`.
    Namespace,
    /// `v1` `Node`.
    Node,
    /// `v1` `Service`.
    Service,
    /// `discovery.k8s.io/v1` `EndpointSlice`, of services without a selector only.
    EndpointSlice,
    /// `networking.k8s.io/v1` `NetworkPolicy`.
    NetworkPolicy,
    /// `cilium.io/v2` `CiliumNetworkPolicy`.
    CiliumNetworkPolicy,
    /// `cilium.io/v2` `CiliumClusterwideNetworkPolicy`.
    CiliumClusterwideNetworkPolicy,
    /// `cilium.io/v2` `CiliumCIDRGroup`.
    CiliumCidrGroup,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Pod,
        Self::Namespace,
        Self::Node,
        Self::Service,
        Self::EndpointSlice,
        Self::NetworkPolicy,
        Self::CiliumNetworkPolicy,
        Self::CiliumClusterwideNetworkPolicy,
        Self::CiliumCidrGroup,
    ];

    /// As objects write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Self::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            Self::CiliumCidrGroup => "CiliumCIDRGroup",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which object of its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its namespace; empty for kinds that have none.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl Name {
    /// A name; without a namespace for kinds that have none.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// An object, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A pod that has addresses of its own. One that has ended, or bears its node's addresses, is told as
    /// deleted.
    Pod(Pod),
    /// A namespace and its labels.
    Namespace(String, BTreeMap<String, String>),
    /// A node.
    Node(config::Node),
    /// A service; its `backends` come with slices.
    Service(config::Service),
    /// Addresses behind a service.
    EndpointSlice(Slice),
    /// A policy or a CIDR group, as it was written.
    Policy(PolicyObject),
}

/// A pod and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Who it is; without an interface.
    pub endpoint: config::Endpoint,
    /// Its node's name; empty while it has none.
    pub node: String,
}

/// An `EndpointSlice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Its namespace and name.
    pub name: Name,
    /// The service, in the same namespace.
    pub service: String,
    /// Addresses; names are left out.
    pub addresses: Vec<IpAddr>,
}

/// An object that `policy_l7` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyObject {
    /// One of the kinds of policies, or `CiliumCidrGroup`.
    pub kind: Kind,
    /// Its namespace and name.
    pub name: Name,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`: the version of its specification.
    pub generation: i64,
    /// The object in JSON, without `status` and `metadata.managedFields`.
    pub json: String,
}

/// What became of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force.
    Accepted,
    /// It is in force, and selects no pod of the cluster.
    SelectsNothing,
    /// It cannot be used: everything that is wrong with it. Its former version, if one was good, is in
    /// force.
    Refused(Vec<String>),
}

/// What became of every policy, for whoever writes it to the objects: by kind and name, with the `uid` and
/// `generation` that it is about.
pub type Outcomes = BTreeMap<(Kind, Name), (String, i64, Outcome)>;
