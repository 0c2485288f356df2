//! Where a connection's time went: its handshake, the network, and whoever had to answer.
//!
//! The network's part is the shortest round trip that anybody measured: a handshake's, in which no
//! process takes part, or TCP's own minimum. A smoothed round trip has delayed acknowledgements in it,
//! which are nobody's network (RFC 1122 §4.2.3.2). So of a latency at most that much was the network's,
//! and at least the rest was the server's.

use super::{ACK, Fact, MessageKind, SYN, Story, TCP, Way, What};
use crate::record::Outcome;

/// Where the time went; nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timing {
    /// From the first SYN to the client's first ACK, or to the SYN ACK where nobody measured more.
    pub connect_ns: Option<u64>,
    /// The shortest round trip to the server, from where its answers were measured.
    pub server_rtt_ns: Option<u64>,
    /// The shortest round trip to the client, from there. It is in no latency here.
    pub client_rtt_ns: Option<u64>,
    /// Segments that were sent again.
    pub retransmits: u64,
    /// How often a window closed.
    pub zero_windows: u64,
    /// What was asked and answered.
    pub exchanges: Exchanges,
}

/// Requests and their answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exchanges {
    /// Requests.
    pub requests: u64,
    /// Answers.
    pub answers: u64,
    /// Answers that say that something went wrong.
    pub failed: u64,
    /// The mean time to an answer.
    pub mean_ns: Option<u64>,
    /// The slowest answer: its text, its time, and what of it at most was the network's.
    pub slowest: Option<(String, u64, Option<u64>)>,
}

impl Story {
    /// Where the time went.
    pub fn timing(&self) -> Timing {
        let mut timing = Timing::default();
        for fact in self.facts() {
            let way = self.way(fact);
            match &fact.what {
                What::Packet(packet) => timing.note(way, &packet.health),
                What::End(ended) => {
                    let [sent, received] = &ended.directions;
                    timing.note(Way::ToServer, &sent.health);
                    timing.note(Way::ToClient, &received.health);
                }
                What::Message(message) | What::Stream(message) => {
                    let seen = message.network;
                    shortest(&mut timing.server_rtt_ns, seen.server_rtt_us);
                    shortest(&mut timing.client_rtt_ns, seen.client_rtt_us);
                    timing.retransmits = timing.retransmits.max(seen.retransmits.into());
                }
                What::Verdict(_) | What::Drop(_) => {}
            }
        }
        let handshake = self.handshake_ns();
        timing.connect_ns = timing.connect_ns.or(handshake);
        // A proxy answers for the server.
        if timing.server_rtt_ns.is_none() && !self.is_proxied() {
            timing.server_rtt_ns = handshake;
        }
        timing.exchanges = self.exchanges(timing.server_rtt_ns);
        timing
    }

    /// From the SYN to its answer, as one place saw both; what was sent twice measures nothing.
    fn handshake_ns(&self) -> Option<u64> {
        if self.protocol != TCP || self.attempts()?.0 > 1 {
            return None;
        }
        let facts = self.facts();
        let first = |way, set| {
            let is_it = move |fact: &&&Fact| {
                matches!(&fact.what, What::Packet(packet) if packet.flags & (SYN | ACK) == set)
                    && self.way(fact) == way
            };
            facts.iter().filter(is_it)
        };
        // The node nearest to the client saw it first.
        let syn = first(Way::ToServer, SYN).next()?;
        let mut answers = first(Way::ToClient, SYN | ACK);
        let answer = answers.rfind(|answer| answer.node == syn.node)?;
        let lasted = answer.time.0.checked_sub(syn.time.0);
        lasted.filter(|ns| *ns > 0)
    }

    fn exchanges(&self, rtt_ns: Option<u64>) -> Exchanges {
        let totals = &self.totals;
        let (latency, most) = match &totals.slowest {
            Some((latency, _)) => (*latency, self.elsewhere(*latency)),
            None => (0, None),
        };
        let network = rtt_ns
            .into_iter()
            .chain(most)
            .min()
            .map(|ns| ns.min(latency));
        let slowest = totals.slowest.clone();
        Exchanges {
            requests: totals.requests,
            answers: totals.answers,
            failed: totals.failed,
            mean_ns: totals.latency_ns.checked_div(totals.measured),
            slowest: slowest.map(|(ns, text)| (text, ns, network)),
        }
    }

    /// Where another node measured the same answer and took less time for it, the difference was on the
    /// way between both.
    fn elsewhere(&self, latency_ns: u64) -> Option<u64> {
        let facts = self.facts();
        let answers = facts.iter().filter_map(|fact| match &fact.what {
            What::Message(message)
                if matches!(message.kind, MessageKind::Answer | MessageKind::Response)
                    && message.outcome == Outcome::Passed =>
            {
                Some((fact, message))
            }
            _ => None,
        });
        let answers: Vec<_> = answers.collect();
        let (slowest, _) = answers
            .iter()
            .find(|(_, one)| one.latency_ns == latency_ns)?;
        let others = answers.iter().filter(|(fact, other)| {
            fact.node != slowest.node
                && other.latency_ns > 0
                && other.latency_ns <= latency_ns
                && fact.time.0.abs_diff(slowest.time.0) <= latency_ns
        });
        let nearest = others.map(|(_, other)| other.latency_ns).max()?;
        Some(latency_ns - nearest)
    }
}

impl Timing {
    fn note(&mut self, way: Way, health: &crate::record::TcpHealth) {
        if health.handshake_us != 0 {
            let ns = u64::from(health.handshake_us) * 1000;
            self.connect_ns = Some(self.connect_ns.unwrap_or(ns).max(ns));
        }
        // What the client sends is acknowledged by the server.
        let far = match way {
            Way::ToServer => &mut self.server_rtt_ns,
            Way::ToClient => &mut self.client_rtt_ns,
        };
        shortest(far, health.min_rtt_us);
        self.retransmits = self.retransmits.max(health.retransmits.into());
        self.zero_windows = self.zero_windows.max(health.zero_windows.into());
    }
}

/// 0 is what nobody measured.
fn shortest(known: &mut Option<u64>, micros: u32) {
    if micros != 0 {
        let ns = u64::from(micros) * 1000;
        *known = Some(known.map_or(ns, |known| known.min(ns)));
    }
}
