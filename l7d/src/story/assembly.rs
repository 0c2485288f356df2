//! Which facts are of one connection.
//!
//! A number decides where there is one; it is the node's own, so that what two nodes tell is joined by
//! ends and time. Facts without a number (a verdict on a first packet, a drop, everything of a server
//! that gives none) are of the connection between their ends at the time. How the facts of several
//! connections lie between each other does not matter, as long as each connection's come in order.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::{Fact, Lookup, MessageKind, Story, TCP, What};
use crate::clock::Timestamp;
use crate::record::Outcome;

/// Bounds of what is kept at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections; the one that was quiet longest is handed out first.
    pub stories: usize,
    /// Addresses of which is known who asked DNS for them.
    pub lookups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stories: 16_384,
            lookups: 16_384,
        }
    }
}

/// A closed port may be used again this long after: what is later is another connection's.
const LATE_NS: u64 = 3_000_000_000;
/// Clocks of nodes differ by no more than this.
const SKEW_NS: u64 = 2_000_000_000;
/// A client sends its SYN again for so long.
const ATTEMPT_NS: u64 = 130_000_000_000;
/// Datagrams that are further apart are not of one story, where nobody numbers them.
const PAUSE_NS: u64 = 60_000_000_000;
/// The same for connections.
const SILENCE_NS: u64 = 7_200_000_000_000;
/// The verdict on a first packet comes so shortly before it.
const VERDICT_NS: u64 = 100_000_000;
/// A look-up that is older has nothing to do with a connection.
const LOOKUP_NS: u64 = 30_000_000_000;

/// Both ends and the protocol, the same whoever sends.
type Key = (u8, SocketAddr, SocketAddr);

/// Stories that are being told.
#[derive(Debug, Default)]
pub struct Stories {
    limits: Limits,
    open: HashMap<Key, Vec<Story>, ahash::RandomState>,
    count: usize,
    lookups: Lookups,
}

impl Stories {
    /// Nothing told yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes a fact. Where there are too many stories, those that were quiet longest are handed out.
    pub fn take(&mut self, fact: Fact, mut hand_out: impl FnMut(Story)) {
        self.lookups.learn(&fact, self.limits.lookups);
        let key = key(&fact);
        let between = self.open.entry(key).or_default();
        let at = find(between, &fact);
        match at.and_then(|at| between.get_mut(at)) {
            Some(story) => story.add(fact),
            None => {
                self.count += begin(between, fact);
            }
        }
        if self.count > self.limits.stories {
            self.make_room(&mut hand_out);
        }
    }

    /// Hands out the eighth that was quiet longest.
    fn make_room(&mut self, hand_out: &mut impl FnMut(Story)) {
        let mut times: Vec<Timestamp> = self.open.values().flatten().map(|s| s.last).collect();
        let eighth = times.len() / 8;
        if eighth >= times.len() {
            return;
        }
        let (_, limit, _) = times.select_nth_unstable(eighth);
        let limit = *limit;
        self.hand_out(|story| story.last <= limit, hand_out);
    }

    /// Hands out what is over, or was dropped before it began, and was quiet since `quiet_ns` before
    /// `now`.
    pub fn sweep(&mut self, now: Timestamp, quiet_ns: u64, mut hand_out: impl FnMut(Story)) {
        let is_quiet = |story: &Story| now.0.saturating_sub(story.last.0) >= quiet_ns;
        let is_told = |story: &Story| {
            let is_datagram = story.protocol != TCP;
            story.is_over() || is_datagram || !story.is_answered()
        };
        self.hand_out(|story| is_quiet(story) && is_told(story), &mut hand_out);
    }

    /// Hands out all that is left, in the order in which it began.
    pub fn finish(&mut self, mut hand_out: impl FnMut(Story)) {
        self.hand_out(|_| true, &mut hand_out);
    }

    fn hand_out(&mut self, is_due: impl Fn(&Story) -> bool, hand_out: &mut impl FnMut(Story)) {
        let mut due = Vec::new();
        self.open.retain(|_, between| {
            due.extend(between.extract_if(.., |story| is_due(story)));
            !between.is_empty()
        });
        self.count = self.count.saturating_sub(due.len());
        // The table has no order; what was told at one moment has one by its ends.
        due.sort_by_key(|story| (story.first, story.client.addr, story.server.addr));
        for mut story in due {
            story.lookup = self.lookups.before(&story);
            hand_out(story);
        }
    }
}

fn key(fact: &Fact) -> Key {
    let (from, to) = (fact.source.addr, fact.destination.addr);
    (fact.protocol, from.min(to), from.max(to))
}

/// Begins a story, with the verdicts that were told of its first packet; how many more there are.
fn begin(between: &mut Vec<Story>, fact: Fact) -> usize {
    let before = between.len();
    let mut early = Vec::new();
    if fact.number != 0
        && let Some(former) = between.last_mut()
    {
        early = former.give_up_verdicts(fact.time, VERDICT_NS);
        if former.is_empty() {
            between.pop();
        }
    }
    let mut story = Story::begin(early.first().unwrap_or(&fact));
    for verdict in early {
        story.add(verdict);
    }
    story.add(fact);
    between.push(story);
    between.len().saturating_sub(before)
}

/// The story that a fact belongs to, the youngest first.
fn find(between: &[Story], fact: &Fact) -> Option<usize> {
    let number = |story: &Story| story.number_at(fact);
    if fact.number != 0
        && let Some(at) = between
            .iter()
            .rposition(|story| number(story) == Some(fact.number))
    {
        return Some(at);
    }
    // Of one attempt that is dropped, each SYN has a number of its own.
    let is_attempt = |story: &Story| fact.is_syn() && !story.is_answered();
    let is_free = |story: &Story| fact.number == 0 || number(story).is_none() || is_attempt(story);
    between
        .iter()
        .rposition(|story| is_free(story) && belongs(story, fact))
}

/// Whether a fact without a number, or the first one that a node tells, may be of a story.
fn belongs(story: &Story, fact: &Fact) -> bool {
    let since = fact.time.0.saturating_sub(story.last.0);
    let before = story.first.0.saturating_sub(fact.time.0);
    let patience = if story.protocol == TCP {
        SILENCE_NS
    } else {
        PAUSE_NS
    };
    if since > patience || before > SKEW_NS {
        return false;
    }
    if story.protocol == TCP && fact.is_syn() {
        return !begins_anew(story, fact);
    }
    let is_late = |over: Timestamp| fact.time.0.saturating_sub(over.0) > LATE_NS;
    !story.over_at.is_some_and(is_late)
}

/// Whether a SYN is of another connection than the one before it between the same ends.
fn begins_anew(story: &Story, syn: &Fact) -> bool {
    if syn.source.addr != story.client.addr {
        return true;
    }
    // Where another node saw the same SYN, its clock may be late.
    let is_heard = story.nodes().contains(&syn.node);
    let slack = if is_heard { 0 } else { SKEW_NS };
    let is_behind = |at: Timestamp| syn.time.0 > at.0.saturating_add(slack);
    if story.over_at.is_some_and(is_behind) || story.answered_at.is_some_and(is_behind) {
        return true;
    }
    syn.time.0.saturating_sub(story.last.0) > ATTEMPT_NS
}

/// What clients have asked DNS for.
#[derive(Debug, Default)]
struct Lookups {
    /// Answers by client and address, the last few of each.
    told: HashMap<(IpAddr, IpAddr), VecDeque<Told>, ahash::RandomState>,
    /// The same, oldest first.
    order: VecDeque<(IpAddr, IpAddr)>,
}

#[derive(Debug, Clone)]
struct Told {
    time: Timestamp,
    text: String,
    latency_ns: u64,
}

/// Answers that are kept of one client and address.
const TOLD_KEPT: usize = 8;

impl Lookups {
    fn learn(&mut self, fact: &Fact, most: usize) {
        let What::Message(message) = &fact.what else {
            return;
        };
        if message.kind != MessageKind::Answer || message.outcome != Outcome::Passed {
            return;
        }
        let client = fact.destination.addr.ip();
        for address in &message.addresses {
            let key = (client, *address);
            let told = self.told.entry(key).or_default();
            if told.is_empty() {
                self.order.push_back(key);
            }
            told.push_back(Told {
                time: fact.time,
                text: message.text.clone(),
                latency_ns: message.latency_ns,
            });
            if told.len() > TOLD_KEPT {
                told.pop_front();
            }
        }
        while self.order.len() > most {
            if let Some(oldest) = self.order.pop_front() {
                self.told.remove(&oldest);
            }
        }
    }

    /// The last answer that told the client of a story about its server's address.
    fn before(&self, story: &Story) -> Option<Lookup> {
        if story.is_lookup() {
            return None;
        }
        let told = self
            .told
            .get(&(story.client.addr.ip(), story.server.addr.ip()))?;
        let earlier = told.iter().filter(|told| told.time <= story.first);
        let last = earlier.max_by_key(|told| told.time)?;
        let before_ns = story.first.0 - last.time.0;
        (before_ns <= LOOKUP_NS).then(|| Lookup {
            text: last.text.clone(),
            before_ns,
            latency_ns: last.latency_ns,
        })
    }
}
