//! The client's frames → what of them goes on (RFC 9113), without sockets.
//!
//! ```text
//!   client ── frames ──▶ Middlebox ──▶ to the server: header blocks written anew, DATA and control
//!                          │   │                      frames as they came
//!                          │   └────▶ to the client:  refusals, resets, window given back
//!                        Judge
//! ```
//!
//! Streams keep their numbers, and flow control runs from end to end. A request that is denied never
//! reaches the server, which is why header blocks are written with a table of our own: the server's
//! would otherwise lack what a denied block had put into the client's. The server's frames pass as
//! bytes; what is said in its place stands between them and leaves its table as it is.

mod floods;
mod frames;
mod outgoing;
mod reply;
mod requests;
mod streams;

use std::ops::Range;

use parsers::Direction as Way;
use parsers::http2::{ErrorCode, Event, FrameHeader, Kind, Step};
use parsers::{Error as ParseError, Fault};

use crate::clock::Clock;
use crate::policy::{Judge, Permit};
use crate::record::Outcome;
use crate::session::http2::{Calls, Out, Parts};
use floods::{Floods, Spent};
pub(super) use outgoing::Outgoing;
pub(super) use reply::Replies;
use requests::Opening;
use streams::Streams;

/// The server's table for us is never larger, in bytes: what it has unless it says otherwise.
const TABLE_BYTES: u32 = parsers::hpack::DEFAULT_TABLE_BYTES;
/// The payload that every receiver takes (RFC 9113 §4.2).
const FRAME_BYTES: usize = parsers::http2::DEFAULT_FRAME_BYTES as usize;

/// One connection's middlebox.
pub(super) struct Middlebox {
    encoder: parsers::hpack::Encoder,
    streams: Streams,
    floods: Floods,
    /// What is done with the rest of the frame that is passing.
    passing: Option<Passing>,
    block: Vec<u8>,
    /// For the client, as soon as there is a place for it.
    pub(super) replies: Replies,
    /// For the server, in order.
    pub(super) outgoing: Outgoing,
    /// Requests refused since this was last taken.
    pub(super) refused: u64,
    /// A header block has begun and not ended.
    pub(super) is_in_block: bool,
    /// The newest stream that may begin, once the connection is to end.
    last_stream: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Passing {
    Forwarded,
    Swallowed,
}

/// A middlebox as it goes to another process, with nothing on its way to the server.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct SavedMiddlebox {
    encoder: parsers::hpack::Encoder,
    streams: Streams,
    spent: Spent,
    passing: Option<Passing>,
    replies: Replies,
    is_in_block: bool,
    last_stream: Option<u32>,
}

impl Middlebox {
    /// Takes everything out for another process.
    pub(super) fn save(self) -> SavedMiddlebox {
        SavedMiddlebox {
            encoder: self.encoder,
            streams: self.streams,
            spent: self.floods.save(),
            passing: self.passing,
            replies: self.replies,
            is_in_block: self.is_in_block,
            last_stream: self.last_stream,
        }
    }

    /// Goes on where another process stopped.
    pub(super) fn restore(saved: SavedMiddlebox, clock: &Clock) -> Self {
        Self {
            encoder: saved.encoder,
            streams: saved.streams,
            floods: Floods::restore(&saved.spent, clock),
            passing: saved.passing,
            replies: saved.replies,
            is_in_block: saved.is_in_block,
            last_stream: saved.last_stream,
            ..Self::new(clock)
        }
    }
}

/// What ends the connection: GOAWAY tells the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) code: ErrorCode,
    pub(super) error: ParseError,
}

impl Broken {
    /// A frame or a header block did not come to its end.
    pub(super) fn too_slow() -> Self {
        Self {
            code: ErrorCode::ENHANCE_YOUR_CALM,
            error: ParseError {
                fault: Fault::TooLarge,
                rule: "head-timeout",
                section: "RFC 9113 §10.5",
            },
        }
    }
}

impl From<ParseError> for Broken {
    fn from(error: ParseError) -> Self {
        let code = ErrorCode::of(&error);
        Self { code, error }
    }
}

/// Where the bytes of an event stand in what the caller holds.
#[derive(Debug, Clone)]
struct Place {
    range: Range<usize>,
    /// They begin with a frame's header.
    is_at_frame: bool,
}

impl Place {
    /// Bytes that count against windows: the payload, padding included (RFC 9113 §6.9.1).
    fn payload(&self) -> usize {
        let header = if self.is_at_frame {
            FrameHeader::BYTES
        } else {
            0
        };
        self.range.len().saturating_sub(header)
    }
}

/// Who judges requests, and who keeps the record.
struct Court<'c> {
    judge: &'c Judge,
    calls: &'c mut Calls,
    out: Out<'c>,
}

/// What was so before an event.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// The newest stream that the client had opened.
    newest: u32,
    /// Streams that were open.
    open: usize,
}

/// What is left to do once an event is no longer looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It went on: the records learn of it.
    Told,
    /// It did not.
    Hidden,
    /// Only the client knows the stream.
    Forget(u32),
    /// The client broke a rule of the stream (RFC 9113 §5.4.2).
    Break(u32, ErrorCode),
}

/// Of a header block.
fn is_piece(kind: Kind) -> bool {
    matches!(kind, Kind::Headers | Kind::Continuation)
}

const fn malformed(rule: &'static str, section: &'static str) -> ParseError {
    ParseError {
        fault: Fault::Malformed,
        rule,
        section,
    }
}

const IDLE: ParseError = malformed("frame-on-idle-stream", "RFC 9113 §5.1");
const CLOSED: ParseError = malformed("stream-number-used", "RFC 9113 §5.1.1");

impl Middlebox {
    /// For a connection that has just begun to speak HTTP/2.
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            encoder: parsers::hpack::Encoder::new(TABLE_BYTES),
            streams: Streams::default(),
            floods: Floods::new(clock),
            passing: None,
            block: Vec::new(),
            replies: Replies::default(),
            outgoing: Outgoing::default(),
            refused: 0,
            is_in_block: false,
            last_stream: None,
        }
    }

    /// Tells the client that streams beyond that one are not begun any more.
    pub(super) fn end_after(&mut self, stream: u32) {
        self.last_stream = Some(stream);
        self.replies
            .say_goodbye(stream, ErrorCode::NO_ERROR, "the proxy ends");
    }

    /// The request that was judged before the connection became HTTP/2 (RFC 7540 §3.2).
    pub(super) fn adopt(&mut self, permit: Permit) {
        self.streams.open(1, Some(permit), true);
    }

    /// Takes one event off the client's bytes, which stand at `start` in what the caller holds, and
    /// gives back how many bytes it had; none where more are needed.
    ///
    /// # Errors
    /// When the connection must end (RFC 9113 §5.4.1, or too much of something).
    pub(super) fn take(
        &mut self,
        parts: &mut Parts<'_>,
        judge: &Judge,
        start: usize,
        bytes: &[u8],
    ) -> Result<Option<usize>, Broken> {
        let Parts {
            connection,
            calls,
            out,
        } = parts;
        let out = *out;
        let before = Before {
            newest: connection.newest_stream(),
            open: connection.open_streams(),
        };
        let Step::Event { consumed, event } = connection.step(Way::ToServer, bytes)? else {
            return Ok(None);
        };
        let place = Place {
            range: start..start + consumed,
            is_at_frame: self.passing.is_none(),
        };
        let after = self.sort(&event, &place, before, &mut Court { judge, calls, out })?;
        if after == After::Told {
            calls.note(out, Way::ToServer, &event);
        }
        let kind = match &event {
            Event::Frame { header, .. } => Some(header.kind),
            _ => None,
        };
        self.is_in_block = kind.is_some_and(is_piece);
        match after {
            After::Told | After::Hidden => {}
            After::Forget(stream) => connection.forget_stream(stream),
            After::Break(stream, code) => {
                connection.forget_stream(stream);
                calls.end(out, stream, Outcome::ParseError);
                self.break_stream(stream, code);
            }
        }
        if kind == Some(Kind::Settings) {
            // What the client acknowledges binds who writes to the server (RFC 9113 §6.5.3).
            let limit = connection.table_limit(Way::ToServer);
            self.encoder
                .set_limit(u32::try_from(limit).unwrap_or(u32::MAX));
        }
        if connection.bytes_since_boundary(Way::ToServer) == 0 {
            self.passing = None;
        } else {
            self.passing.get_or_insert(Passing::Swallowed);
        }
        self.streams.sweep(|stream| connection.is_open(stream));
        Ok(Some(consumed))
    }

    /// Decides what of an event goes on.
    fn sort(
        &mut self,
        event: &Event<'_>,
        place: &Place,
        before: Before,
        court: &mut Court<'_>,
    ) -> Result<After, Broken> {
        let Before { newest, open } = before;
        let clock = court.out.clock();
        Ok(match event {
            Event::Preface | Event::GoAway { .. } => self.pass_control(place),
            Event::Settings(_) => {
                self.floods.control(clock)?;
                self.pass_control(place)
            }
            Event::Skipped if self.passing == Some(Passing::Forwarded) => self.pass_control(place),
            Event::Skipped | Event::Lost => After::Hidden,
            Event::Frame { header, fault } => {
                if header.kind == Kind::WindowUpdate {
                    self.floods.window(court.calls.take_windows(), clock)?;
                }
                self.take_frame(newest, *header, fault.is_some(), place, clock)?
            }
            Event::Request {
                stream,
                priority,
                head,
            } => {
                if *stream <= newest {
                    return Err(CLOSED.into());
                }
                let opening = Opening {
                    stream: *stream,
                    priority: *priority,
                    head,
                    is_one_too_many: open >= STREAMS_MAX,
                    is_too_late: self.last_stream.is_some(),
                };
                self.open(court, &opening)
            }
            Event::Trailers { stream, head } => self.take_trailers(*stream, head),
            Event::Data {
                stream,
                bytes,
                is_last,
                fault,
            } => {
                self.floods.data(bytes.len(), *is_last)?;
                let after = self.take_data(newest, *stream, *is_last, *fault, place)?;
                if matches!(after, After::Break(..)) {
                    self.floods.control(clock)?;
                }
                after
            }
            Event::Reset { stream, .. } => {
                self.floods.reset(clock)?;
                self.take_reset(newest, *stream, place)?
            }
            // A client's header blocks are requests or trailers.
            Event::Response { stream, .. } | Event::Push { stream, .. } => {
                After::Break(*stream, ErrorCode::PROTOCOL_ERROR)
            }
        })
    }
}

/// Streams that a client may have open; whatever the server allows. Below what the parser follows.
const STREAMS_MAX: usize = 1000;
