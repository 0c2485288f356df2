//! Which response answers which query.
//!
//! A query is known by its flow, its id and its questions. A table serves one connection (`K` is
//! `()`) or all UDP flows of a node (`K` is what tells them apart). It grows with the queries that wait
//! at a time, up to its bound; what has been answered leaves its place to the next.
//!
//! ```text
//!   index: (flow, id) ─▶ slot ─▶ next slot with the same flow and id, other questions
//!   slots: oldest ⇄ … ⇄ newest, by the time they were last asked
//! ```

use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;

use super::header::Section;
use super::message::Message;
use super::name::Name;

/// Bounds of a [`Pairing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairingLimits {
    /// Most queries without an answer; the oldest goes for a new one.
    pub queries: usize,
    /// After how many nanoseconds without an answer a query is given up.
    pub timeout_ns: u64,
}

impl Default for PairingLimits {
    /// Resolvers ask again after seconds, and give up before ten of them.
    fn default() -> Self {
        Self {
            queries: 4096,
            timeout_ns: 10_000_000_000,
        }
    }
}

/// Queries that wait for their responses. Each keeps a `T` of the caller's.
#[derive(Debug)]
pub struct Pairing<K, T> {
    limits: PairingLimits,
    /// Keyed by chance at each start: whoever chooses ids and names cannot make them meet.
    index: HashMap<(K, u16), usize, RandomState>,
    slots: Vec<Slot<K, T>>,
    free: Option<usize>,
    oldest: Option<usize>,
    newest: Option<usize>,
    count: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Slot<K, T> {
    waiting: Option<Unanswered<K, T>>,
    /// Digest of the questions; none of a query that was taken over: digests are a process's own.
    questions: Option<u64>,
    older: Option<usize>,
    newer: Option<usize>,
    /// The next with the same flow and id; of a free slot the next free one.
    next: Option<usize>,
}

/// A query that has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unanswered<K, T> {
    /// Its flow.
    pub flow: K,
    /// Its id.
    pub id: u16,
    /// When it was first asked.
    pub first_ns: u64,
    /// When it was last asked.
    pub last_ns: u64,
    /// How often it was asked again.
    pub repeats: u32,
    /// What the caller keeps with it.
    pub value: T,
}

/// What a query is to those before it.
#[derive(Debug, PartialEq, Eq)]
pub enum Query<K, T> {
    /// Not asked before, or answered since.
    New {
        /// The query that was forgotten for it, because the table was full.
        evicted: Option<Unanswered<K, T>>,
    },
    /// Asked again without an answer; how often.
    Repeated(u32),
}

/// A query and the time its response took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<K, T> {
    /// The query.
    pub query: Unanswered<K, T>,
    /// Nanoseconds from when it was first asked to the response: what the client waited.
    pub latency_ns: u64,
    /// Nanoseconds from when it was last asked.
    pub last_latency_ns: u64,
}

/// Most queries of one flow with one id and different questions.
const SAME_ID_MAX: usize = 8;

impl<K: Copy + Eq + Hash, T> Pairing<K, T> {
    /// An empty table.
    pub fn new(limits: PairingLimits) -> Self {
        Self {
            limits: PairingLimits {
                queries: limits.queries.max(1),
                ..limits
            },
            index: HashMap::default(),
            slots: Vec::new(),
            free: None,
            oldest: None,
            newest: None,
            count: 0,
            evicted: 0,
        }
    }

    /// Notes a query. `value` is kept with it, unless it was asked before.
    pub fn handle_query(
        &mut self,
        flow: K,
        message: &Message<'_>,
        now_ns: u64,
        value: T,
    ) -> Query<K, T> {
        let id = message.header().id();
        let questions = self.digest(message);
        let (same, length) = self.find(flow, id, Some(questions));
        if let Some(at) = same {
            let repeats = self.repeat(at, now_ns);
            return Query::Repeated(repeats);
        }
        let evicted = if length >= SAME_ID_MAX {
            self.index.get(&(flow, id)).copied()
        } else if self.count >= self.limits.queries {
            self.oldest
        } else {
            None
        };
        let evicted = evicted.and_then(|at| self.remove(at));
        self.evicted += u64::from(evicted.is_some());
        self.insert(
            Some(questions),
            Unanswered {
                flow,
                id,
                first_ns: now_ns,
                last_ns: now_ns,
                repeats: 0,
                value,
            },
        );
        Query::New { evicted }
    }

    /// Notes a response, and gives the query that it answers. One without questions, as some servers
    /// send with an error, answers any query of its flow and id.
    pub fn handle_response(
        &mut self,
        flow: K,
        message: &Message<'_>,
        now_ns: u64,
    ) -> Option<Matched<K, T>> {
        let is_bare = message.header().count(Section::Question) == 0;
        let questions = (!is_bare).then(|| self.digest(message));
        let (at, _) = self.find(flow, message.header().id(), questions);
        let query = self.remove(at?)?;
        Some(Matched {
            latency_ns: now_ns.saturating_sub(query.first_ns),
            last_latency_ns: now_ns.saturating_sub(query.last_ns),
            query,
        })
    }

    /// The oldest query, if it has waited too long by now; call until there is none.
    pub fn expire(&mut self, now_ns: u64) -> Option<Unanswered<K, T>> {
        let at = self.oldest?;
        let last_ns = self.slots.get(at)?.waiting.as_ref()?.last_ns;
        if now_ns.saturating_sub(last_ns) < self.limits.timeout_ns {
            return None;
        }
        self.remove(at)
    }

    /// The oldest query, however young; for the end of a connection.
    pub fn take(&mut self) -> Option<Unanswered<K, T>> {
        self.remove(self.oldest?)
    }

    /// Takes over a query that another table gave up by [`Pairing::take`]. What answers its flow and id
    /// answers it, whatever the question.
    pub fn put_back(&mut self, waiting: Unanswered<K, T>) {
        if self.count < self.limits.queries {
            self.insert(None, waiting);
        }
    }

    /// When the oldest query has waited too long: the time to call [`Pairing::expire`].
    pub fn deadline_ns(&self) -> Option<u64> {
        let waiting = self.slots.get(self.oldest?)?.waiting.as_ref()?;
        Some(waiting.last_ns.saturating_add(self.limits.timeout_ns))
    }

    /// Queries that wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.oldest.is_none()
    }

    /// Queries that were forgotten because the table was full.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Names without case: resolvers vary it and servers need not keep it
    /// (draft-vixie-dnsext-dns0x20).
    fn digest(&self, message: &Message<'_>) -> u64 {
        let mut digest = 0;
        for question in message.questions() {
            let mut room = [0; Name::WIRE_MAX];
            let name = question.name();
            let key = (
                digest,
                name.to_wire(&mut room),
                question.kind(),
                question.class(),
            );
            digest = self.index.hasher().hash_one(key);
        }
        digest
    }

    /// The slot of a query, and how many there are of its flow and id.
    fn find(&self, flow: K, id: u16, questions: Option<u64>) -> (Option<usize>, usize) {
        let mut at = self.index.get(&(flow, id)).copied();
        let mut length = 0;
        while let Some((index, slot)) = at.and_then(|at| Some((at, self.slots.get(at)?))) {
            let is_same = |asked| slot.questions.is_none_or(|known| known == asked);
            if questions.is_none_or(is_same) {
                return (Some(index), length);
            }
            length += 1;
            at = slot.next;
        }
        (None, length)
    }

    fn repeat(&mut self, at: usize, now_ns: u64) -> u32 {
        self.unlink(at);
        self.link_newest(at);
        let slot = self.slots.get_mut(at);
        let Some(waiting) = slot.and_then(|slot| slot.waiting.as_mut()) else {
            return 0;
        };
        waiting.last_ns = now_ns;
        waiting.repeats = waiting.repeats.saturating_add(1);
        waiting.repeats
    }

    /// Behind the last with the same flow and id: the first is then the oldest of them.
    fn insert(&mut self, questions: Option<u64>, waiting: Unanswered<K, T>) {
        let key = (waiting.flow, waiting.id);
        let at = self.free.unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(Slot {
                waiting: None,
                questions: None,
                older: None,
                newer: None,
                next: None,
            });
        }
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        self.free = slot.next.take();
        slot.questions = questions;
        slot.waiting = Some(waiting);
        self.count += 1;
        self.link_newest(at);
        let first = *self.index.entry(key).or_insert(at);
        if first == at {
            return;
        }
        let mut last = first;
        while let Some(next) = self.slots.get(last).and_then(|slot| slot.next) {
            last = next;
        }
        if let Some(slot) = self.slots.get_mut(last) {
            slot.next = Some(at);
        }
    }

    fn remove(&mut self, at: usize) -> Option<Unanswered<K, T>> {
        let slot = self.slots.get_mut(at)?;
        let waiting = slot.waiting.take()?;
        let next = slot.next.take();
        self.count -= 1;
        self.unchain((waiting.flow, waiting.id), at, next);
        self.unlink(at);
        let free = self.free.replace(at);
        if let Some(slot) = self.slots.get_mut(at) {
            slot.next = free;
        }
        Some(waiting)
    }

    fn unchain(&mut self, key: (K, u16), at: usize, next: Option<usize>) {
        let Some(first) = self.index.get_mut(&key) else {
            return;
        };
        if *first == at {
            match next {
                Some(next) => *first = next,
                None => {
                    self.index.remove(&key);
                }
            }
            return;
        }
        let mut before = *first;
        while let Some(slot) = self.slots.get_mut(before) {
            match slot.next {
                Some(after) if after != at => before = after,
                Some(_) | None => {
                    slot.next = next;
                    return;
                }
            }
        }
    }

    fn unlink(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        let (older, newer) = (slot.older.take(), slot.newer.take());
        match older.and_then(|older| self.slots.get_mut(older)) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| self.slots.get_mut(newer)) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, at: usize) {
        let newest = self.newest.replace(at);
        if let Some(slot) = self.slots.get_mut(at) {
            slot.older = newest;
            slot.newer = None;
        }
        match newest.and_then(|newest| self.slots.get_mut(newest)) {
            Some(slot) => slot.newer = Some(at),
            None => self.oldest = Some(at),
        }
    }
}
