//! HTTP/2 streams → exchanges.

use std::collections::BTreeMap;

use parsers::http2::{Connection, Event, Gap, Head, Step};
use parsers::{Direction as Way, Limits, grpc};

use super::grpc::Rpc;
use super::http1::verdict_of;
use super::messages::{Http2Kind, Message};
use super::recorder::Recorder;
use super::{Ends, Session};
use crate::exchange::{Answered, Asked, Exchange};
use crate::record::{HttpKind, Outcome, Verdict};

/// One connection.
pub(super) struct Http2 {
    connection: Connection,
    calls: Calls,
}

/// Open streams. The parser bounds them.
struct Calls {
    limits: Limits,
    open: BTreeMap<u32, Call>,
}

struct Call {
    exchange: Exchange,
    rpc: Option<Box<Rpc>>,
    is_answered: bool,
}

/// Where records and messages of a connection go.
#[derive(Clone, Copy)]
pub(super) struct Out<'s> {
    pub(super) recorder: &'s Recorder,
    pub(super) ends: &'s Ends,
}

impl Out<'_> {
    pub(super) fn show(self, way: Way, message: &Message<'_>) {
        if let Some(messages) = &self.recorder.messages {
            messages.message(self.ends, way, message);
        }
    }
}

impl Http2 {
    pub(super) fn new(connection: Connection, limits: Limits) -> Self {
        let open = BTreeMap::new();
        Self {
            connection,
            calls: Calls { limits, open },
        }
    }

    /// A stream whose request came in another way.
    pub(super) fn adopt(&mut self, stream: u32, exchange: Exchange) {
        let call = Call {
            exchange,
            rpc: None,
            is_answered: false,
        };
        self.calls.open.insert(stream, call);
    }
}

impl Session {
    /// Reads as many events as there are and gives back the bytes that are left.
    pub(super) fn read_http2<'b>(&mut self, way: Way, mut bytes: &'b [u8]) -> &'b [u8] {
        let Some(http2) = &mut self.http2 else {
            return bytes;
        };
        let out = Out {
            recorder: &self.recorder,
            ends: &self.ends,
        };
        loop {
            match http2.connection.step(way, bytes) {
                Ok(Step::NeedMore) => return bytes,
                Ok(Step::Event { consumed, event }) => {
                    http2.calls.note(out, way, &event);
                    bytes = bytes.get(consumed..).unwrap_or_default();
                }
                // The other side goes on: it may say why it ends the connection.
                Err(error) => {
                    tracing::debug!(rule = error.rule, ?way, "no longer followed");
                    self.unread.get_or_insert(error.rule);
                    return &[];
                }
            }
        }
    }

    /// Bytes of that direction were not captured.
    pub(super) fn handle_http2_gap(&mut self, way: Way, missing: u64) {
        let Some(http2) = &mut self.http2 else { return };
        let gap = http2.connection.handle_gap(way, missing);
        if let Gap::Data {
            stream,
            bytes,
            is_last,
            ..
        } = gap
        {
            let out = Out {
                recorder: &self.recorder,
                ends: &self.ends,
            };
            http2.calls.skip_data(stream, way, bytes);
            if is_last && way == Way::ToClient {
                http2.calls.end(out, stream, Outcome::Passed);
            }
        }
    }

    /// Ends every stream that is open.
    pub(super) fn finish_http2(&mut self, outcome: Outcome) {
        let out = Out {
            recorder: &self.recorder,
            ends: &self.ends,
        };
        if let Some(http2) = &mut self.http2 {
            http2.calls.end_all(out, outcome);
        }
    }
}

impl Calls {
    fn note(&mut self, out: Out<'_>, way: Way, event: &Event<'_>) {
        match event {
            Event::Request { stream, head, .. } => {
                out.show(way, &message(Http2Kind::Request, *stream, head));
                self.begin(out, *stream, head, "");
            }
            Event::Push {
                stream,
                promised,
                head,
            } => {
                out.show(way, &message(Http2Kind::Push(*promised), *stream, head));
                self.begin(out, *promised, head, "pushed by the server");
            }
            Event::Response { stream, head } => {
                out.show(way, &message(Http2Kind::Response, *stream, head));
                self.answer(out, *stream, head);
            }
            Event::Trailers { stream, head } => {
                out.show(way, &message(Http2Kind::Trailers, *stream, head));
                self.finish_with(out, way, *stream, head);
            }
            Event::Data {
                stream,
                bytes,
                is_last,
                ..
            } => {
                self.take_data(out, *stream, way, bytes);
                if *is_last && way == Way::ToClient {
                    self.end(out, *stream, Outcome::Passed);
                }
            }
            Event::Reset { stream, code } => {
                let (stream, code) = (*stream, *code);
                out.show(way, &Message::Http2Reset { stream, code });
                let outcome = match way {
                    Way::ToClient => Outcome::UpstreamReset,
                    Way::ToServer => Outcome::NoResponse,
                };
                self.end(out, stream, outcome);
            }
            Event::GoAway {
                last_stream, code, ..
            } => {
                let (last_stream, code) = (*last_stream, *code);
                out.show(way, &Message::Http2GoAway { last_stream, code });
            }
            Event::Preface
            | Event::Settings(_)
            | Event::Frame { .. }
            | Event::Skipped
            | Event::Lost => {}
        }
    }

    fn begin(&mut self, out: Out<'_>, stream: u32, head: &Head<'_>, detail: &str) {
        // A stream that the parser has let go of is no longer followed here either.
        let streams_max = self.limits.streams;
        if self.open.len() >= streams_max
            && let Some((_, call)) = self.open.pop_first()
        {
            call.tell_end(out, Outcome::Unseen);
        }
        let now = out.recorder.clock.monotonic();
        let mut exchange = out.recorder.exchange();
        let recorder = out.recorder;
        exchange.open(
            &asked(head),
            fields(head),
            &out.ends.server,
            &recorder.redaction,
            now,
        );
        let judged = recorder.verdict(out.ends, &asked(head), &Fields(head));
        let detail = if judged.detail.is_empty() {
            detail
        } else {
            &judged.detail
        };
        recorder.tell_asked(out.ends, judged.verdict, &judged.policies, |record| {
            exchange.write_request(record, judged.outcome, detail);
        });
        let is_grpc = head.header(b"content-type").is_some_and(grpc::is_grpc);
        let rpc = is_grpc.then(|| Box::new(Rpc::new(&self.limits, now)));
        let call = Call {
            exchange,
            rpc,
            is_answered: false,
        };
        if let Some(former) = self.open.insert(stream, call) {
            former.tell_end(out, Outcome::Unseen);
        }
    }

    /// A response whose request was not seen has one that is not known.
    fn call(&mut self, out: Out<'_>, stream: u32) -> &mut Call {
        self.open.entry(stream).or_insert_with(|| {
            let mut exchange = out.recorder.exchange();
            let now = out.recorder.clock.monotonic();
            exchange.open_without_head("unknown", 20, &out.ends.server, now);
            Call {
                exchange,
                rpc: None,
                is_answered: false,
            }
        })
    }

    fn answer(&mut self, out: Out<'_>, stream: u32, head: &Head<'_>) {
        if head.is_interim() {
            return;
        }
        let is_grpc = head.header(b"content-type").is_some_and(grpc::is_grpc);
        let limits = self.limits;
        let now = out.recorder.clock.monotonic();
        let call = self.call(out, stream);
        if is_grpc && call.rpc.is_none() {
            call.rpc = Some(Box::new(Rpc::new(&limits, now)));
        }
        match &mut call.rpc {
            Some(rpc) => rpc.note_head(head, out.recorder),
            None => call.tell_head(out, head),
        }
        if head.is_last() {
            self.end(out, stream, Outcome::Passed);
        }
    }

    fn finish_with(&mut self, out: Out<'_>, way: Way, stream: u32, head: &Head<'_>) {
        if way == Way::ToServer {
            return;
        }
        if let Some(Call { rpc: Some(rpc), .. }) = self.open.get_mut(&stream) {
            rpc.note_status(grpc::Status::of_head(head));
        }
        self.end(out, stream, Outcome::Passed);
    }

    fn take_data(&mut self, out: Out<'_>, stream: u32, way: Way, bytes: &[u8]) {
        if let Some(Call {
            exchange,
            rpc: Some(rpc),
            ..
        }) = self.open.get_mut(&stream)
        {
            rpc.take_data(out, stream, way, bytes);
            rpc.report(out, exchange);
        }
    }

    fn skip_data(&mut self, stream: u32, way: Way, bytes: u64) {
        if let Some(Call { rpc: Some(rpc), .. }) = self.open.get_mut(&stream) {
            rpc.skip_data(way, bytes);
        }
    }

    fn end(&mut self, out: Out<'_>, stream: u32, outcome: Outcome) {
        if let Some(call) = self.open.remove(&stream) {
            call.tell_end(out, outcome);
        }
    }

    fn end_all(&mut self, out: Out<'_>, outcome: Outcome) {
        while let Some((_, call)) = self.open.pop_first() {
            call.tell_end(out, outcome);
        }
    }
}

fn message<'m>(kind: Http2Kind, stream: u32, head: &'m Head<'m>) -> Message<'m> {
    Message::Http2Head { kind, stream, head }
}

/// What a request says of itself; what was defined before a capture began is `unknown`.
fn asked<'h>(head: &Head<'h>) -> Asked<'h> {
    const UNKNOWN: &[u8] = b"unknown";
    let authority = head.authority().or_else(|| head.header(b"host"));
    let method = head.method().unwrap_or(UNKNOWN);
    if head.is_connect() && head.protocol().is_none() {
        return Asked {
            method,
            scheme: b"",
            authority,
            path: authority.unwrap_or(UNKNOWN),
            version: 20,
        };
    }
    Asked {
        method,
        scheme: head.scheme().unwrap_or(b"http"),
        authority,
        path: head.path().unwrap_or(b"/unknown"),
        version: 20,
    }
}

struct Fields<'h, 'c>(&'h Head<'c>);

impl policy_l7::Headers for Fields<'_, '_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in fields(self.0) {
            visit(name, value);
        }
    }
}

pub(super) fn fields<'h>(head: &Head<'h>) -> impl Iterator<Item = (&'h [u8], &'h [u8])> + use<'h> {
    head.headers().map(|field| (field.name, field.value))
}

impl Call {
    fn tell_head(&mut self, out: Out<'_>, head: &Head<'_>) {
        if std::mem::replace(&mut self.is_answered, true) {
            return;
        }
        let answered = Answered {
            code: head.status().unwrap_or(0),
            outcome: Outcome::Passed,
            kind: HttpKind::Response,
            grpc: None,
        };
        let now = out.recorder.clock.monotonic();
        let redaction = &out.recorder.redaction;
        out.recorder
            .tell_answered(out.ends, Verdict::Forwarded, |record| {
                self.exchange
                    .write_response(record, answered, fields(head), redaction, now);
            });
    }

    /// The stream has ended: a call is told with its status, and what has no answer with that.
    fn tell_end(self, out: Out<'_>, outcome: Outcome) {
        match &self.rpc {
            Some(rpc) => rpc.tell(out, &self.exchange, HttpKind::Response, outcome),
            None if !self.is_answered => {
                let outcome = match outcome {
                    Outcome::Passed => Outcome::NoResponse,
                    other => other,
                };
                let answered = Answered {
                    code: 0,
                    outcome,
                    kind: HttpKind::Response,
                    grpc: None,
                };
                let now = out.recorder.clock.monotonic();
                let redaction = &out.recorder.redaction;
                out.recorder
                    .tell_answered(out.ends, verdict_of(outcome), |record| {
                        let none = std::iter::empty();
                        self.exchange
                            .write_response(record, answered, none, redaction, now);
                    });
            }
            None => {}
        }
        out.recorder.recycle(self.exchange);
    }
}
