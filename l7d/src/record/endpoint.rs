//! Who an address is, as known at the moment of the record.

use std::net::SocketAddr;
use std::sync::Arc;

/// Node-local number of an endpoint; 0 means "not an endpoint of this node".
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct EndpointId(pub u16);

/// Security identity; reserved numbers are Cilium's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct IdentityNumber(pub u32);

impl IdentityNumber {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self(0);
    /// This node.
    pub const HOST: Self = Self(1);
    /// Anything outside.
    pub const WORLD: Self = Self(2);
}

/// A pod, a process group or a named outside peer. Shared: a record holds a pointer to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Endpoint {
    /// Number on this node, 0 if it lives elsewhere.
    pub id: EndpointId,
    /// Identity made of `labels`.
    pub identity: IdentityNumber,
    /// Cluster, empty where there is none.
    pub cluster: String,
    /// Kubernetes namespace, empty where there is none.
    pub namespace: String,
    /// Pod name, or the endpoint's name on a plain host; empty for reserved identities.
    pub name: String,
    /// `source:key=value`, sorted; shared by all endpoints of the identity.
    pub labels: Arc<[String]>,
    /// Owner, where known.
    pub workload: Option<Workload>,
}

/// The controller that owns a pod.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Workload {
    /// `Deployment`, `DaemonSet`, …
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

/// A service that an address and port belong to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Service {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// Names that DNS gave an address, as far as whoever it talks to has asked for them: oldest first, in
/// lower case without the last dot.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct DnsNames(pub Vec<Arc<str>>);

/// One end of a record.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Party {
    /// Address; the port is 0 where the protocol has none.
    pub addr: SocketAddr,
    /// Identity, as the kernel or the identity table gave it.
    pub identity: IdentityNumber,
    /// Who it is; `None` for addresses nobody named.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Service whose address this is.
    pub service: Option<Arc<Service>>,
}

impl Party {
    /// An address nobody has named.
    pub fn unnamed(addr: SocketAddr, identity: IdentityNumber) -> Self {
        Self {
            addr,
            identity,
            endpoint: None,
            service: None,
        }
    }

    /// Namespace, or empty.
    pub fn namespace(&self) -> &str {
        self.endpoint
            .as_deref()
            .map_or("", |endpoint| endpoint.namespace.as_str())
    }

    /// Pod name, or empty.
    pub fn name(&self) -> &str {
        self.endpoint
            .as_deref()
            .map_or("", |endpoint| endpoint.name.as_str())
    }

    /// Labels, or none.
    pub fn labels(&self) -> &[String] {
        self.endpoint
            .as_deref()
            .map_or(&[], |endpoint| &*endpoint.labels)
    }
}
