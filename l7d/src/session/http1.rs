//! HTTP/1 messages → exchanges.

use parsers::Direction as Way;
use parsers::http1::{Event, RequestHead, ResponseHead, Step};

use super::http2::Http2;
use super::messages::Message;
use super::{RequestVerdict, Session, State, Upgrade};
use crate::exchange::{Answered, Asked, Exchange};
use crate::record::{HttpKind, Outcome, Verdict};

/// Only where the request offered no settings, which HTTP/2 would begin with.
const HTTP_UPGRADE: &str = "upgrade to http/2";
const TLS_UPGRADE: &str = "upgrade to tls";
const UNNAMED_UPGRADE: &str = "upgrade without a name";
/// Upgrades to what carries requests again.
pub(super) const HIDING: [&str; 3] = [HTTP_UPGRADE, TLS_UPGRADE, UNNAMED_UPGRADE];

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
            note = if protocol == b"websocket" {
                "websocket"
            } else {
                "upgrade"
            };
        }
    }
    note
}

/// What a request says of itself.
pub(crate) fn asked<'h>(head: &RequestHead<'h>) -> Asked<'h> {
    let (scheme, path): (&[u8], _) = if head.is_connect() {
        (b"", head.target())
    } else {
        (b"http", head.path())
    };
    Asked {
        method: head.method(),
        scheme,
        authority: head.authority(),
        path,
        version: head.version(),
    }
}

/// The fields of a request, for who judges it.
pub(crate) struct Fields<'h, 'b>(pub(crate) &'h RequestHead<'b>);

impl policy_l7::Headers for Fields<'_, '_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for header in self.0.headers() {
            visit(header.name, header.value);
        }
    }
}

impl Session {
    /// Reads as many events as there are and gives back the bytes that are left.
    pub(super) fn read_http1<'b>(&mut self, way: Way, mut bytes: &'b [u8]) -> &'b [u8] {
        while self.state == State::Http1 {
            match self.http.step(way, bytes) {
                Ok(Step::NeedMore) => return bytes,
                Ok(Step::Event { consumed, event }) => {
                    self.note(&event);
                    bytes = bytes.get(consumed..).unwrap_or_default();
                }
                Err(error) if self.is_late() && self.may_look_again() => {
                    tracing::debug!(rule = error.rule, "looked through for the next message");
                    // Its first byte is left behind, so that the same head is not found again.
                    self.http.lose(way, bytes.first().copied());
                    bytes = bytes.get(1..).unwrap_or_default();
                }
                // What the client said is not known any more; the server may still answer it.
                Err(error) if way == Way::ToServer && !self.is_strict => {
                    tracing::debug!(rule = error.rule, "the client is no longer followed");
                    self.unread = Some(error.rule);
                    self.state = State::Detecting(error.rule);
                }
                Err(error) => {
                    tracing::debug!(rule = error.rule, "no longer followed");
                    self.give_up(error.rule);
                }
            }
        }
        bytes
    }

    /// Whether another head that could not be read is put up with. What follows the start of one is
    /// read again, so that a sender of nothing else would cost the square of its bytes.
    fn may_look_again(&mut self) -> bool {
        const AT_ONCE: u64 = 16;
        const BYTES_EACH: u64 = 4096;
        self.broken_heads = self.broken_heads.saturating_add(1);
        let [sent, received] = self.bytes;
        u64::from(self.broken_heads) <= AT_ONCE + (sent + received) / BYTES_EACH
    }

    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Request(head) => {
                self.show(Way::ToServer, &Message::Http1Request(head));
                self.begin(head);
                let judged = self
                    .recorder
                    .verdict(&self.ends, &asked(head), &Fields(head));
                self.tell_request(&judged);
            }
            Event::Response(head) => {
                self.show(Way::ToClient, &Message::Http1Response(head));
                self.handle_response(head);
            }
            Event::Lost => self.come_late(),
            Event::Body { .. } | Event::Opaque => {}
        }
    }

    /// Keeps what an upgrade to HTTP/2 would begin with (RFC 7540 §3.2.1).
    fn keep_settings(&mut self, head: &RequestHead<'_>) {
        if head.upgrade().is_some()
            && let Some(settings) = head.header(b"http2-settings")
        {
            self.upgrade = Some(Box::new(Upgrade {
                settings: settings.into(),
                is_head: head.method() == b"HEAD",
            }));
        }
    }

    /// Opens the exchange of a request.
    pub fn begin(&mut self, head: &RequestHead<'_>) {
        let mut exchange = self.recorder.exchange();
        exchange.open(
            &asked(head),
            head.headers().map(|header| (header.name, header.value)),
            &self.ends.server,
            &self.recorder.redaction,
            self.recorder.clock.monotonic(),
        );
        self.exchanges.push_back(exchange);
        self.keep_settings(head);
    }

    /// Opens the exchange of a request that could not be read.
    pub fn begin_unreadable(&mut self) {
        let exchange = self.without_head("?");
        self.exchanges.push_back(exchange);
    }

    fn without_head(&self, method: &str) -> Exchange {
        let mut exchange = self.recorder.exchange();
        let now = self.recorder.clock.monotonic();
        exchange.open_without_head(method, 11, &self.ends.server, now);
        exchange
    }

    /// Records the request that was opened last.
    pub fn tell_request(&mut self, judged: &RequestVerdict) {
        if let Some(exchange) = self.exchanges.back_mut() {
            self.recorder.tell_judged(&self.ends, judged, |record| {
                exchange.write_request(record, judged.outcome, &judged.detail);
            });
        }
    }

    /// Pairs a response with the oldest request and records it.
    pub fn handle_response(&mut self, head: &ResponseHead<'_>) {
        if head.is_interim() {
            return;
        }
        // Answers that were missed leave more requests open than the parser waits for.
        while self.is_late() && self.exchanges.len() > self.http.awaiting_response() + 1 {
            self.tell_response(0, Outcome::Unseen, None);
        }
        let note = head.is_switching().then(|| switched_to(head));
        if note == Some(HTTP_UPGRADE) && self.follow_upgrade() {
            return;
        }
        self.tell_response(head.code(), Outcome::Passed, Some(head));
        match note {
            // What is in a tunnel may be read like what is outside of one.
            Some("connect") if !self.is_strict => self.detect_again("connect"),
            Some(note) => self.state = State::Opaque(note),
            None => {}
        }
    }

    /// Goes on with HTTP/2, in which the answer to the upgrading request comes on stream 1.
    fn follow_upgrade(&mut self) -> bool {
        let Some(upgrade) = self.upgrade.take() else {
            return false;
        };
        let Upgrade { settings, is_head } = *upgrade;
        let limits = *self.http.limits();
        match parsers::http2::Connection::after_upgrade(limits, &settings, is_head) {
            Ok(connection) => {
                let mut http2 = Http2::new(connection, limits);
                if let Some(exchange) = self.exchanges.pop_front() {
                    http2.adopt(1, exchange);
                }
                self.http2 = Some(Box::new(http2));
                self.state = State::Http2;
                true
            }
            Err(error) => {
                tracing::debug!(rule = error.rule, "an upgrade cannot be followed");
                false
            }
        }
    }

    /// Records the answer to the oldest request: one that came, one that was made here (a
    /// refusal), or none (code 0).
    pub fn tell_response(&mut self, code: u16, outcome: Outcome, head: Option<&ResponseHead<'_>>) {
        let exchange = match self.exchanges.pop_front() {
            Some(exchange) => exchange,
            // A response whose request was not captured.
            None if self.is_late() => self.without_head("unknown"),
            // A response that nobody asked for (a server's 408 on an idle connection) has no
            // request to name.
            None => return,
        };
        let verdict = verdict_of(outcome);
        let answered = Answered {
            code,
            outcome,
            kind: HttpKind::Response,
            grpc: None,
        };
        let now = self.recorder.clock.monotonic();
        self.recorder.tell_answered(&self.ends, verdict, |record| {
            let headers = head.into_iter().flat_map(ResponseHead::headers);
            let headers = headers.map(|header| (header.name, header.value));
            exchange.write_response(record, answered, headers, &self.recorder.redaction, now);
        });
        self.recorder.recycle(exchange);
    }
}

/// The verdict that an answer's record has.
pub(super) fn verdict_of(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Passed
        | Outcome::PolicyDenied
        | Outcome::AmbiguousPath
        | Outcome::ParseError
        | Outcome::Limit
        | Outcome::NotImplemented
        | Outcome::Unseen => Verdict::Forwarded,
        Outcome::UpstreamRefused | Outcome::UpstreamReset | Outcome::NoResponse => Verdict::Error,
    }
}
