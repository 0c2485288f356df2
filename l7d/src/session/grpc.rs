//! gRPC calls: messages counted by direction, and the status that ends them.

use parsers::http2::Head;
use parsers::{Direction as Way, Limits, grpc};

use super::http1::verdict_of;
use super::http2::{Out, fields};
use super::messages::Message;
use super::recorder::Recorder;
use crate::clock::Monotonic;
use crate::exchange::{Answered, Exchange};
use crate::record::{Grpc, HttpKind, Outcome, Record, Text, Volume};

/// A call that runs is reported this often.
const SAMPLE_NS: u64 = 10_000_000_000;

/// A gRPC call: it is answered by its trailers.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Rpc {
    /// Status of HTTP.
    pub(super) code: u16,
    headers: Text,
    sent: Stream,
    received: Stream,
    status: Option<u32>,
    message: Vec<u8>,
    reported: Monotonic,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Stream {
    messages: grpc::Messages,
    volume: Volume,
}

impl Rpc {
    /// A call that begins.
    pub(super) fn new(limits: &Limits, kind: grpc::Kind, now: Monotonic) -> Self {
        let stream = || Stream {
            messages: grpc::Messages::new(kind, limits),
            volume: Volume::default(),
        };
        Self {
            code: 0,
            headers: Text::default(),
            sent: stream(),
            received: stream(),
            status: None,
            message: Vec::new(),
            reported: now,
        }
    }

    /// Begins anew as `fresh`, in the memory that is there.
    pub(super) fn begin(&mut self, fresh: Self) {
        let headers = std::mem::take(&mut self.headers);
        let message = std::mem::take(&mut self.message);
        *self = Self {
            headers,
            message,
            ..fresh
        };
        self.headers.clear();
        self.message.clear();
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.headers.capacity() + self.message.capacity()
    }

    /// Notes how the server writes its messages.
    pub(super) fn note_kind(&mut self, limits: &Limits, kind: grpc::Kind) {
        self.received.messages = grpc::Messages::new(kind, limits);
    }

    /// Counts the messages in bytes of a body.
    pub(super) fn take_data(&mut self, out: Out<'_>, stream: u32, way: Way, bytes: &[u8]) {
        let side = match way {
            Way::ToServer => &mut self.sent,
            Way::ToClient => &mut self.received,
        };
        let mut rest = bytes;
        while let Ok(Some(event)) = side.messages.step(&mut rest) {
            match event {
                grpc::Event::Message {
                    length,
                    is_compressed,
                } => {
                    side.volume.messages = side.volume.messages.saturating_add(1);
                    side.volume.bytes = side.volume.bytes.saturating_add(length.into());
                    let message = Message::Grpc {
                        stream,
                        length,
                        is_compressed,
                    };
                    out.show(way, &message);
                }
                grpc::Event::Trailers(block) => {
                    if let Some(found) = grpc::Status::of_web_trailers(block) {
                        self.status = Some(found.code);
                        keep(&mut self.message, &found.message);
                    }
                }
            }
        }
    }

    /// Notes bytes of a body that were not seen.
    pub(super) fn skip_data(&mut self, way: Way, bytes: u64) {
        let side = match way {
            Way::ToServer => &mut self.sent,
            Way::ToClient => &mut self.received,
        };
        // What cannot be told apart any more is not counted any more.
        let _is_still_known = side.messages.handle_gap(bytes);
    }

    /// Tells of a call that goes on, now and then.
    pub(super) fn report(&mut self, out: Out<'_>, exchange: &Exchange) {
        let now = out.recorder.clock.recent();
        if now.nanos_since(self.reported) > SAMPLE_NS {
            self.reported = now;
            self.tell(out, exchange, HttpKind::Sample, Outcome::Passed);
        }
    }

    /// Keeps what a response's head says.
    pub(super) fn note_head(&mut self, head: &Head<'_>, recorder: &Recorder) {
        self.code = head.status().unwrap_or(0);
        self.headers.clear();
        if recorder.redaction.keeps_headers() {
            for (name, value) in fields(head) {
                recorder
                    .redaction
                    .write_header(&mut self.headers, name, value);
            }
        }
        // A call that failed at once has its trailers here.
        self.note_status(grpc::Status::of_head(head));
    }

    /// Keeps how the call ended.
    pub(super) fn note_status(&mut self, status: Option<grpc::Status<'_>>) {
        if let Some(status) = status {
            self.status = Some(status.code);
            keep(&mut self.message, &status.message);
        }
    }

    /// Records the call's answer, or where it stands.
    pub(super) fn tell(&self, out: Out<'_>, exchange: &Exchange, kind: HttpKind, outcome: Outcome) {
        let has_ended = kind == HttpKind::Response && self.status.is_none() && self.code == 0;
        let outcome = match outcome {
            Outcome::Passed if has_ended => Outcome::NoResponse,
            other => other,
        };
        let now = out.recorder.clock.monotonic();
        let write = |record: &mut Record| {
            let grpc = Grpc {
                status: self.status,
                message: record.text.push(&self.message),
                sent: self.sent.volume,
                received: self.received.volume,
            };
            let answered = Answered {
                code: self.code,
                outcome,
                kind,
                grpc: Some(grpc),
            };
            let headers = self.headers.lines();
            let redaction = &out.recorder.redaction;
            exchange.write_response(record, answered, headers, redaction, now);
        };
        out.recorder
            .tell_answered(out.ends, verdict_of(outcome), write);
    }
}

/// Copies a text into the memory that is there.
fn keep(kept: &mut Vec<u8>, text: &[u8]) {
    kept.clear();
    kept.extend_from_slice(text);
}
