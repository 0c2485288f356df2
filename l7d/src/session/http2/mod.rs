//! HTTP/2 streams → exchanges.

mod calls;

use parsers::http2::{Connection, Gap, Step};
use parsers::{Direction as Way, Limits};

use super::messages::Message;
use super::recorder::Recorder;
use super::{Ends, RequestVerdict, Session, State};
use crate::clock::Clock;
use crate::exchange::Exchange;
use crate::record::Outcome;
pub(super) use calls::fields;
pub(crate) use calls::{Calls, Fields, asked};

/// One connection.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Http2 {
    connection: Connection,
    calls: Calls,
}

/// What somebody who judges the client's frames works with.
pub(crate) struct Parts<'s> {
    /// Reads both directions.
    pub(crate) connection: &'s mut Connection,
    /// What is told of the streams.
    pub(crate) calls: &'s mut Calls,
    /// Where it is told.
    pub(crate) out: Out<'s>,
}

/// Where records and messages of a connection go.
#[derive(Clone, Copy)]
pub(crate) struct Out<'s> {
    pub(super) recorder: &'s Recorder,
    pub(super) ends: &'s Ends,
}

impl Out<'_> {
    /// The time of what is read.
    pub(crate) fn clock(&self) -> &Clock {
        &self.recorder.clock
    }

    pub(super) fn show(self, way: Way, message: &Message<'_>) {
        if let Some(messages) = &self.recorder.messages {
            messages.message(self.ends, way, message);
        }
    }
}

impl Http2 {
    pub(super) fn new(connection: Connection, limits: Limits) -> Self {
        Self {
            connection,
            calls: Calls::new(limits),
        }
    }

    /// A stream whose request came in another way.
    pub(super) fn adopt(&mut self, stream: u32, exchange: Exchange) {
        self.calls.adopt(stream, exchange);
    }
}

impl Session {
    /// The client speaks HTTP/2 from its first byte (RFC 9113 §3.3).
    pub fn begin_http2(&mut self) {
        let limits = *self.http().limits();
        let connection = Connection::new(limits);
        self.http2 = Some(Box::new(Http2::new(connection, limits)));
        self.state = State::Http2;
        self.read_on(Way::ToClient, &[]);
    }

    /// Whether it speaks HTTP/2, from the start or since an upgrade.
    pub fn is_http2(&self) -> bool {
        self.state == State::Http2
    }

    /// For who reads the client's frames; the server's still come by [`Session::observe`].
    pub(crate) fn http2_parts(&mut self) -> Option<Parts<'_>> {
        let Http2 { connection, calls } = &mut **self.http2.as_mut()?;
        let out = Out {
            recorder: &self.recorder,
            ends: &self.ends,
        };
        Some(Parts {
            connection,
            calls,
            out,
        })
    }

    /// Bytes to the client since the last place where a frame of ours could stand; none where there
    /// is no such place, since the server's frames are not read or have not begun.
    pub(crate) fn bytes_since_boundary(&self) -> Option<u64> {
        let Http2 { connection, .. } = &**self.http2.as_ref()?;
        let has_place = self.unread.is_none() && connection.has_begun(Way::ToClient);
        let [_, kept] = &self.carry;
        let kept = u64::try_from(kept.len()).unwrap_or(u64::MAX);
        let since = connection.bytes_since_boundary(Way::ToClient);
        has_place.then(|| since.saturating_add(kept))
    }

    /// Whether the server's frames can no longer be read.
    pub(crate) fn has_lost_server(&self) -> bool {
        self.unread.is_some()
    }

    /// The time of what is read.
    pub(crate) fn clock(&self) -> &Clock {
        &self.recorder.clock
    }

    /// Records what a client sent that ends its connection, in the place of a request.
    pub(crate) fn tell_broken(&mut self, outcome: Outcome, detail: &str) {
        let now = self.recorder.clock.monotonic();
        let mut exchange = self.recorder.exchange();
        exchange.open_without_head("?", 20, &self.ends.server, now);
        let refused = RequestVerdict::refused(outcome, detail);
        self.recorder.tell_judged(&self.ends, &refused, |record| {
            exchange.write_request(record, outcome, detail);
        });
        self.recorder.recycle(exchange);
    }

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

    /// Bytes of that direction were not captured: whether frames go on where they are known to.
    pub(super) fn handle_http2_gap(&mut self, way: Way, missing: u64) -> bool {
        let Some(http2) = &mut self.http2 else {
            return false;
        };
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
        gap != Gap::Frames
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
