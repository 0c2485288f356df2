//! What the agent says of itself beyond Hubble's status. It travels as JSON in the response header
//! `l7d-agent-status` of `ServerStatus`, for whoever asks by a request header of that name: libraries of
//! gRPC refuse answers whose headers are too long for them.

use serde::{Deserialize, Serialize};

use super::cluster_status::ClusterStatus;
use crate::export;
use crate::flow::FlowRing;
use crate::flow::clients::Reading;
use crate::record::{Place, Tally};

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

/// What happened at one place where something can be lost: seen is delivered, filtered, lost or waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LedgerRow {
    /// The place.
    pub place: String,
    /// What is counted there.
    pub unit: String,
    /// What came in.
    pub seen: u64,
    /// What went on.
    pub delivered: u64,
    /// What was left out on purpose.
    pub filtered: u64,
    /// What is gone.
    pub lost: u64,
    /// What is still there.
    pub waiting: u64,
    /// What to do where something was lost.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// A client that reads flows now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientRow {
    /// Where it comes from.
    pub peer: String,
    /// Whether it goes on with what comes.
    pub following: bool,
    /// Records that it came past.
    pub seen: u64,
    /// Records that it got.
    pub delivered: u64,
    /// Records that did not pass its filters.
    pub filtered: u64,
    /// Records that were gone before it came to them.
    pub lost: u64,
}

/// An export of flows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportRow {
    /// Its name.
    pub name: String,
    /// Where it goes.
    pub target: String,
    /// Whether it goes on.
    pub active: bool,
    /// Records that it came past.
    pub seen: u64,
    /// Records that arrived.
    pub delivered: u64,
    /// Records that did not pass its filters.
    pub filtered: u64,
    /// Records that were gone before it came to them, or were not taken.
    pub lost: u64,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Why nothing arrives, where that is so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trouble: String,
}

impl ExportRow {
    /// The row of an export.
    pub fn of(reading: &export::Reading) -> Self {
        let tally = reading.tally;
        Self {
            name: reading.name.clone(),
            target: reading.target.clone(),
            active: reading.is_active,
            seen: tally.seen,
            delivered: tally.delivered,
            filtered: tally.filtered,
            lost: tally.lost,
            bytes: reading.bytes,
            trouble: reading.trouble.clone().unwrap_or_default(),
        }
    }
}

impl LedgerRow {
    /// The row of a place.
    pub fn of(place: Place, tally: Tally) -> Self {
        Self {
            place: place.as_str().to_owned(),
            unit: place.unit().to_owned(),
            seen: tally.seen,
            delivered: tally.delivered,
            filtered: tally.filtered,
            lost: tally.lost,
            waiting: tally.waiting(),
            advice: if tally.lost == 0 {
                String::new()
            } else {
                place.advice().to_owned()
            },
        }
    }
}

impl ClientRow {
    /// The row of a client.
    pub fn of(reading: &Reading) -> Self {
        let tally = reading.tally;
        Self {
            peer: reading.peer.to_string(),
            following: reading.is_following,
            seen: tally.seen,
            delivered: tally.delivered,
            filtered: tally.filtered,
            lost: tally.lost,
        }
    }
}

/// What memory is taken, and what is given up for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryStatus {
    /// Bytes that may be taken; none where there is no budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Bytes of the process's own.
    pub process: u64,
    /// Bytes of its maps in the kernel.
    pub maps: u64,
    /// The last thing that is given up, `none` where nothing is.
    pub given_up: String,
    /// How many things are given up.
    pub step: u64,
    /// How often something was given up since the start.
    pub steps: u64,
}

/// What became of what the kernel dropped for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KernelDrops {
    /// The kernel's name of the reason.
    pub reason: String,
    /// Packets of endpoints that have a record each.
    pub told: u64,
    /// Packets of endpoints that were only counted, as there were too many.
    pub untold: u64,
    /// Normal ends of packets.
    pub normal: u64,
    /// Packets of nobody that is known here.
    pub others: u64,
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
    /// How much of packets is told one by one.
    pub aggregation: String,
    /// What the agent may still do.
    pub rights: String,
    /// Memory, and what is given up for it.
    pub memory: MemoryStatus,
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
    /// Clients of the API, and calls of theirs, that were sent away.
    pub sent_away: u64,
    /// Requests that the proxy refused.
    pub refused: u64,
    /// Servers that the proxy could not reach.
    pub upstream_failures: u64,
    /// Proxied connections taken over from the agent before.
    pub taken_over: u64,
    /// Those of them that go on unread, since their states could not be.
    pub taken_over_unread: u64,
    /// Proxied connections that ended where an agent ended, since nobody could go on with them.
    pub cut_by_handover: u64,
    /// Proxied connections that ended by a fault of the proxy.
    pub panics: u64,
    /// Names of addresses that DNS has told and that have not aged.
    pub names: usize,
    /// Names that gave way to others, because a client had too many.
    pub names_evicted: u64,
    /// Connections that netfilter translates, as it said.
    pub translated: u64,
    /// Connections of which netfilter said that it does not.
    pub untranslated: u64,
    /// Connections, and records of them, of which it should have known and did not in time.
    pub translations_unknown: u64,
    /// Flows kept.
    pub flows: u64,
    /// Most flows kept.
    pub flows_max: u64,
    /// Bytes that they hold.
    pub flow_bytes: u64,
    /// Most bytes that they may hold.
    pub flow_bytes_max: u64,
    /// What was seen, and what became of it, by place.
    pub ledger: Vec<LedgerRow>,
    /// Who reads flows now.
    pub clients: Vec<ClientRow>,
    /// Exports of flows.
    pub exports: Vec<ExportRow>,
    /// What the kernel has dropped, by reason.
    pub kernel_drops: Vec<KernelDrops>,
    /// The cluster, where one is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterStatus>,
    /// What does not work here, policy files that are refused, selectors that match nothing.
    pub warnings: Vec<String>,
}

/// Name of the header, of requests that ask for the status and of answers that have it.
pub const STATUS_HEADER: &str = "l7d-agent-status";
/// Bytes of answers' headers that whoever asks should take.
pub const STATUS_HEADER_BYTES: u32 = 1 << 20;
/// Warnings and clients told one by one.
const LISTED: usize = 100;
/// Characters of a warning.
const WARNING_CHARS: usize = 1000;

impl AgentStatus {
    /// The same, as long as a header may be: the number of what is left out stands in the last warning.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.clients.truncate(LISTED);
        let left = self.warnings.len().saturating_sub(LISTED);
        if left > 0 {
            self.warnings.truncate(LISTED);
            self.warnings
                .push(format!("and {left} more; the agent's log has them"));
        }
        for warning in &mut self.warnings {
            if let Some((end, _)) = warning.char_indices().nth(WARNING_CHARS) {
                warning.truncate(end);
                warning.push('…');
            }
        }
        self
    }

    /// The same with what is read at this moment: the ledger, the ring, and who reads it.
    #[must_use]
    pub fn with_flows(self, ring: &FlowRing) -> Self {
        let (flow_bytes, flow_bytes_max) = ring.bytes();
        let rows = ring.ledger().read();
        let clients = ring.clients().list();
        Self {
            flows: ring.len(),
            flows_max: ring.capacity(),
            flow_bytes,
            flow_bytes_max,
            ledger: rows
                .into_iter()
                .map(|(place, tally)| LedgerRow::of(place, tally))
                .collect(),
            clients: clients.iter().map(ClientRow::of).collect(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_stays_within_what_a_header_may_be() {
        let status = AgentStatus {
            warnings: (0..5000).map(|_| "ü".repeat(5000)).collect(),
            clients: vec![ClientRow::default(); 5000],
            ..AgentStatus::default()
        };
        let bounded = status.bounded();
        assert_eq!(bounded.warnings.len(), 101);
        assert_eq!(
            bounded.warnings[100],
            "and 4900 more; the agent's log has them"
        );
        // Escaped, each letter takes six characters.
        let json = serde_json::to_string(&bounded).expect("json");
        let escaped = json.chars().map(|c| if c.is_ascii() { 1 } else { 6 });
        assert!(escaped.sum::<usize>() < STATUS_HEADER_BYTES as usize);
    }
}
