//! A story: what is kept of a connection's facts.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{ACK, FIN, Fact, MessageKind, Peer, RST, SYN, TCP, Way, What};
use crate::clock::Timestamp;
use crate::record::{EndedBy, Outcome};

/// Facts kept from the beginning of a connection, and from its end; between them they are counted.
const FIRST_KEPT: usize = 128;
const LAST_KEPT: usize = 384;

/// Everything that was told of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// IANA number of the protocol.
    pub protocol: u8,
    /// Who began it.
    pub client: Peer,
    /// Who was asked.
    pub server: Peer,
    /// Its numbers, by node; where addresses are translated, a node has one in front and one behind.
    pub numbers: BTreeMap<Place, u64>,
    /// The address of the service that its client asks.
    pub service: Option<SocketAddr>,
    /// The address by which its server knows the client, where that is not the client's own.
    pub client_xlated: Option<SocketAddr>,
    /// When the first of it was seen.
    pub first: Timestamp,
    /// When the last of it was seen.
    pub last: Timestamp,
    /// What its client had asked DNS for to get there.
    pub lookup: Option<Lookup>,
    /// Whether somebody said who began it.
    is_sure: bool,
    /// When the other end was first heard.
    pub(super) answered_at: Option<Timestamp>,
    /// When it was over.
    pub(super) over_at: Option<Timestamp>,
    /// Who has said that nothing more comes.
    finished: [bool; 2],
    facts: [VecDeque<Fact>; 2],
    /// Facts that are not kept.
    pub left_out: u64,
    pub(super) totals: Totals,
}

/// Where a connection has a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The node; empty where nobody says.
    pub node: Arc<str>,
    /// Both ends as packets have them there, the smaller one first.
    pub ends: (SocketAddr, SocketAddr),
}

/// What a client asked DNS for before it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The answer in a line.
    pub text: String,
    /// From its answer to the first packet, in nanoseconds.
    pub before_ns: u64,
    /// How long the answer took, in nanoseconds; 0 where nobody measured.
    pub latency_ns: u64,
}

/// Sums over all messages, also those that are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) answers: u64,
    pub(super) failed: u64,
    pub(super) measured: u64,
    pub(super) latency_ns: u64,
    /// The node whose messages are counted, the first that told any: others tell the same ones.
    node: Option<Arc<str>>,
    /// The slowest answer that any node measured, and its text.
    pub(super) slowest: Option<(u64, String)>,
}

impl Story {
    /// A story begins with its first fact.
    pub(super) fn begin(fact: &Fact) -> Self {
        let mut story = Self {
            protocol: fact.protocol,
            client: fact.source.clone(),
            server: fact.destination.clone(),
            numbers: BTreeMap::new(),
            service: None,
            client_xlated: None,
            first: fact.time,
            last: fact.time,
            lookup: None,
            is_sure: false,
            answered_at: None,
            over_at: None,
            finished: [false; 2],
            facts: [VecDeque::new(), VecDeque::new()],
            left_out: 0,
            totals: Totals::default(),
        };
        // The server's port is the smaller one nearly always.
        if fact.client().is_none() && fact.source.addr.port() < fact.destination.addr.port() {
            std::mem::swap(&mut story.client, &mut story.server);
        }
        story
    }

    /// What is kept, by time; of the same time causes before effects, and then what came first.
    pub(super) fn facts(&self) -> Vec<&Fact> {
        let mut facts: Vec<&Fact> = self.facts.iter().flatten().collect();
        facts.sort_by_key(|fact| (fact.time, rank(fact)));
        facts
    }

    /// Nodes that saw it.
    pub fn nodes(&self) -> Vec<Arc<str>> {
        let mut nodes: Vec<Arc<str>> = self
            .facts
            .iter()
            .flatten()
            .map(|f| f.node.clone())
            .collect();
        nodes.sort();
        nodes.dedup();
        nodes.retain(|node| !node.is_empty());
        nodes
    }

    /// Whether a proxy stood between both ends: what both sides tell has the same ends.
    pub fn is_proxied(&self) -> bool {
        let is_seen = |fact: &Fact| match &fact.what {
            What::Packet(packet) => matches!(packet.point, "to-proxy" | "from-proxy"),
            What::Verdict(judged) => judged.verdict == crate::record::Verdict::Redirected,
            What::Message(_) | What::Stream(_) | What::Drop(_) | What::End(_) => false,
        };
        self.facts.iter().flatten().any(is_seen)
    }

    /// Who sent a fact.
    pub(super) fn way(&self, fact: &Fact) -> Way {
        if fact.source.addr == self.client.addr {
            Way::ToServer
        } else {
            Way::ToClient
        }
    }

    /// Whether it is a look-up of DNS in a datagram.
    pub fn is_lookup(&self) -> bool {
        self.protocol == super::UDP && self.server.addr.port() == 53
    }

    /// Whether the other end was heard.
    pub fn is_answered(&self) -> bool {
        self.answered_at.is_some()
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.over_at.is_some()
    }

    /// Its number where a fact was seen.
    pub(super) fn number_at(&self, fact: &Fact) -> Option<u64> {
        self.numbers.get(&place(fact)).copied()
    }

    /// Takes one more fact.
    pub(super) fn add(&mut self, fact: Fact) {
        self.name_ends(&fact);
        if fact.number != 0 {
            self.numbers.insert(place(&fact), fact.number);
        }
        if let Some(translated) = &fact.translated {
            self.service = self.service.or(translated.service);
            self.client_xlated = self.client_xlated.or(translated.client);
        }
        self.first = self.first.min(fact.time);
        self.last = self.last.max(fact.time);
        self.note_state(&fact);
        self.totals.count(&fact);
        let [first, last] = &mut self.facts;
        if first.len() < FIRST_KEPT {
            first.push_back(fact);
            return;
        }
        last.push_back(fact);
        if last.len() > LAST_KEPT {
            last.pop_front();
            self.left_out += 1;
        }
    }

    fn name_ends(&mut self, fact: &Fact) {
        if let Some(client) = fact.client()
            && !self.is_sure
        {
            self.is_sure = true;
            if client != self.client.addr {
                std::mem::swap(&mut self.client, &mut self.server);
            }
        }
        for peer in [&fact.source, &fact.destination] {
            for known in [&mut self.client, &mut self.server] {
                if known.addr == peer.addr && known.name.is_empty() {
                    known.name = peer.name.clone();
                }
            }
        }
    }

    fn note_state(&mut self, fact: &Fact) {
        let way = self.way(fact);
        if way == Way::ToClient && !matches!(fact.what, What::Drop(_) | What::End(_)) {
            let earlier = |at: Timestamp| at.min(fact.time);
            self.answered_at = Some(self.answered_at.map_or(fact.time, earlier));
        }
        match &fact.what {
            What::Packet(packet) if self.protocol == TCP => {
                if packet.flags & FIN != 0 {
                    let side = usize::from(way == Way::ToClient);
                    self.finished
                        .iter_mut()
                        .skip(side)
                        .take(1)
                        .for_each(|is| *is = true);
                }
                if packet.flags & RST != 0 || self.finished == [true; 2] {
                    self.end_at(fact.time);
                }
            }
            What::End(ended) if ended.how != EndedBy::Idle => {
                let lasted = ended.duration_us.saturating_mul(1000);
                let end = Timestamp(self.first.0.saturating_add(lasted));
                self.end_at(end.min(fact.time));
            }
            _ => {}
        }
    }

    /// What comes at the same time from another place is of it still.
    fn end_at(&mut self, time: Timestamp) {
        self.over_at.get_or_insert(time);
    }

    /// Takes away the verdicts that were told at the end of this story within so long of `time`: they
    /// were about what begins then.
    pub(super) fn give_up_verdicts(&mut self, time: Timestamp, within_ns: u64) -> Vec<Fact> {
        let mut given = Vec::new();
        for facts in self.facts.iter_mut().rev() {
            while let Some(fact) = facts.back() {
                let is_near = time.0.saturating_sub(fact.time.0) <= within_ns;
                let is_verdict = matches!(fact.what, What::Verdict(_) | What::Drop(_));
                if !is_near || !is_verdict || fact.number != 0 {
                    break;
                }
                given.extend(facts.pop_back());
            }
        }
        given.reverse();
        given
    }

    /// Whether it has no facts left.
    pub(super) fn is_empty(&self) -> bool {
        self.facts.iter().all(VecDeque::is_empty)
    }

    /// SYNs of the client: how many, not counting that several places saw them, the first and the last.
    pub(super) fn attempts(&self) -> Option<(usize, Timestamp, Timestamp)> {
        // Places see a packet within much less time than it takes until it is sent again.
        const SAME_NS: u64 = 100_000_000;
        let facts = self.facts();
        let mut syns = facts
            .iter()
            .filter(|fact| fact.is_syn())
            .map(|fact| fact.time);
        let first = syns.next()?;
        let (mut count, mut last) = (1, first);
        for time in syns {
            if time.0.saturating_sub(last.0) > SAME_NS {
                count += 1;
                last = time;
            }
        }
        Some((count, first, last))
    }

    /// Packets with this flag from that side, the first of them.
    pub(super) fn first_with(&self, way: Way, set: u8) -> Option<Timestamp> {
        let facts = self.facts();
        let found = facts.into_iter().find(|fact| {
            matches!(&fact.what, What::Packet(packet) if packet.flags & set == set)
                && self.way(fact) == way
        });
        found.map(|fact| fact.time)
    }

    /// Whether its SYN was answered by one.
    pub(super) fn is_established(&self) -> bool {
        self.first_with(Way::ToClient, SYN | ACK).is_some()
    }
}

fn place(fact: &Fact) -> Place {
    Place {
        node: fact.node.clone(),
        ends: fact.seen(),
    }
}

/// A packet is judged before it goes on, what it bears is read behind it, and what a side says goes
/// before its end.
fn rank(fact: &Fact) -> u8 {
    match &fact.what {
        What::Verdict(_) => 0,
        What::Drop(_) => 1,
        What::Packet(packet) if packet.flags & FIN != 0 => 4,
        What::Packet(_) => 2,
        What::Message(_) | What::Stream(_) => 3,
        What::End(_) => 5,
    }
}

impl Totals {
    fn count(&mut self, fact: &Fact) {
        let What::Message(message) = &fact.what else {
            return;
        };
        let is_counted = *self.node.get_or_insert_with(|| fact.node.clone()) == fact.node;
        if message.latency_ns > 0 && message.outcome != Outcome::NoResponse {
            let slowest = self.slowest.as_ref().map_or(0, |(ns, _)| *ns);
            if message.latency_ns > slowest {
                self.slowest = Some((message.latency_ns, message.text.clone()));
            }
        }
        if !is_counted {
            return;
        }
        match message.kind {
            MessageKind::Query | MessageKind::Request => self.requests += 1,
            MessageKind::Answer | MessageKind::Response => {
                self.answers += 1;
                self.failed += u64::from(message.is_failed());
                if message.latency_ns > 0 && message.outcome != Outcome::NoResponse {
                    self.measured += 1;
                    self.latency_ns = self.latency_ns.saturating_add(message.latency_ns);
                }
            }
            MessageKind::Report | MessageKind::Bytes => {}
        }
    }
}
