//! Where the cluster's API is, and what is written to it.

use std::path::PathBuf;
use std::time::Duration;

/// Who is there and what is allowed comes from a cluster, beside what the configuration file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// File that says where the API is and who asks; without one a pod's service account, then
    /// `$KUBECONFIG`, then `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// One of the file's contexts, instead of its current one.
    pub context: Option<String>,
    /// Whether what became of policies is written to them, and told as Events.
    pub status: bool,
    /// Whether the addresses that a pod's annotation `k8s.v1.cni.cncf.io/network-status` names are taken
    /// for its own.
    pub network_status: bool,
    /// How long an agent that starts behind a former one waits for the cluster before it takes what was kept
    /// of it on disk.
    pub patience: Duration,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            status: true,
            network_status: false,
            patience: Duration::from_secs(5),
        }
    }
}
