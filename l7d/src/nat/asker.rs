//! Questions that wait for netfilter's answer, and the records that wait with them. No socket and no
//! clock: datagrams go out and come in as bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;
use parsers::netlink::Messages;
use parsers::netlink::conntrack::{self, Answer, Connection};

use super::question::{self, Question};
use super::table::{Found, Key, Side, Table};
use super::telling::Waiting;
use super::{Asked, Counters};
use crate::clock::Monotonic;
use crate::identity::Identities;
use crate::record::Translation;

/// Questions in one datagram: their answers fit the socket's buffer.
const ROUND: usize = 64;
/// Questions that may be asked again: more than that wait for nothing.
const OPEN: usize = 4096;
/// How long a record waits for netfilter to learn of its connection. A packet passes the node in tens
/// of microseconds; a virtual machine that is not given its CPU takes milliseconds.
const PATIENCE_NS: u64 = 20_000_000;
/// And how long until it is asked again; each time twice as long.
const AGAIN_NS: u64 = 250_000;
/// Records that wait at most; any more are told as they are.
const WAITING: usize = 8192;

/// A question without its answer.
struct Open {
    question: Question,
    /// Which of the two tuples is asked for.
    turn: usize,
    since: Monotonic,
    /// When it is asked again if netfilter does not know yet, in nanoseconds from now.
    again_ns: u64,
    records: Vec<Waiting>,
}

/// Open questions.
pub(super) struct Asker {
    table: Arc<Table>,
    counters: Arc<Counters>,
    identities: Identities,
    open: AHashMap<Key, Open>,
    /// To be asked at once: first those in front, whose answers may settle those behind.
    due: [VecDeque<Key>; 2],
    /// To be asked later, soonest first.
    later: VecDeque<(Monotonic, Key)>,
    /// Those of the last datagram, by their numbers; `None` where they are answered.
    asked: Vec<Option<Key>>,
    /// Number of the last datagram's first question.
    first: u32,
    /// Records that wait.
    waiting: usize,
    /// Netfilter tracks nothing here.
    is_idle: bool,
}

impl Asker {
    pub(super) fn new(table: Arc<Table>, counters: Arc<Counters>, identities: Identities) -> Self {
        Self {
            table,
            counters,
            identities,
            open: AHashMap::default(),
            due: [VecDeque::new(), VecDeque::new()],
            later: VecDeque::new(),
            asked: Vec::with_capacity(ROUND),
            first: 0,
            waiting: 0,
            is_idle: false,
        }
    }

    /// Notes whether netfilter tracks any connection here: where it does not, none will come.
    pub(super) fn set_idle(&mut self, is_idle: bool) {
        self.is_idle = is_idle;
    }

    /// Takes a question and, where there is one, the record that waits for its answer.
    pub(super) fn take(&mut self, asked: Asked, now: Monotonic) {
        let Asked { question, record } = asked;
        if self.waiting >= WAITING
            && let Some(record) = record
        {
            self.counters.unknown();
            return record.tell(None);
        }
        if let Some(open) = self.open.get_mut(&question.key) {
            self.waiting += usize::from(record.is_some());
            open.records.extend(record);
            return;
        }
        let known = self.table.look_up(&question.key, question.connection, now);
        if let Found::Known(translation) = known {
            if let Some(record) = record {
                record.tell(translation);
            }
            return;
        }
        self.waiting += usize::from(record.is_some());
        self.ask_soon(question.key);
        let open = Open {
            question,
            turn: 0,
            since: now,
            again_ns: AGAIN_NS,
            records: record.into_iter().collect(),
        };
        self.open.insert(question.key, open);
    }

    /// Whether there is something to ask at once.
    pub(super) fn is_due(&mut self, now: Monotonic) -> bool {
        while let Some((at, key)) = self.later.front().copied()
            && at <= now
        {
            self.later.pop_front();
            self.ask_soon(key);
        }
        self.due.iter().any(|due| !due.is_empty())
    }

    fn ask_soon(&mut self, key: Key) {
        let [front, behind] = &mut self.due;
        match key.side {
            Side::Front => front.push_back(key),
            Side::Behind => behind.push_back(key),
        }
    }

    /// When something is to be asked again.
    pub(super) fn next_due(&self) -> Option<Monotonic> {
        self.later.front().map(|(at, _)| *at)
    }

    /// Writes the next questions into an empty buffer, if any are left.
    pub(super) fn write(&mut self, datagram: &mut Vec<u8>) {
        self.asked.clear();
        self.first = self.first.wrapping_add(u32::try_from(ROUND).unwrap_or(0));
        let [front, behind] = &mut self.due;
        let due = if front.is_empty() { behind } else { front };
        while self.asked.len() < ROUND
            && let Some(key) = due.pop_front()
        {
            // Answered by what was said of the other side.
            let Some(open) = self.open.get(&key) else {
                continue;
            };
            let [tuple, other] = open.question.tuples();
            let tuple = if open.turn == 0 { tuple } else { other };
            let number = u32::try_from(self.asked.len()).unwrap_or(0);
            conntrack::ask(datagram, &tuple, self.first.wrapping_add(number));
            self.asked.push(Some(key));
            self.counters.ask();
        }
    }

    /// Whether a question of the last datagram has no answer.
    pub(super) fn awaits(&self) -> bool {
        self.asked.iter().any(Option::is_some)
    }

    /// Takes a datagram of answers.
    pub(super) fn read(&mut self, datagram: &[u8], now: Monotonic) {
        for message in Messages::new(datagram) {
            let answer = message.and_then(|message| {
                Ok(conntrack::answer(&message)?.map(|answer| (message.sequence, answer)))
            });
            match answer {
                Ok(Some((sequence, answer))) => {
                    let number = usize::try_from(sequence.wrapping_sub(self.first));
                    let asked = number.ok().and_then(|number| self.asked.get_mut(number));
                    if let Some(key) = asked.and_then(Option::take) {
                        self.settle(key, answer, now);
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "netfilter's answer cannot be read"),
            }
        }
    }

    /// What netfilter did not answer at all is not asked again.
    pub(super) fn give_up_asked(&mut self, now: Monotonic) {
        for key in std::mem::take(&mut self.asked).into_iter().flatten() {
            self.give_up(key, now);
        }
    }

    fn settle(&mut self, key: Key, answer: Answer, now: Monotonic) {
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        match answer {
            Answer::Connection(connection) => self.answer(key, &connection, now),
            Answer::Refused(_) if open.turn == 0 => {
                open.turn = 1;
                self.ask_soon(key);
            }
            Answer::Refused(_) => {
                let is_patient = open.question.is_early
                    && !self.is_idle
                    && now.nanos_since(open.since) < PATIENCE_NS
                    && self.later.len() < OPEN;
                if is_patient {
                    open.turn = 0;
                    let again = Monotonic(now.0.saturating_add(open.again_ns));
                    open.again_ns *= 2;
                    let place = self.later.partition_point(|(at, _)| *at <= again);
                    self.later.insert(place, (again, key));
                } else {
                    self.give_up(key, now);
                }
            }
        }
    }

    fn answer(&mut self, key: Key, connection: &Connection, now: Monotonic) {
        let Some(open) = self.open.remove(&key) else {
            return;
        };
        let number = open.question.connection;
        let translation = connection
            .is_translated()
            .then(|| Arc::new(self.name(connection)));
        self.counters.answer(translation.is_some());
        self.table.know(&key, number, now, translation.clone());
        self.tell(open, translation.as_ref());
        for other in question::keys(connection) {
            if other == key {
                continue;
            }
            // The other side's record has a number of its own.
            let waiting = self.open.remove(&other);
            let number = waiting.as_ref().map_or(0, |open| open.question.connection);
            self.table.know(&other, number, now, translation.clone());
            if let Some(open) = waiting {
                self.tell(open, translation.as_ref());
            }
        }
    }

    fn give_up(&mut self, key: Key, now: Monotonic) {
        let Some(open) = self.open.remove(&key) else {
            return;
        };
        let kept = self.table.give_up(&key, open.question.connection, now);
        if open.question.is_early && !self.is_idle && kept.is_none() {
            self.counters.unknown();
        }
        self.tell(open, kept.as_ref());
    }

    fn tell(&mut self, open: Open, translation: Option<&Arc<Translation>>) {
        self.waiting = self.waiting.saturating_sub(open.records.len());
        for record in open.records {
            record.tell(translation.cloned());
        }
    }

    fn name(&self, connection: &Connection) -> Translation {
        let Connection { original, reply } = connection;
        let table = self.identities.load();
        Translation {
            source: table.party(original.source),
            source_after: reply.destination,
            destination: table.party_of(original.destination, original.protocol),
            destination_after: table.party(reply.source),
        }
    }
}
