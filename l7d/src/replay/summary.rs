//! What a replay has seen, for the closing lines.

use std::collections::BTreeMap;

use super::Captured;

/// Counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Packets read.
    pub packets: u64,
    /// Their bytes as captured.
    pub bytes: u64,
    /// TCP connections.
    pub connections: u64,
    /// Connections given up since there were too many at a time.
    pub evicted: u64,
    /// Holes in streams, where the capture lacks bytes.
    pub gaps: u64,
    /// Bytes that they lack.
    pub gap_bytes: u64,
    /// Bytes that came twice and were not the same.
    pub conflicts: u64,
    /// Datagrams whose fragments did not come together.
    pub lost_datagrams: u64,
    /// Packets that are no IP, by link type.
    pub without_ip: BTreeMap<u32, u64>,
    /// Packets that could not be read, by the rule they break.
    pub unreadable: BTreeMap<&'static str, u64>,
}

impl Summary {
    pub(super) fn count_packet(&mut self, captured: &Captured<'_>) {
        self.packets += 1;
        self.bytes += captured.data.len() as u64;
    }

    pub(super) fn count_without_ip(&mut self, link_type: u32) {
        *self.without_ip.entry(link_type).or_default() += 1;
    }

    pub(super) fn count_unreadable(&mut self, rule: &'static str) {
        *self.unreadable.entry(rule).or_default() += 1;
    }

    pub(super) fn count_gap(&mut self, missing: u64) {
        self.gaps += 1;
        self.gap_bytes += missing;
    }
}
