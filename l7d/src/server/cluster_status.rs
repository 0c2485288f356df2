//! How the agent follows its cluster, for `l7d status`.

use serde::{Deserialize, Serialize};

/// The cluster's API, and what was read of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// Where its API is.
    pub server: String,
    /// Whether its policies are in force: not before everything has been told once.
    pub in_force: bool,
    /// Each kind of objects.
    pub kinds: Vec<KindRow>,
    /// Statuses written to policies.
    pub statuses_written: u64,
    /// Events told.
    pub events_written: u64,
    /// What of both was not taken.
    pub writes_failed: u64,
}

/// What was read of a kind of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KindRow {
    /// As objects write it.
    pub kind: String,
    /// `following`, `listing`, `absent` (the cluster has no such resource yet) or `away`.
    pub state: String,
    /// Objects known.
    pub objects: u64,
    /// Lists begun.
    pub lists: u64,
    /// Watches begun.
    pub watches: u64,
    /// Changes that watches told.
    pub changes: u64,
    /// Times that the server no longer had what had changed since (410).
    pub expired: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Objects that could not be read, and were left out.
    pub malformed: u64,
    /// Where it is away: since when, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// And why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trouble: String,
}
