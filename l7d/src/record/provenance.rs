//! Which policy decided.

use std::fmt;
use std::sync::{Arc, LazyLock};

/// A policy that allowed or denied something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct PolicyRef {
    /// Kind of object.
    pub kind: PolicyKind,
    /// Namespace, empty for cluster-wide policies.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Derived labels (`k8s:io.cilium.k8s.policy.name=…`), sorted.
    pub labels: Vec<String>,
    /// What flows that it decides about are to carry (`log.value`).
    pub log: Option<String>,
    /// Revision of the policy set that judged.
    pub revision: u64,
    /// Rule inside the policy, as a path a user can follow: `egress[0].toPorts[0].rules.http[1]`;
    /// empty where the whole policy decided (default deny).
    pub rule: String,
}

impl fmt::Display for PolicyRef {
    /// Kind, namespace, name and rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        f.write_str(" ")?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)?;
        if self.rule.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", self.rule)
        }
    }
}

/// Kind of a policy object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum PolicyKind {
    /// `cilium.io/v2`, namespaced.
    CiliumNetworkPolicy,
    /// `cilium.io/v2`, cluster scope.
    CiliumClusterwideNetworkPolicy,
    /// `networking.k8s.io/v1`.
    NetworkPolicy,
}

impl PolicyKind {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Self::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }
}

static NONE: LazyLock<Arc<[PolicyRef]>> = LazyLock::new(|| Arc::from(Vec::new()));

/// The empty list, shared: no allocation per record.
pub fn none() -> Arc<[PolicyRef]> {
    Arc::clone(&NONE)
}
