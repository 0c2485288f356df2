//! Why a packet was dropped: Hubble's numbers, and beside them what the kernel says.

use std::borrow::Cow;
use std::sync::Arc;

/// A drop reason. The number is Hubble's `drop_reason_desc` (and the drop event's sub-type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct DropReason(pub u8);

impl DropReason {
    /// Hubble has no number for it.
    pub const UNKNOWN: Self = Self(0);
    /// No rule allowed it.
    pub const POLICY_DENIED: Self = Self(133);
    /// A deny rule forbade it.
    pub const POLICY_DENY: Self = Self(181);
    /// The packet's own headers make no sense.
    pub const INVALID_PACKET: Self = Self(134);
    /// The port is enforced by the proxy, and the proxy is not there.
    pub const PROXY_UNAVAILABLE: Self = Self(205);
    /// A fragment whose first part was not seen.
    pub const FRAGMENT: Self = Self(157);
    /// The kernel does not let the proxy's socket have it.
    pub const ASSIGN_FAILED: Self = Self(179);
    /// The map of policy could not be read for this endpoint yet.
    pub const ENDPOINT_NOT_READY: Self = Self(203);
}

/// What the kernel says of a packet that it dropped.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KernelDrop {
    /// The reason, as the running kernel names it (`NETFILTER_DROP`); its number where it has no name.
    pub reason: Arc<str>,
    /// The kernel's function that dropped it; empty where it is not known.
    pub place: Arc<str>,
    /// What happened, and what to look at; empty where nobody has written it down.
    pub meaning: Cow<'static, str>,
    /// Where it happened.
    pub site: DropSite,
    /// IP length of the packet.
    pub bytes: u32,
    /// The queue that had no room for it.
    pub queue: Option<FullQueue>,
    /// The netfilter rule that dropped it, or what is known of it.
    pub netfilter: Option<Arc<str>>,
}

impl KernelDrop {
    /// Whether a rule of netfilter on this node has dropped it.
    pub fn is_by_netfilter(&self) -> bool {
        &*self.reason == "NETFILTER_DROP" && self.site == DropSite::Node
    }
}

/// Where a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DropSite {
    /// In the network namespace of the node.
    Node,
    /// In that of a pod.
    Pod,
}

impl DropSite {
    /// Stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pod => "pod",
        }
    }
}

/// A queue that overflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FullQueue {
    /// How many are in it.
    pub used: u32,
    /// How many it is made for.
    pub limit: u32,
}
