//! One connection's L7 view: bytes of both directions in, records out.
//!
//! ```text
//!   bytes, gaps ─▶ Session ─▶ detect ─▶ http1 | http2 (grpc) | dns | opaque
//!                               ▲          │
//!     behind connect, socks ────┘          │
//!                              Exchange ◀──┴──▶ Messages (if anybody wants them)
//!                                 │
//!                              Recorder ─▶ Sink
//! ```
//!
//! The watching relay, the enforcing relay and replay all use it. The bytes stay the caller's: a
//! session copies only the part of a message that came without its end.

mod detect;
mod dns;
mod ends;
mod finish;
mod grpc;
pub(crate) mod http1;
pub(crate) mod http2;
mod messages;
mod recorder;
mod redaction;
mod saved;
mod socks;
mod verdicts;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use parsers::http1::{Connection, Reading};
use parsers::socks::Handshake;
use parsers::{Direction as Way, Limits};

pub use dns::{Answered, Lookups, Waiting, addresses_told};
pub use ends::Ends;
pub use messages::{Http2Kind, Message, Messages};
pub use recorder::Recorder;
pub use redaction::Redaction;
pub use saved::SavedSession;
pub use verdicts::{RequestVerdict, Verdicts};

use crate::clock::Monotonic;
use crate::exchange::Exchange;
use crate::record::{Encapsulation, Network, Outcome, TcpEvent};
use http2::Http2;

/// How often TCP is asked how it fares, at most.
const NETWORK_NS: u64 = 1_000_000_000;

/// One connection.
pub struct Session {
    recorder: Rc<Recorder>,
    ends: Ends,
    http: Connection,
    http2: Option<Box<Http2>>,
    dns: Option<Box<dns::Stream>>,
    /// A request that may begin HTTP/2.
    upgrade: Option<Box<Upgrade>>,
    state: State,
    /// Bytes are judged elsewhere before they get here: nothing is tried out on them.
    is_strict: bool,
    seen: Seen,
    roles: Roles,
    /// Heads that were begun and could not be read.
    broken_heads: u32,
    /// Why bytes of one side are no longer read; what the other says may still be.
    unread: Option<&'static str>,
    /// Unfinished messages, to the server and to the client.
    carry: [Vec<u8>; 2],
    exchanges: VecDeque<Exchange>,
    opened: Monotonic,
    bytes: [u64; 2],
    /// Of what is not followed.
    whole: Option<Box<Whole>>,
    is_finished: bool,
    /// When TCP was asked how it fares.
    asked_tcp: Monotonic,
}

/// What is known of a connection as a whole.
#[derive(Default)]
struct Whole {
    /// Whom the client asks for.
    server: Option<Box<str>>,
    /// What policy said of it.
    judged: Option<RequestVerdict>,
}

/// What HTTP/2 would begin with after an upgrade (RFC 7540 §3.2).
#[derive(serde::Serialize, serde::Deserialize)]
struct Upgrade {
    settings: Box<[u8]>,
    is_head: bool,
}

/// How much was seen of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Seen {
    Whole,
    /// The capture began late, or has a gap.
    Late,
    /// Something that the server said is missing: whether a request had an answer is not known.
    WithoutAnswers,
}

/// Who is the client of what a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Roles {
    /// Who opened it.
    AsOpened,
    /// Who was asked: the proxy of a tunnel had opened it.
    Turned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Judged elsewhere, and what the client speaks is not known yet: a server of HTTP/2 may speak
    /// before it is.
    Unbegun,
    /// Nothing has told yet what it speaks; the note is what stands there if nothing does.
    Detecting(&'static str),
    Http1,
    Http2,
    Dns,
    /// A handshake, then a tunnel.
    Socks(Handshake),
    /// The client's first message tells whom it asks for; it may have been read.
    Tls {
        is_told: bool,
    },
    /// Bytes are counted, for the reason given.
    Opaque(&'static str),
}

fn index(way: Way) -> usize {
    match way {
        Way::ToServer => 0,
        Way::ToClient => 1,
    }
}

fn opposite(way: Way) -> Way {
    match way {
        Way::ToServer => Way::ToClient,
        Way::ToClient => Way::ToServer,
    }
}

impl Session {
    /// A connection that was just opened.
    pub fn new(recorder: Rc<Recorder>, ends: Ends, limits: Limits, reading: Reading) -> Self {
        let is_strict = reading == Reading::Strict;
        let opened = recorder.clock.monotonic();
        let asked_tcp = if ends.network() == Network::default() {
            Monotonic::default()
        } else {
            opened
        };
        let state = if is_strict {
            State::Unbegun
        } else if recorder.redaction.reads_watched() {
            State::Detecting("not http")
        } else {
            State::Opaque("memory is short")
        };
        Self {
            recorder,
            ends,
            http: Connection::new(limits, reading),
            http2: None,
            dns: None,
            upgrade: None,
            state,
            is_strict,
            seen: Seen::Whole,
            roles: Roles::AsOpened,
            broken_heads: 0,
            unread: None,
            carry: [Vec::new(), Vec::new()],
            exchanges: VecDeque::new(),
            opened,
            bytes: [0, 0],
            whole: None,
            is_finished: false,
            asked_tcp,
        }
    }

    /// A connection that was open before anybody looked.
    pub fn mid_stream(recorder: Rc<Recorder>, ends: Ends, limits: Limits) -> Self {
        let mut session = Self::new(recorder, ends, limits, Reading::Lenient);
        session.come_late();
        session
    }

    /// Notes what packets that go `way` come packed in.
    pub fn note_encapsulation(&mut self, way: Way, encapsulation: Option<&Arc<Encapsulation>>) {
        self.ends
            .note_encapsulation(self.turned(way), encapsulation);
    }

    /// Which way bytes go in what the connection carries, and back.
    fn turned(&self, way: Way) -> Way {
        match self.roles {
            Roles::AsOpened => way,
            Roles::Turned => opposite(way),
        }
    }

    /// Whether it is time to ask TCP how it fares: never more than once a second. Says so once.
    pub fn wants_network(&mut self) -> bool {
        let now = self.recorder.clock.recent();
        let is_time = now.nanos_since(self.asked_tcp) >= NETWORK_NS;
        if is_time {
            self.asked_tcp = now;
        }
        is_time
    }

    /// Whether anything of what TCP measures is known.
    pub fn has_network(&self) -> bool {
        let Network {
            client_rtt_us,
            server_rtt_us,
            ..
        } = self.ends.network();
        client_rtt_us != 0 || server_rtt_us != 0
    }

    /// Notes what TCP has measured on both sides.
    pub fn note_network(&mut self, seen: Network) {
        let event = self.ends.network().event;
        let seen = match self.roles {
            Roles::AsOpened => seen,
            Roles::Turned => seen.turned(),
        };
        self.ends.set_network(Network { event, ..seen });
    }

    /// Notes how TCP ended.
    pub fn note_tcp(&mut self, event: TcpEvent) {
        let seen = Network {
            event: Some(event),
            ..Network::default()
        };
        let seen = match self.roles {
            Roles::AsOpened => seen,
            Roles::Turned => seen.turned(),
        };
        if let Some(event) = seen.event {
            let mut network = self.ends.network();
            network.note(event);
            self.ends.set_network(network);
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
        matches!(self.state, State::Opaque(note) if http1::HIDING.contains(&note))
    }

    /// Bytes of the present body that need not be looked at.
    pub fn unseen_body(&self, way: Way) -> u64 {
        if self.state == State::Http1 {
            self.http.body_left(self.turned(way)).unwrap_or(0)
        } else {
            0
        }
    }

    /// Notes bytes of the present body that were moved without being looked at.
    pub fn skip(&mut self, way: Way, bytes: u64) {
        self.http.skip_body(self.turned(way), bytes);
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
        self.look_for_greeting(way, bytes);
        let (mut way, mut before) = (way, self.state);
        self.read_on(way, bytes);
        // What the other side had said may be read now.
        while before != self.state && matches!(before, State::Detecting(_) | State::Socks(_)) {
            (way, before) = (opposite(way), self.state);
            self.read_on(way, &[]);
        }
    }

    /// Reads what was kept together with what came.
    fn read_on(&mut self, way: Way, bytes: &[u8]) {
        let Some(carry) = self.carry.get_mut(index(way)).map(std::mem::take) else {
            return;
        };
        if carry.is_empty() {
            let rest = self.read(self.turned(way), bytes);
            self.keep(way, rest.to_vec());
        } else {
            let mut whole = carry;
            whole.extend_from_slice(bytes);
            let rest = self.read(self.turned(way), &whole).len();
            whole.drain(..whole.len() - rest);
            self.keep(way, whole);
        }
    }

    /// Bytes of that direction were not captured.
    pub fn observe_gap(&mut self, way: Way, missing: u64) {
        let kept = self.carry.get_mut(index(way)).map(std::mem::take);
        let way = self.turned(way);
        self.come_late();
        self.note_missing(way);
        match self.state {
            State::Http1 => {
                // What was kept is part of a head, whose rest is missing.
                let has_lost_head = kept.is_some_and(|kept| !kept.is_empty());
                if has_lost_head {
                    self.http.lose(way, None);
                } else {
                    self.http.handle_gap(way, missing);
                }
            }
            State::Http2 => {
                self.handle_http2_gap(way, missing);
            }
            State::Dns => {
                if let Some(dns) = &mut self.dns {
                    dns.handle_gap(way, missing);
                }
            }
            State::Socks(_) => self.detect_again("socks"),
            State::Tls { .. } => self.state = State::Opaque("tls"),
            State::Unbegun | State::Detecting(_) | State::Opaque(_) => {}
        }
    }

    fn is_late(&self) -> bool {
        self.seen != Seen::Whole
    }

    fn come_late(&mut self) {
        if self.seen == Seen::Whole {
            self.seen = Seen::Late;
        }
    }

    fn note_missing(&mut self, way: Way) {
        if way == Way::ToClient {
            self.seen = Seen::WithoutAnswers;
        }
    }

    /// Bytes of that direction were left out on purpose, as those of a body. `false` if they are not
    /// known to be of one: then they are a gap.
    pub fn observe_skip(&mut self, way: Way, bytes: u64) -> bool {
        self.count(way, usize::try_from(bytes).unwrap_or(usize::MAX));
        let kept = self.carry.get(index(way));
        let is_between = kept.is_none_or(Vec::is_empty);
        let turned = self.turned(way);
        let is_of_body = match self.state {
            State::Http1 => is_between && self.http.leave_out(turned, bytes),
            State::Http2 if is_between => {
                let is_of_body = self.handle_http2_gap(turned, bytes);
                if !is_of_body {
                    self.come_late();
                    self.note_missing(turned);
                }
                return is_of_body;
            }
            State::Opaque(_) => true,
            State::Unbegun
            | State::Detecting(_)
            | State::Http2
            | State::Dns
            | State::Socks(_)
            | State::Tls { .. } => false,
        };
        if !is_of_body {
            self.observe_gap(way, bytes);
        }
        is_of_body
    }

    /// The client speaks HTTP/1: for who judges its bytes.
    pub fn begin_http1(&mut self) {
        self.state = State::Http1;
        self.read_on(Way::ToClient, &[]);
    }

    fn keep(&mut self, way: Way, rest: Vec<u8>) {
        if let Some(carry) = self.carry.get_mut(index(way)) {
            // An idle connection holds no memory.
            *carry = if rest.is_empty() { Vec::new() } else { rest };
        }
    }

    /// Reads as many events as there are and gives back the bytes that are left.
    fn read<'b>(&mut self, way: Way, mut bytes: &'b [u8]) -> &'b [u8] {
        loop {
            let state = self.state;
            bytes = match state {
                State::Unbegun if bytes.len() <= self.http.limits().head_bytes => return bytes,
                State::Unbegun => {
                    self.give_up("the server spoke first");
                    return &[];
                }
                State::Detecting(_) if self.unread.is_some() && way == Way::ToServer => {
                    return &[];
                }
                State::Detecting(_) => {
                    let roles = self.roles;
                    if !self.detect(way, bytes) || self.roles != roles {
                        return bytes;
                    }
                    if self.state == state {
                        return &[];
                    }
                    bytes
                }
                State::Http1 if self.is_hopeless() => {
                    self.give_up(self.unread.unwrap_or("not http"));
                    return &[];
                }
                State::Http1 => self.read_http1(way, bytes),
                State::Http2 => self.read_http2(way, bytes),
                State::Dns => self.read_dns(way, bytes),
                State::Socks(handshake) => self.read_socks(handshake, way, bytes),
                State::Tls { .. } => {
                    self.read_hello(way, bytes);
                    if self.is_enough_of_tls(way, bytes) {
                        return &[];
                    }
                    bytes
                }
                State::Opaque(_) => return &[],
            };
            if self.state == state {
                return bytes;
            }
        }
    }

    fn show(&self, way: Way, message: &Message<'_>) {
        if let Some(messages) = &self.recorder.messages {
            messages.message(&self.ends, way, message);
        }
    }

    /// The connection as a whole was judged, by whom it asks for. What becomes of it is told at its
    /// end.
    pub fn note_verdict(&mut self, judged: RequestVerdict) {
        self.whole.get_or_insert_default().judged = Some(judged);
    }

    /// Stops following: what has no answer yet is told so.
    pub fn give_up(&mut self, why: &'static str) {
        self.state = State::Opaque(why);
        self.carry = [Vec::new(), Vec::new()];
    }
}

impl Drop for Session {
    /// One request, one answer: also when the connection's task is dropped.
    fn drop(&mut self) {
        self.finish(Outcome::Passed);
    }
}

#[cfg(test)]
mod tests;
