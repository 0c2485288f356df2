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
    /// What is kept of it on disk.
    pub state: StateStatus,
}

/// What is kept of a cluster on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateStatus {
    /// Where.
    pub folder: String,
    /// Whether it is in force, as the API has not told everything since the start.
    pub is_in_force: bool,
    /// When the oldest of its files was written, RFC 3339; empty where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub saved: String,
    /// How long ago.
    pub age_seconds: Option<u64>,
    /// Bytes that this agent has written of it, of all files as they are now.
    pub bytes: u64,
    /// Files written.
    pub saves: u64,
    /// Files that could not be written.
    pub failures: u64,
    /// For how long the disk has not answered, where that is too long.
    pub unanswered_seconds: u64,
    /// Why nothing can be written, as long as it is so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trouble: String,
    /// Files that were of no use at the start, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<String>,
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
