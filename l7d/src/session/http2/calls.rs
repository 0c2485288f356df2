//! The streams that are open, and what is told of them.

use std::collections::BTreeMap;

use parsers::http2::{Event, Head};
use parsers::{Direction as Way, Limits, grpc};

use super::Out;
use crate::exchange::{Answered, Asked, Exchange};
use crate::record::{HttpKind, Outcome, Verdict};
use crate::session::RequestVerdict;
use crate::session::grpc::Rpc;
use crate::session::http1::verdict_of;
use crate::session::messages::{Http2Kind, Message};

/// Open streams. The parser bounds them.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Calls {
    limits: Limits,
    open: BTreeMap<u32, Call>,
    /// Windows that the client may open once more, since there was something to open them for.
    #[serde(skip)]
    windows: u64,
}

/// A client gives back what it has read of the connection's window and of its stream's, in as many frames
/// as it likes: usually one for each frame that it was sent, or for each KiB of it.
const WINDOWS_PER_FRAME: u64 = 2;
const BYTES_PER_WINDOW: u64 = 1024;

#[derive(serde::Serialize, serde::Deserialize)]
struct Call {
    exchange: Exchange,
    rpc: Option<Box<Rpc>>,
    is_answered: bool,
}

impl Calls {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: BTreeMap::new(),
            windows: 0,
        }
    }

    /// How many `WINDOW_UPDATE` more the client has reason to send, since this was last asked.
    pub(crate) fn take_windows(&mut self) -> u64 {
        std::mem::take(&mut self.windows)
    }

    fn earn_windows(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let earned = WINDOWS_PER_FRAME.saturating_add(bytes / BYTES_PER_WINDOW);
        self.windows = self.windows.saturating_add(earned);
    }

    /// A stream whose request came in another way.
    pub(super) fn adopt(&mut self, stream: u32, exchange: Exchange) {
        let call = Call {
            exchange,
            rpc: None,
            is_answered: false,
        };
        self.open.insert(stream, call);
    }

    /// Notes what was found in the frames of a direction.
    pub(crate) fn note(&mut self, out: Out<'_>, way: Way, event: &Event<'_>) {
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
                if way == Way::ToClient {
                    self.earn_windows(bytes.len());
                }
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
        let mut judged = out.recorder.verdict(out.ends, &asked(head), &Fields(head));
        if judged.detail.is_empty() {
            detail.clone_into(&mut judged.detail);
        }
        self.begin_judged(out, stream, head, &judged);
    }

    /// Records a request, and follows its stream.
    pub(crate) fn begin_judged(
        &mut self,
        out: Out<'_>,
        stream: u32,
        head: &Head<'_>,
        judged: &RequestVerdict,
    ) {
        self.earn_windows(0);
        // A stream that the parser has let go of is no longer followed here either.
        let streams_max = self.limits.streams;
        if self.open.len() >= streams_max
            && let Some((_, call)) = self.open.pop_first()
        {
            call.tell_end(out, Outcome::Unseen);
        }
        let recorder = out.recorder;
        let now = recorder.clock.monotonic();
        let mut exchange = recorder.exchange();
        exchange.open(
            &asked(head),
            fields(head),
            &out.ends.server,
            &recorder.redaction,
            now,
        );
        recorder.tell_judged(out.ends, judged, |record| {
            exchange.write_request(record, judged.outcome, &judged.detail);
        });
        let kind = head.header(b"content-type").and_then(grpc::kind);
        let rpc = kind.map(|kind| recorder.rpc(&self.limits, kind, now));
        let call = Call {
            exchange,
            rpc,
            is_answered: false,
        };
        if let Some(former) = self.open.insert(stream, call) {
            former.tell_end(out, Outcome::Unseen);
        }
    }

    /// Records the answer that was given in the place of the server.
    pub(crate) fn answer_refused(
        &mut self,
        out: Out<'_>,
        stream: u32,
        code: u16,
        status: Option<grpc::Status<'_>>,
        outcome: Outcome,
    ) {
        if let Some(mut call) = self.open.remove(&stream) {
            if let Some(rpc) = &mut call.rpc {
                rpc.code = code;
                rpc.note_status(status);
            } else {
                call.tell(out, code, outcome);
                call.is_answered = true;
            }
            call.tell_end(out, outcome);
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
        let kind = head.header(b"content-type").and_then(grpc::kind);
        let limits = self.limits;
        let call = self.call(out, stream);
        match (kind, &mut call.rpc) {
            (Some(kind), Some(rpc)) => rpc.note_kind(&limits, kind),
            (Some(kind), rpc) => {
                let now = out.recorder.clock.monotonic();
                *rpc = Some(out.recorder.rpc(&limits, kind, now));
            }
            (None, _) => {}
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

    pub(super) fn skip_data(&mut self, stream: u32, way: Way, bytes: u64) {
        if let Some(Call { rpc: Some(rpc), .. }) = self.open.get_mut(&stream) {
            rpc.skip_data(way, bytes);
        }
    }

    /// Ends a stream.
    pub(crate) fn end(&mut self, out: Out<'_>, stream: u32, outcome: Outcome) {
        if let Some(call) = self.open.remove(&stream) {
            call.tell_end(out, outcome);
        }
    }

    pub(super) fn end_all(&mut self, out: Out<'_>, outcome: Outcome) {
        while let Some((_, call)) = self.open.pop_first() {
            call.tell_end(out, outcome);
        }
    }
}

fn message<'m>(kind: Http2Kind, stream: u32, head: &'m Head<'m>) -> Message<'m> {
    Message::Http2Head { kind, stream, head }
}

/// What a request says of itself; what was defined before a capture began is `unknown`.
pub(crate) fn asked<'h>(head: &Head<'h>) -> Asked<'h> {
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

/// The fields of a request, for who judges it.
pub(crate) struct Fields<'h, 'c>(pub(crate) &'h Head<'c>);

impl policy_l7::Headers for Fields<'_, '_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in fields(self.0) {
            visit(name, value);
        }
    }
}

pub(in crate::session) fn fields<'h>(
    head: &Head<'h>,
) -> impl Iterator<Item = (&'h [u8], &'h [u8])> + use<'h> {
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

    /// Records an answer without fields.
    fn tell(&self, out: Out<'_>, code: u16, outcome: Outcome) {
        let answered = Answered {
            code,
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

    /// The stream has ended: a call is told with its status, and what has no answer with that.
    fn tell_end(self, out: Out<'_>, outcome: Outcome) {
        match &self.rpc {
            Some(rpc) => rpc.tell(out, &self.exchange, HttpKind::Response, outcome),
            None if !self.is_answered => {
                let outcome = match outcome {
                    Outcome::Passed => Outcome::NoResponse,
                    other => other,
                };
                self.tell(out, 0, outcome);
            }
            None => {}
        }
        if let Some(rpc) = self.rpc {
            out.recorder.recycle_rpc(rpc);
        }
        out.recorder.recycle(self.exchange);
    }
}
