//! One connection's L7 view: bytes of both directions in, records out.
//!
//! The watching relay, the enforcing relay, and later the tap and replay all use it. The bytes stay
//! the caller's: a session copies only the part of a head that came without its end.

mod redaction;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use parsers::http1::{Connection, Event, Reading, RequestHead, ResponseHead, Step};
use parsers::{Direction as Way, Limits, detect};

pub use redaction::Redaction;

use crate::clock::{Monotonic, Timestamp};
use crate::exchange::Exchange;
use crate::record::{
    self, Direction, EndpointId, L4, Outcome, Party, PolicyRef, Record, Sink, Verdict,
};

/// What the sessions of one worker share: the way out of records, and memory that is used again.
pub struct Recorder {
    sink: Arc<dyn Sink>,
    redaction: Redaction,
    scratch: RefCell<Record>,
    spare: RefCell<Vec<Exchange>>,
}

/// Who is at both ends of a connection, and whose policy it is seen under.
#[derive(Debug, Clone)]
pub struct Ends {
    /// Who opened it.
    pub client: Party,
    /// Who was asked.
    pub server: Party,
    /// From the view of the endpoint whose policy or visibility applies.
    pub direction: Direction,
}

impl Ends {
    /// The endpoint of this node that the connection is counted for.
    pub fn judged(&self) -> EndpointId {
        let id = |party: &Party| party.endpoint.as_ref().map_or(EndpointId(0), |e| e.id);
        match self.direction {
            Direction::Egress => id(&self.client),
            Direction::Ingress | Direction::Unknown => id(&self.server),
        }
    }
}

/// One connection.
pub struct Session {
    recorder: Rc<Recorder>,
    ends: Ends,
    http: Connection,
    state: State,
    /// Unfinished heads, to the server and to the client.
    carry: [Vec<u8>; 2],
    exchanges: VecDeque<Exchange>,
    opened: Monotonic,
    bytes: [u64; 2],
    is_finished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has told yet what it speaks.
    Detecting,
    Http1,
    /// Bytes are counted, for the reason given.
    Opaque(&'static str),
}

impl Recorder {
    /// Records go to `sink`, redacted.
    pub fn new(sink: Arc<dyn Sink>, redaction: Redaction) -> Self {
        let nobody = || Party::unnamed(([0, 0, 0, 0], 0).into(), record::IdentityNumber::UNKNOWN);
        let event = record::Event::Drop {
            reason: record::DropReason(0),
        };
        let scratch = Record::new(Timestamp::default(), nobody(), nobody(), event);
        Self {
            sink,
            redaction,
            scratch: RefCell::new(scratch),
            spare: RefCell::new(Vec::new()),
        }
    }

    fn exchange(&self) -> Exchange {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps an exchange's memory for the next one; a few per worker are enough.
    fn recycle(&self, exchange: Exchange) {
        const SPARE_MAX: usize = 64;
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX && exchange.memory() < 16 << 10 {
            spare.push(exchange);
        }
    }
}

/// Most blank bytes that a client may send before a request.
const BLANK_MAX: usize = 1024;

const HTTP_UPGRADE: &str = "upgrade to http/2";
const TLS_UPGRADE: &str = "upgrade to tls";
const UNNAMED_UPGRADE: &str = "upgrade without a name";
const HIDING: [&str; 3] = [HTTP_UPGRADE, TLS_UPGRADE, UNNAMED_UPGRADE];

/// What a connection becomes after a response that ends its HTTP.
fn switched_to(head: &ResponseHead<'_>) -> &'static str {
    if head.code() != 101 {
        return "connect";
    }
    let fields = head
        .headers()
        .filter(|header| header.name.eq_ignore_ascii_case(b"upgrade"));
    let mut note = UNNAMED_UPGRADE;
    for protocol in fields.flat_map(|header| header.value.split(|byte| *byte == b',')) {
        let protocol = protocol.trim_ascii().to_ascii_lowercase();
        if protocol.starts_with(b"h2") || protocol.starts_with(b"http/") {
            return HTTP_UPGRADE;
        }
        if protocol.starts_with(b"tls") {
            return TLS_UPGRADE;
        }
        if !protocol.is_empty() {
            note = "upgrade";
        }
    }
    note
}

fn index(way: Way) -> usize {
    match way {
        Way::ToServer => 0,
        Way::ToClient => 1,
    }
}

impl Session {
    /// A connection that was just opened.
    pub fn new(recorder: Rc<Recorder>, ends: Ends, limits: Limits, reading: Reading) -> Self {
        let state = match reading {
            Reading::Strict => State::Http1,
            Reading::Lenient => State::Detecting,
        };
        Self {
            recorder,
            ends,
            http: Connection::new(limits, reading),
            state,
            carry: [Vec::new(), Vec::new()],
            exchanges: VecDeque::new(),
            opened: Monotonic::now(),
            bytes: [0, 0],
            is_finished: false,
        }
    }

    /// The parser, for who forwards by its events.
    pub fn http(&mut self) -> &mut Connection {
        &mut self.http
    }

    /// Whether bytes are only counted from now on.
    pub fn is_opaque(&self) -> bool {
        matches!(self.state, State::Opaque(_))
    }

    /// Whether the connection was upgraded to something that carries requests again, in a form that
    /// is not read here: HTTP/2, TLS, or what the server did not name.
    pub fn hides_requests(&self) -> bool {
        matches!(self.state, State::Opaque(note) if HIDING.contains(&note))
    }

    /// Bytes of the present body that need not be looked at.
    pub fn unseen_body(&self, way: Way) -> u64 {
        if self.state == State::Http1 {
            self.http.body_left(way).unwrap_or(0)
        } else {
            0
        }
    }

    /// Notes bytes of the present body that were moved without being looked at.
    pub fn skip(&mut self, way: Way, bytes: u64) {
        self.http.skip_body(way, bytes);
        self.count(way, usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// Counts bytes that have gone on.
    pub fn count(&mut self, way: Way, bytes: usize) {
        if let Some(total) = self.bytes.get_mut(index(way)) {
            *total = total.saturating_add(bytes as u64);
        }
    }

    /// Looks at bytes that have gone on. Whatever they are, nothing comes back.
    pub fn observe(&mut self, way: Way, bytes: &[u8]) {
        self.count(way, bytes.len());
        if self.is_opaque() {
            return;
        }
        let Some(carry) = self.carry.get_mut(index(way)).map(std::mem::take) else {
            return;
        };
        if carry.is_empty() {
            let rest = self.read(way, bytes);
            self.keep(way, rest.to_vec());
        } else {
            let mut whole = carry;
            whole.extend_from_slice(bytes);
            let rest = self.read(way, &whole).len();
            whole.drain(..whole.len() - rest);
            self.keep(way, whole);
        }
    }

    fn keep(&mut self, way: Way, rest: Vec<u8>) {
        if let Some(carry) = self.carry.get_mut(index(way)) {
            // An idle connection holds no memory.
            *carry = if rest.is_empty() { Vec::new() } else { rest };
        }
    }

    /// Reads as many events as there are and gives back the bytes that are left.
    fn read<'b>(&mut self, way: Way, mut bytes: &'b [u8]) -> &'b [u8] {
        if self.state == State::Detecting {
            // Blank lines before a request are no protocol, however many come.
            let blank = bytes
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'));
            let detected = match blank.take(BLANK_MAX + 1).count() {
                0..=BLANK_MAX => detect::detect(way, bytes),
                _ => Some(detect::Protocol::Unknown),
            };
            match detected {
                None => return bytes,
                Some(detect::Protocol::Http1) => self.state = State::Http1,
                Some(detect::Protocol::Http2) => self.state = State::Opaque("http/2"),
                Some(detect::Protocol::Tls) => self.state = State::Opaque("tls"),
                Some(detect::Protocol::Unknown) => self.state = State::Opaque("not http"),
            }
        }
        while !self.is_opaque() {
            match self.http.step(way, bytes) {
                Ok(Step::NeedMore) => return bytes,
                Ok(Step::Event { consumed, event }) => {
                    self.note(&event);
                    bytes = bytes.get(consumed..).unwrap_or_default();
                }
                Err(error) => {
                    tracing::debug!(rule = error.rule, "no longer followed");
                    self.give_up(error.rule);
                }
            }
        }
        &[]
    }

    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Request(head) => {
                self.begin(head);
                self.tell_request(
                    Verdict::Forwarded,
                    Outcome::Passed,
                    "",
                    &record::no_policies(),
                );
            }
            Event::Response(head) => self.handle_response(head),
            Event::Body { .. } | Event::Opaque => {}
        }
    }

    /// Stops following: what has no answer yet is told so.
    pub fn give_up(&mut self, why: &'static str) {
        self.state = State::Opaque(why);
        self.carry = [Vec::new(), Vec::new()];
    }

    /// Opens the exchange of a request.
    pub fn begin(&mut self, head: &RequestHead<'_>) {
        let mut exchange = self.recorder.exchange();
        exchange.open(head, &self.ends.server, &self.recorder.redaction);
        self.exchanges.push_back(exchange);
    }

    /// Opens the exchange of a request that could not be read.
    pub fn begin_unreadable(&mut self) {
        let mut exchange = self.recorder.exchange();
        exchange.open_unreadable(&self.ends.server);
        self.exchanges.push_back(exchange);
    }

    /// Records the request that was opened last.
    pub fn tell_request(
        &mut self,
        verdict: Verdict,
        outcome: Outcome,
        detail: &str,
        policies: &Arc<[PolicyRef]>,
    ) {
        let Some(exchange) = self.exchanges.back_mut() else {
            return;
        };
        let record = &mut *self.recorder.scratch.borrow_mut();
        prepare(record, &self.ends, verdict, policies);
        record.source = self.ends.client.clone();
        record.destination = self.ends.server.clone();
        record.reply = Some(false);
        exchange.write_request(record, outcome, detail);
        self.recorder.sink.record(record);
    }

    /// Pairs a response with the oldest request and records it.
    pub fn handle_response(&mut self, head: &ResponseHead<'_>) {
        if head.is_interim() {
            return;
        }
        self.tell_response(head.code(), Outcome::Passed, Some(head));
        if head.is_switching() {
            self.state = State::Opaque(switched_to(head));
        }
    }

    /// Records the answer to the oldest request: one that came, one that was made here (a
    /// refusal), or none (code 0).
    pub fn tell_response(&mut self, code: u16, outcome: Outcome, head: Option<&ResponseHead<'_>>) {
        // A response that nobody asked for (a server's 408 on an idle connection) has no request
        // to name.
        let Some(mut exchange) = self.exchanges.pop_front() else {
            return;
        };
        let verdict = match outcome {
            Outcome::Passed
            | Outcome::PolicyDenied
            | Outcome::ParseError
            | Outcome::Limit
            | Outcome::NotImplemented => Verdict::Forwarded,
            Outcome::UpstreamRefused | Outcome::UpstreamReset | Outcome::NoResponse => {
                Verdict::Error
            }
        };
        {
            let record = &mut *self.recorder.scratch.borrow_mut();
            prepare(record, &self.ends, verdict, &record::no_policies());
            record.source = self.ends.server.clone();
            record.destination = self.ends.client.clone();
            record.reply = Some(true);
            exchange.write_response(record, code, outcome, head, &self.recorder.redaction);
            self.recorder.sink.record(record);
        }
        self.recorder.recycle(exchange);
    }

    /// The connection has ended: every request without an answer is told, and so is what was not
    /// HTTP, and a response that broke off. The first call counts.
    pub fn finish(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        let unanswered = match outcome {
            Outcome::Passed | Outcome::NotImplemented => Outcome::NoResponse,
            other => other,
        };
        let is_broken_off =
            self.exchanges.is_empty() && !self.http.is_between_messages(Way::ToClient);
        while !self.exchanges.is_empty() {
            self.tell_response(0, unanswered, None);
        }
        let note = match (self.state, outcome) {
            (State::Opaque(note), _) => note,
            (_, Outcome::UpstreamRefused) => "upstream refused",
            (_, Outcome::UpstreamReset) if is_broken_off => "upstream reset",
            _ => return,
        };
        self.tell_opaque(note, outcome);
    }

    fn tell_opaque(&self, note: &str, outcome: Outcome) {
        let record = &mut *self.recorder.scratch.borrow_mut();
        let verdict = match outcome {
            Outcome::UpstreamRefused | Outcome::UpstreamReset => Verdict::Error,
            Outcome::NotImplemented => Verdict::Dropped,
            _ => Verdict::Forwarded,
        };
        prepare(record, &self.ends, verdict, &record::no_policies());
        record.source = self.ends.client.clone();
        record.destination = self.ends.server.clone();
        record.reply = Some(false);
        let note = record.text.push(note.as_bytes());
        let [sent, received] = self.bytes;
        let duration_ns = Monotonic::now().nanos_since(self.opened);
        record.event = record::Event::Opaque {
            note,
            sent,
            received,
            duration_ns,
        };
        self.recorder.sink.record(record);
    }
}

fn prepare(record: &mut Record, ends: &Ends, verdict: Verdict, policies: &Arc<[PolicyRef]>) {
    record.time = Timestamp::now();
    record.direction = ends.direction;
    record.verdict = verdict;
    record.l4 = L4::Tcp { flags: 0 };
    record.policies = Arc::clone(policies);
    record.interface = 0;
    record.connection = 0;
    record.text.clear();
}

impl Drop for Session {
    /// One request, one answer: also when the connection's task is dropped.
    fn drop(&mut self) {
        self.finish(Outcome::Passed);
    }
}

#[cfg(test)]
mod tests;
