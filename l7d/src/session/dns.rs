//! DNS messages → queries and their answers.

use std::fmt::Write as _;
use std::hash::Hash;
use std::net::IpAddr;

use parsers::Direction as Way;
use parsers::dns::tcp::{Connection, Event, Step};
use parsers::dns::{
    Chain, Message, Name, Pairing, PairingLimits, Query, Rcode, RecordType, Section, Unanswered,
};

use super::messages::Message as Shown;
use super::recorder::Recorder;
use super::{Ends, RequestVerdict, Session};
use crate::clock::Monotonic;
use crate::record::{self, Dns, L4, Network, Outcome, Record, Span, Text, Verdict};

/// Queries that wait for their answers: of one stream, or of all datagrams.
pub struct Lookups<K> {
    pairing: Pairing<K, Waiting>,
    /// Memory of queries that were answered.
    spare: Vec<Text>,
    l4: L4,
}

/// What is told of a query that nobody answers.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Waiting {
    ends: Ends,
    query: Text,
    spans: (Span, Span),
}

/// A query that has its answer.
pub struct Answered {
    /// Who asked, and whom.
    pub ends: Ends,
    /// From the first time it was asked, in nanoseconds.
    pub latency_ns: u64,
}

/// Calls `take` with the name that was asked for, in lower case, and the addresses that an answer gives
/// it, with their times to live in seconds; aliases are followed.
pub fn addresses_told<T>(
    answer: &Message<'_>,
    take: impl FnOnce(&str, &mut dyn Iterator<Item = (IpAddr, u32)>) -> T,
) -> Option<T> {
    if answer.rcode() != Rcode::NOERROR {
        return None;
    }
    let chain = Chain::of(answer)?;
    let mut room = [0; Name::TEXT_MAX];
    let name = answer.question()?.name().to_lower(&mut room)?;
    let mut addresses = chain.addresses().map(|answer| (answer.address, answer.ttl));
    Some(take(name, &mut addresses))
}

/// DNS over a stream (RFC 7766).
pub(super) struct Stream {
    connection: Connection,
    lookups: Lookups<()>,
}

/// A stream as it goes to another process.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct SavedStream {
    connection: Connection,
    waiting: Vec<Unanswered<(), Waiting>>,
}

/// Queries of one stream without an answer.
const STREAM_QUERIES: usize = 64;

impl<K: Copy + Eq + Hash> Lookups<K> {
    /// Nothing asked yet; messages come over `l4`.
    pub fn new(limits: PairingLimits, l4: L4) -> Self {
        Self {
            pairing: Pairing::new(limits),
            spare: Vec::new(),
            l4,
        }
    }

    /// Takes a message between these ends that nobody holds up; `key` tells flows apart.
    pub fn handle(&mut self, recorder: &Recorder, key: K, ends: &Ends, message: &Message<'_>) {
        if message.header().is_response() {
            let answered = self.answer(recorder, key, message);
            if let (Some(answered), Some(names)) = (&answered, &recorder.names) {
                let client = answered.ends.client.addr.ip();
                let now = recorder.clock.monotonic();
                let _not_held_up = addresses_told(message, |name, answers| {
                    names.learn(client, (name, false), answers, now)
                });
            }
            self.tell_answer(recorder, ends, message, answered);
        } else {
            let verdict = self.verdict(recorder, ends, message);
            self.ask(recorder, key, ends, message, &verdict);
        }
    }

    /// What a policy would have said of a query.
    pub fn verdict(
        &self,
        recorder: &Recorder,
        ends: &Ends,
        message: &Message<'_>,
    ) -> RequestVerdict {
        let judged = recorder
            .verdicts
            .as_ref()
            .and_then(|verdicts| verdicts.of_query(ends, self.l4, message));
        judged.unwrap_or_else(RequestVerdict::unjudged)
    }

    /// Tells of a query, and waits for its answer if it was let through.
    pub fn ask(
        &mut self,
        recorder: &Recorder,
        key: K,
        ends: &Ends,
        message: &Message<'_>,
        verdict: &RequestVerdict,
    ) {
        self.show(recorder, ends, Way::ToServer, message);
        let repeats = if verdict.verdict == Verdict::Dropped {
            0
        } else {
            self.wait(recorder, key, ends, message)
        };
        let l4 = self.l4;
        recorder.tell_judged(ends, verdict, |record| {
            record.l4 = l4;
            let (query, query_types) = write_question(&mut record.text, message);
            let mark = record.text.mark();
            if repeats > 0 {
                record.text.push(b"asked again");
            } else {
                record.text.push(verdict.detail.as_bytes());
            }
            let detail = record.text.since(mark);
            record.event = record::Event::Dns(Dns {
                query,
                query_types,
                detail,
                ttl: u32::MAX,
                outcome: verdict.outcome,
                ..Dns::default()
            });
        });
    }

    /// How often it was asked before.
    fn wait(&mut self, recorder: &Recorder, key: K, ends: &Ends, message: &Message<'_>) -> u32 {
        let now = recorder.clock.monotonic();
        let mut query = self.spare.pop().unwrap_or_default();
        query.clear();
        let spans = write_question(&mut query, message);
        let waiting = Waiting {
            ends: ends.clone(),
            query,
            spans,
        };
        match self.pairing.handle_query(key, message, now.0, waiting) {
            Query::Repeated(repeats) => repeats,
            Query::New { evicted } => {
                if let Some(evicted) = evicted {
                    tell_unanswered(recorder, self.l4, &evicted, now);
                }
                0
            }
        }
    }

    /// Finds the query that a message answers; none where nobody asked that.
    pub fn answer(
        &mut self,
        recorder: &Recorder,
        key: K,
        message: &Message<'_>,
    ) -> Option<Answered> {
        let now = recorder.clock.monotonic();
        let matched = self.pairing.handle_response(key, message, now.0)?;
        let ends = matched.query.value.ends.clone();
        self.recycle(matched.query.value);
        Some(Answered {
            ends,
            latency_ns: matched.latency_ns,
        })
    }

    /// Tells of an answer.
    pub fn tell_answer(
        &mut self,
        recorder: &Recorder,
        ends: &Ends,
        message: &Message<'_>,
        answered: Option<Answered>,
    ) {
        self.show(recorder, ends, Way::ToClient, message);
        let latency_ns = answered.map_or(0, |answered| answered.latency_ns);
        let l4 = self.l4;
        recorder.tell_answered(ends, Verdict::Forwarded, |record| {
            record.l4 = l4;
            let answer = write_answer(&mut record.text, message);
            record.event = record::Event::Dns(Dns {
                latency_ns,
                ..answer
            });
        });
    }

    /// Tells of what was sent as a query and cannot be read.
    pub fn tell_garbage(&self, recorder: &Recorder, ends: &Ends, verdict: &RequestVerdict) {
        if verdict.verdict == Verdict::Forwarded {
            // The kernel's records tell of it, as of all datagrams.
            return;
        }
        recorder.tell_judged(ends, verdict, |record| {
            record.l4 = self.l4;
            let detail = record.text.push(verdict.detail.as_bytes());
            record.event = record::Event::Dns(Dns {
                detail,
                outcome: verdict.outcome,
                ttl: u32::MAX,
                ..Dns::default()
            });
        });
    }

    fn show(&self, recorder: &Recorder, ends: &Ends, way: Way, message: &Message<'_>) {
        if let Some(messages) = &recorder.messages {
            let is_datagram = self.l4 == L4::Udp;
            let message = Shown::Dns {
                message,
                is_datagram,
            };
            messages.message(ends, way, &message);
        }
    }

    fn recycle(&mut self, answered: Waiting) {
        const SPARE_MAX: usize = 64;
        if self.spare.len() < SPARE_MAX {
            self.spare.push(answered.query);
        }
    }

    /// Takes out what waits, oldest first, for another process.
    pub fn save(&mut self) -> Vec<Unanswered<K, Waiting>> {
        std::iter::from_fn(|| self.pairing.take()).collect()
    }

    /// Takes over what waited in another process, oldest first.
    pub fn restore(&mut self, waiting: Vec<Unanswered<K, Waiting>>) {
        for query in waiting {
            self.pairing.put_back(query);
        }
    }

    /// Tells of queries that have waited too long by now.
    pub fn expire(&mut self, recorder: &Recorder) {
        let now = recorder.clock.monotonic();
        while let Some(query) = self.pairing.expire(now.0) {
            tell_unanswered(recorder, self.l4, &query, now);
        }
    }

    /// Tells of all queries that wait: no answers come any more, for which the network has a reason or
    /// none.
    pub fn end(&mut self, recorder: &Recorder, seen: Network) {
        let now = recorder.clock.monotonic();
        while let Some(mut query) = self.pairing.take() {
            query.value.ends.set_network(seen);
            tell_unanswered(recorder, self.l4, &query, now);
        }
    }
}

fn tell_unanswered<K>(
    recorder: &Recorder,
    l4: L4,
    unanswered: &Unanswered<K, Waiting>,
    now: Monotonic,
) {
    let Waiting { ends, query, spans } = &unanswered.value;
    recorder.tell_answered(ends, Verdict::Error, |record: &mut Record| {
        record.l4 = l4;
        let name = record.text.push(query.slice(spans.0));
        let query_types = record.text.push(query.slice(spans.1));
        let detail = record.text.push(b"no answer");
        record.event = record::Event::Dns(Dns {
            is_response: true,
            query: name,
            query_types,
            ttl: u32::MAX,
            latency_ns: now.0.saturating_sub(unanswered.first_ns),
            detail,
            outcome: Outcome::NoResponse,
            ..Dns::default()
        });
    });
}

/// Name and types asked for.
fn write_question(text: &mut Text, message: &Message<'_>) -> (Span, Span) {
    let mut room = [0; Name::TEXT_MAX];
    let name = message.question().map(|question| question.name());
    let query = match name.as_ref().and_then(|name| name.to_lower(&mut room)) {
        Some(name) => text.push(name.as_bytes()),
        None => Span::default(),
    };
    let mark = text.mark();
    for question in message.questions() {
        push_line(text, &question.kind());
    }
    (query, text.since(mark))
}

fn write_answer(text: &mut Text, message: &Message<'_>) -> Dns {
    let (query, query_types) = write_question(text, message);
    let answers = || message.records(Section::Answer);
    let list = |text: &mut Text, write: &dyn Fn(&mut Text)| {
        let mark = text.mark();
        write(text);
        text.since(mark)
    };
    let addresses = list(text, &|text| {
        for address in answers().filter_map(|record| record.address()) {
            push_line(text, &address);
        }
    });
    let is_name = |kind| kind == RecordType::CNAME;
    let canonical_names = list(text, &|text| {
        for record in answers().filter(|record| is_name(record.kind())) {
            if let Some(target) = record.target() {
                push_line(text, &target);
            }
        }
    });
    let record_types = list(text, &|text| {
        for record in answers() {
            push_line(text, &record.kind());
        }
    });
    let counted = answers().filter(|record| record.address().is_some() || is_name(record.kind()));
    Dns {
        is_response: true,
        query,
        query_types,
        rcode: message.rcode().0,
        addresses,
        canonical_names,
        record_types,
        ttl: counted.map(|record| record.ttl()).min().unwrap_or(u32::MAX),
        ..Dns::default()
    }
}

fn push_line(text: &mut Text, value: &dyn std::fmt::Display) {
    // Writing to memory does not fail.
    let _infallible = writeln!(text, "{value}");
}

impl Stream {
    pub(super) fn new() -> Self {
        let limits = PairingLimits {
            queries: STREAM_QUERIES,
            ..PairingLimits::default()
        };
        Self {
            connection: Connection::new(Message::BYTES_MAX),
            lookups: Lookups::new(limits, L4::Tcp { flags: 0 }),
        }
    }

    pub(super) fn save(mut self) -> SavedStream {
        SavedStream {
            connection: self.connection,
            waiting: self.lookups.save(),
        }
    }

    pub(super) fn restore(saved: SavedStream) -> Self {
        let mut stream = Self::new();
        stream.connection = saved.connection;
        stream.lookups.restore(saved.waiting);
        stream
    }

    pub(super) fn handle_gap(&mut self, way: Way, missing: u64) {
        // Whether the next message is looked for is the parser's business.
        let _is_lost = self.connection.handle_gap(way, missing);
    }

    pub(super) fn end(&mut self, recorder: &Recorder, seen: Network) {
        self.lookups.end(recorder, seen);
    }
}

impl Session {
    /// Reads as many messages as there are and gives back the bytes that are left.
    pub(super) fn read_dns<'b>(&mut self, way: Way, mut bytes: &'b [u8]) -> &'b [u8] {
        let Some(dns) = &mut self.dns else {
            return bytes;
        };
        loop {
            match dns.connection.step(way, bytes) {
                Ok(Step::NeedMore) => return bytes,
                Ok(Step::Event { consumed, event }) => {
                    if let Event::Message(message) = event {
                        dns.lookups.handle(&self.recorder, (), &self.ends, &message);
                    }
                    bytes = bytes.get(consumed..).unwrap_or_default();
                }
                Err(error) => {
                    tracing::debug!(rule = error.rule, ?way, "no longer followed");
                    self.unread.get_or_insert(error.rule);
                    return &[];
                }
            }
        }
    }
}
