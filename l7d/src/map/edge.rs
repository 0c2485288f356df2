//! What is counted of everything that one node asks of another.

use std::collections::BTreeSet;

use super::latency::Latencies;
use super::tally::Tally;
use super::{Fault, Outcome, Protocol, Reason, Sighting, What};
use crate::clock::Timestamp;

/// Places in the kernel where one packet is seen.
const POINTS: usize = 14;
/// Most operations told apart between two nodes.
const OPERATIONS: usize = 48;
/// Most reasons, pairs of pods, and policies.
const REASONS: usize = 24;
const PODS: usize = 32;
const POLICIES: usize = 16;
/// Most protocols and ports.
const PORTS: usize = 24;

/// At which end something was seen. A request between two nodes of a cluster is told at both: each
/// end's tellings are counted by themselves, and the end that told more is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// The client's.
    Egress,
    /// The server's.
    Ingress,
    /// Nobody says.
    #[default]
    Unknown,
}

/// What is counted between two nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    sides: [Counts; 3],
    pub(super) ports: Tally<(Protocol, u16), u64, PORTS>,
    pub(super) operations: Tally<String, Operation, OPERATIONS>,
    pub(super) reasons: Tally<Reason, Told, REASONS>,
    pub(super) pods: Tally<(String, String), Pair, PODS>,
    pub(super) allowed_by: BTreeSet<String>,
    pub(super) audited: u64,
}

/// How often a reason was told, and when last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) count: u64,
    pub(super) last: Timestamp,
}

/// One operation of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) calls: u64,
    pub(super) rejected: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) latencies: Latencies,
}

/// What two pods have had with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) seen: u64,
    pub(super) failed: u64,
}

/// What one side has told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) flows: u64,
    requests: u64,
    answers: u64,
    pub(super) rejected: u64,
    pub(super) failed: u64,
    refused: u64,
    dropped: u64,
    judged: u64,
    opened: [u64; POINTS],
    ended: u64,
    pub(super) failed_ends: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) retransmits: u64,
    pub(super) latencies: Latencies,
}

impl Counts {
    /// Requests, whether or not they were answered.
    pub(super) fn calls(&self) -> u64 {
        self.requests.max(self.answers)
    }

    /// Connections that were begun, by whoever saw most of them.
    pub(super) fn connections(&self) -> u64 {
        let opened = self.opened.iter().copied().max().unwrap_or(0);
        opened.max(self.ended)
    }

    /// What did not go on: a packet that a policy denied is told as its verdict, as its drop, or both.
    fn drops(&self) -> u64 {
        self.refused + self.dropped.max(self.judged)
    }

    fn weight(&self) -> (u64, u64, u64) {
        (self.calls(), self.connections(), self.flows)
    }

    fn merge(&mut self, other: &Self) {
        self.flows += other.flows;
        self.requests += other.requests;
        self.answers += other.answers;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.refused += other.refused;
        self.dropped += other.dropped;
        self.judged += other.judged;
        for (held, more) in self.opened.iter_mut().zip(&other.opened) {
            *held += more;
        }
        self.ended += other.ended;
        self.failed_ends += other.failed_ends;
        self.sent += other.sent;
        self.received += other.received;
        self.retransmits += other.retransmits;
        self.latencies.merge(&other.latencies);
    }
}

impl Edge {
    /// Adds a sighting.
    pub(super) fn add(&mut self, seen: &Sighting) {
        self.first = match self.first {
            Timestamp(0) => seen.time,
            first => first.min(seen.time),
        };
        self.last = self.last.max(seen.time);
        *self.ports.of(&(seen.protocol, seen.port)) += 1;
        for policy in &seen.allowed_by {
            if self.allowed_by.len() < POLICIES {
                self.allowed_by.insert(policy.clone());
            }
        }
        let failed = self.count(seen);
        let pair = self.pods.of(&seen.pods);
        pair.seen += 1;
        pair.failed += u64::from(failed);
        if let Some(reason) = &seen.audited {
            self.audited += 1;
            self.tell(reason, seen.time);
        }
    }

    /// Counts it; whether it tells of a failure.
    fn count(&mut self, seen: &Sighting) -> bool {
        let Some(counts) = self.sides.get_mut(seen.side as usize) else {
            return false;
        };
        counts.flows += 1;
        let reason = match &seen.what {
            What::Request => {
                counts.requests += 1;
                None
            }
            What::Answer {
                operation,
                latency_ns,
                outcome,
            } => {
                counts.answer(*latency_ns, outcome);
                let held = self.operations.of(operation);
                held.answer(*latency_ns, outcome);
                match outcome {
                    Outcome::Good => None,
                    Outcome::Rejected(reason) | Outcome::Failed(reason) => Some(reason),
                }
            }
            What::Refused { operation, reason } => {
                counts.requests += 1;
                counts.refused += 1;
                let held = self.operations.of(operation);
                held.calls += 1;
                held.refused += 1;
                Some(reason)
            }
            What::Passed {
                point,
                is_open,
                retransmits,
            } => {
                counts.retransmits += retransmits;
                if let Some(opened) = counts.opened.get_mut(*point) {
                    *opened += u64::from(*is_open);
                }
                None
            }
            What::Dropped { reason, is_verdict } => {
                counts.dropped += u64::from(!is_verdict);
                counts.judged += u64::from(*is_verdict);
                Some(reason)
            }
            What::Ended {
                failed,
                sent,
                received,
            } => {
                counts.ended += 1;
                counts.sent += sent;
                counts.received += received;
                counts.failed_ends += u64::from(failed.is_some());
                failed.as_ref()
            }
        };
        if let Some(reason) = reason {
            self.tell(reason, seen.time);
        }
        reason.is_some_and(|reason| reason.fault != Fault::Rejected)
    }

    fn tell(&mut self, reason: &Reason, time: Timestamp) {
        let told = self.reasons.of(reason);
        told.count += 1;
        told.last = told.last.max(time);
    }

    /// What the side says that knows more.
    pub(super) fn counts(&self) -> &Counts {
        let [egress, ingress, unknown] = &self.sides;
        let mut best = egress;
        for side in [ingress, unknown] {
            if side.weight() > best.weight() {
                best = side;
            }
        }
        best
    }

    /// What did not go on: what is dropped at one end is not told by the other.
    pub(super) fn drops(&self) -> u64 {
        self.sides.iter().map(Counts::drops).sum()
    }

    /// Adds all of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.first = match (self.first, other.first) {
            (Timestamp(0), first) | (first, Timestamp(0)) => first,
            (one, another) => one.min(another),
        };
        self.last = self.last.max(other.last);
        for (held, more) in self.sides.iter_mut().zip(&other.sides) {
            held.merge(more);
        }
        self.ports
            .merge(&other.ports, |held, more: &u64| *held += more);
        self.operations.merge(&other.operations, Operation::merge);
        self.reasons.merge(&other.reasons, |held, more| {
            held.count += more.count;
            held.last = held.last.max(more.last);
        });
        self.pods.merge(&other.pods, |held, more| {
            held.seen += more.seen;
            held.failed += more.failed;
        });
        for policy in &other.allowed_by {
            if self.allowed_by.len() < POLICIES {
                self.allowed_by.insert(policy.clone());
            }
        }
        self.audited += other.audited;
    }
}

impl Counts {
    fn answer(&mut self, latency_ns: u64, outcome: &Outcome) {
        self.answers += 1;
        match outcome {
            Outcome::Good => {}
            Outcome::Rejected(_) => self.rejected += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
        if latency_ns > 0 {
            self.latencies.add(latency_ns);
        }
    }
}

impl Operation {
    fn answer(&mut self, latency_ns: u64, outcome: &Outcome) {
        self.calls += 1;
        match outcome {
            Outcome::Good => {}
            Outcome::Rejected(_) => self.rejected += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
        if latency_ns > 0 {
            self.latencies.add(latency_ns);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.refused += other.refused;
        self.latencies.merge(&other.latencies);
    }
}
