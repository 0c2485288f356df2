//! What the agent says of itself beyond Hubble's status. It travels as JSON in the response header
//! `l7d-agent-status` of `ServerStatus`, which stock clients ignore.

use serde::{Deserialize, Serialize};

/// How full a map of the kernel is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MapRoom {
    /// Its name.
    pub map: String,
    /// Entries in it.
    pub used: usize,
    /// Entries that it has room for.
    pub max: usize,
}

/// State of the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatus {
    /// Endpoints of this node.
    pub endpoints: usize,
    /// Endpoints whose interface is there and hooked.
    pub attached: usize,
    /// Policies in force.
    pub policies: usize,
    /// Version of the policy set.
    pub policy_revision: u64,
    /// Policies that are only audited.
    pub audited: usize,
    /// What they would have denied.
    pub would_deny: u64,
    /// How full the kernel's maps are.
    pub maps: Vec<MapRoom>,
    /// Entries that found no room in them since the start.
    pub map_refusals: u64,
    /// Connections through the proxy now.
    pub proxied: u64,
    /// Connections through the proxy since the start.
    pub proxied_total: u64,
    /// Connections that are tapped now.
    pub tapped: u64,
    /// Connections tapped since the start.
    pub tapped_total: u64,
    /// Tapped connections given up since there were too many.
    pub tap_evicted: u64,
    /// Gaps in what the tap was to read.
    pub tap_gaps: u64,
    /// Bytes in those gaps.
    pub tap_gap_bytes: u64,
    /// Bytes of bodies that the tap left out.
    pub tap_skipped_bytes: u64,
    /// Requests that the proxy refused.
    pub refused: u64,
    /// Servers that the proxy could not reach.
    pub upstream_failures: u64,
    /// Datagrams that the proxy passed on.
    pub datagrams: u64,
    /// Datagrams that were lost in the proxy: it was late, or they could not be sent.
    pub datagrams_lost: u64,
    /// Names of addresses that DNS has told and that have not aged.
    pub names: usize,
    /// Names that gave way to others, because a client had too many.
    pub names_evicted: u64,
    /// Records that reached the flow ring.
    pub seen: u64,
    /// Records lost, by place.
    pub lost: Vec<(String, u64)>,
    /// What does not work here, policy files that are refused, selectors that match nothing.
    pub warnings: Vec<String>,
}
