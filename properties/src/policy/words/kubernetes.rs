//! The words of a `NetworkPolicy`.

use policy_l7::Direction;

use super::{Block, Port, Selector};

/// The `spec` of a `NetworkPolicy`.
#[derive(Debug, Clone)]
pub struct KubernetesSpec {
    /// `podSelector`.
    pub subject: Selector,
    /// `policyTypes`.
    pub types: Option<Vec<Direction>>,
    /// `ingress` and `egress`, as far as they are there.
    pub lists: Vec<(Direction, Vec<KubernetesElement>)>,
}

/// An element of `ingress` or `egress`.
#[derive(Debug, Clone)]
pub struct KubernetesElement {
    /// `from`, `to`.
    pub peers: Option<Vec<KubernetesPeer>>,
    /// `ports`.
    pub ports: Option<Vec<Port>>,
}

/// A peer.
#[derive(Debug, Clone)]
pub enum KubernetesPeer {
    /// `ipBlock`.
    Block(Block),
    /// `podSelector`, `namespaceSelector`, or both.
    Pods {
        /// `podSelector`.
        pods: Option<Selector>,
        /// `namespaceSelector`.
        namespaces: Option<Selector>,
    },
}
