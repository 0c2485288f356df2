//! HTTP/1.0 and HTTP/1.1 (RFC 9112): one connection, both directions.
//!
//! ```text
//!   Head ──▶ Body (length, chunks, until close) ──▶ Head ──▶ …
//!    │
//!    └─ 101, or 2xx to CONNECT ──▶ Opaque, in both directions, for good
//! ```

mod body;
mod extension;
mod head;
mod resync;
mod strict;

use std::collections::VecDeque;

pub use body::BodyKind;
use body::Chunks;
use head::Asked;
pub use head::{Header, RequestHead, ResponseHead};

use crate::Direction;
use crate::error::{Error, Fault};
use crate::limits::Limits;

/// How much is put up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Reading {
    /// As servers and browsers read: for looking.
    Lenient,
    /// Nothing that two implementations could read differently: for judging.
    Strict,
}

/// One step through the bytes of a direction.
pub type Step<'b> = crate::Step<Event<'b>>;

/// What was found.
#[derive(Debug)]
pub enum Event<'b> {
    /// The head of a request. Without a body it is the whole message.
    Request(RequestHead<'b>),
    /// The head of a response. Without a body it is the whole message.
    Response(ResponseHead<'b>),
    /// Bytes of a body.
    Body {
        /// Payload bytes among them, framing not counted.
        data: u64,
        /// Whether the message is complete.
        is_last: bool,
    },
    /// Bytes of a connection that is no longer HTTP.
    Opaque,
    /// Bytes that belong to no message that is known, after a gap.
    Lost,
}

/// What the end of a direction meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Between messages.
    Clean,
    /// It completed a body that runs until the end.
    EndsBody,
    /// Inside a message.
    Truncates,
}

/// Both directions of one connection.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Connection {
    limits: Limits,
    reading: Reading,
    requests: Half,
    responses: Half,
    awaiting: VecDeque<Asked>,
}

#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Half {
    state: State,
    /// Bytes of the unfinished head that hold no end of it.
    scanned: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Opaque,
    /// The next head is looked for; the byte before, if there was one.
    Lost(Option<u8>),
    Failed,
}

impl Connection {
    /// A connection of which nothing was seen yet.
    pub fn new(limits: Limits, reading: Reading) -> Self {
        let half = Half {
            state: State::Head,
            scanned: 0,
        };
        Self {
            limits,
            reading,
            requests: half,
            responses: half,
            awaiting: VecDeque::new(),
        }
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads the front of `bytes`, which are the bytes of that direction not consumed yet.
    ///
    /// # Errors
    /// When they cannot be read; the direction gives no further events.
    pub fn step<'b>(&mut self, direction: Direction, bytes: &'b [u8]) -> Result<Step<'b>, Error> {
        if bytes.is_empty() {
            return Ok(Step::NeedMore);
        }
        let result = match self.half(direction).state {
            State::Head => self.read_head(direction, bytes),
            State::Length(left) => Ok(self.read_length(direction, bytes, left)),
            State::Chunked(chunks) => self.read_chunks(direction, bytes, chunks),
            State::UntilClose => Ok(whole(
                bytes,
                Event::Body {
                    data: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                    is_last: false,
                },
            )),
            State::Opaque => Ok(whole(bytes, Event::Opaque)),
            State::Lost(before) => Ok(self.look_for_head(direction, before, bytes)),
            State::Failed => Err(Error::new(Fault::Malformed, "after-error", "RFC 9112 §2.2")),
        };
        if result.is_err() {
            self.half(direction).state = State::Failed;
        }
        result
    }

    /// Notes that bytes of that direction will never be seen, and that the caller has dropped what it
    /// kept of them. `true` if the next message is not known to begin anywhere: it is looked for.
    pub fn handle_gap(&mut self, direction: Direction, missing_bytes: u64) -> bool {
        let half = self.half(direction);
        match half.state {
            State::Length(left) if missing_bytes <= left => {
                self.skip_body(direction, missing_bytes);
                false
            }
            State::UntilClose | State::Opaque | State::Failed => false,
            State::Head | State::Length(_) | State::Chunked(_) | State::Lost(_) => {
                half.scanned = 0;
                half.state = State::Lost(None);
                true
            }
        }
    }

    /// A direction whose messages cannot be read as such is looked through for the next one, behind
    /// `before` where the caller drops that byte. For who looks on only.
    pub fn lose(&mut self, direction: Direction, before: Option<u8>) {
        let half = self.half(direction);
        half.scanned = 0;
        half.state = State::Lost(before);
    }

    /// Whether the next message is looked for in both directions.
    pub fn is_looking(&self) -> bool {
        matches!(self.requests.state, State::Lost(_))
            && matches!(self.responses.state, State::Lost(_))
    }

    fn look_for_head<'b>(
        &mut self,
        direction: Direction,
        before: Option<u8>,
        bytes: &'b [u8],
    ) -> Step<'b> {
        let consumed = match resync::find_head(direction, before, bytes) {
            resync::Find::At(0) => {
                self.half(direction).state = State::Head;
                if direction == Direction::ToClient && self.awaiting.len() > 1 {
                    // How many answers were missed is not known: it most likely is the newest
                    // request's.
                    self.awaiting.drain(..self.awaiting.len() - 1);
                }
                return Step::Event {
                    consumed: 0,
                    event: Event::Lost,
                };
            }
            resync::Find::At(start) | resync::Find::Open(start) => start,
        };
        if consumed == 0 {
            return Step::NeedMore;
        }
        self.half(direction).state = State::Lost(bytes.get(consumed - 1).copied());
        Step::Event {
            consumed,
            event: Event::Lost,
        }
    }

    /// Notes the end of a direction.
    pub fn handle_close(&mut self, direction: Direction) -> Close {
        let half = self.half(direction);
        match half.state {
            State::Head if half.scanned == 0 => Close::Clean,
            State::Opaque | State::Lost(_) | State::Failed => Close::Clean,
            State::UntilClose => {
                half.state = State::Head;
                Close::EndsBody
            }
            State::Head | State::Length(_) | State::Chunked(_) => Close::Truncates,
        }
    }

    /// Bytes of the present body that may be moved without being looked at.
    pub fn body_left(&self, direction: Direction) -> Option<u64> {
        let half = match direction {
            Direction::ToServer => &self.requests,
            Direction::ToClient => &self.responses,
        };
        match half.state {
            State::Length(left) => Some(left),
            State::Head
            | State::Chunked(_)
            | State::UntilClose
            | State::Opaque
            | State::Lost(_)
            | State::Failed => None,
        }
    }

    /// Notes that bytes of the present body were moved without being looked at.
    pub fn skip_body(&mut self, direction: Direction, bytes: u64) {
        let half = self.half(direction);
        if let State::Length(left) = half.state {
            let left = left.saturating_sub(bytes);
            half.state = if left == 0 {
                State::Head
            } else {
                State::Length(left)
            };
        }
    }

    /// Notes that bytes of that direction were left out by who looks on, taking them for a body.
    /// `false` if they are not known to be of one; nothing has changed then. Behind a body whose end
    /// is not known, the next message is looked for.
    pub fn leave_out(&mut self, direction: Direction, bytes: u64) -> bool {
        let half = self.half(direction);
        match half.state {
            State::Length(left) if bytes <= left => self.skip_body(direction, bytes),
            State::Chunked(_) | State::Lost(_) => half.state = State::Lost(None),
            State::UntilClose | State::Opaque | State::Failed => {}
            State::Head | State::Length(_) => return false,
        }
        true
    }

    /// The request whose head was returned last is answered by the caller: the server will not see
    /// it. Its body is still read.
    pub fn refuse_request(&mut self) {
        if let Some(asked) = self.awaiting.back_mut() {
            asked.is_refused = true;
        }
    }

    /// Whether the oldest request without an answer is one that the caller answers.
    pub fn is_refused_next(&self) -> bool {
        self.awaiting.front().is_some_and(|asked| asked.is_refused)
    }

    /// The caller has answered the oldest request, which it refused.
    pub fn answered_refused(&mut self) {
        if self.is_refused_next() {
            self.awaiting.pop_front();
        }
    }

    /// Requests without an answer.
    pub fn awaiting_response(&self) -> usize {
        self.awaiting.len()
    }

    /// Whether a direction is between messages with nothing of the next one read.
    pub fn is_between_messages(&self, direction: Direction) -> bool {
        let half = match direction {
            Direction::ToServer => &self.requests,
            Direction::ToClient => &self.responses,
        };
        half.state == State::Head && half.scanned == 0
    }

    /// Whether the connection is no longer HTTP.
    pub fn is_opaque(&self) -> bool {
        self.requests.state == State::Opaque || self.responses.state == State::Opaque
    }

    fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::ToServer => &mut self.requests,
            Direction::ToClient => &mut self.responses,
        }
    }

    fn read_head<'b>(&mut self, direction: Direction, bytes: &'b [u8]) -> Result<Step<'b>, Error> {
        // Empty lines before a message are ignored (RFC 9112 §2.2).
        let blank = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        let message = bytes.get(blank..).unwrap_or_default();
        let limit = self.limits.head_bytes;
        let half = self.half(direction);
        let Some(end) = head_end(message, half.scanned) else {
            half.scanned = message.len();
            if bytes.len() > limit {
                return Err(TOO_LONG);
            }
            return Ok(Step::NeedMore);
        };
        half.scanned = 0;
        if end > limit {
            return Err(TOO_LONG);
        }
        let head = message.get(..end).unwrap_or_default();
        let event = match direction {
            Direction::ToServer => Event::Request(self.begin_request(head)?),
            Direction::ToClient => Event::Response(self.begin_response(head)?),
        };
        Ok(Step::Event {
            consumed: blank + end,
            event,
        })
    }

    fn begin_request<'b>(&mut self, bytes: &'b [u8]) -> Result<RequestHead<'b>, Error> {
        if self.awaiting.len() >= self.limits.pipelined {
            return Err(Error::new(
                Fault::TooLarge,
                "too-many-pipelined",
                "RFC 9112 §9.3.2",
            ));
        }
        let head = head::read_request(bytes, &self.limits, self.reading)?;
        self.requests.state = state_of(head.body());
        self.awaiting.push_back(Asked {
            is_head: head.method() == b"HEAD",
            is_connect: head.is_connect(),
            is_refused: false,
        });
        Ok(head)
    }

    fn begin_response<'b>(&mut self, bytes: &'b [u8]) -> Result<ResponseHead<'b>, Error> {
        let asked = self.awaiting.front().copied();
        let head = head::read_response(bytes, &self.limits, asked, self.reading)?;
        if !head.is_interim() {
            self.awaiting.pop_front();
        }
        if head.is_switching() {
            self.requests.state = State::Opaque;
            self.responses.state = State::Opaque;
        } else {
            self.responses.state = state_of(head.body());
        }
        Ok(head)
    }

    fn read_length<'b>(&mut self, direction: Direction, bytes: &'b [u8], left: u64) -> Step<'b> {
        let data = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(left);
        self.skip_body(direction, data);
        let consumed = usize::try_from(data).unwrap_or(bytes.len());
        Step::Event {
            consumed,
            event: Event::Body {
                data,
                is_last: data == left,
            },
        }
    }

    fn read_chunks<'b>(
        &mut self,
        direction: Direction,
        bytes: &'b [u8],
        mut chunks: Chunks,
    ) -> Result<Step<'b>, Error> {
        let is_strict = self.reading == Reading::Strict && direction == Direction::ToServer;
        let run = chunks.read(bytes, &self.limits, is_strict)?;
        self.half(direction).state = if run.is_last {
            State::Head
        } else {
            State::Chunked(chunks)
        };
        let event = Event::Body {
            data: run.data,
            is_last: run.is_last,
        };
        Ok(Step::Event {
            consumed: run.consumed,
            event,
        })
    }
}

const TOO_LONG: Error = Error::new(Fault::TooLarge, "head-too-long", "RFC 6585 §5");

fn state_of(body: BodyKind) -> State {
    match body {
        BodyKind::None => State::Head,
        BodyKind::Length(length) => State::Length(length),
        BodyKind::Chunked => State::Chunked(Chunks::START),
        BodyKind::UntilClose => State::UntilClose,
    }
}

fn whole<'b>(bytes: &'b [u8], event: Event<'b>) -> Step<'b> {
    Step::Event {
        consumed: bytes.len(),
        event,
    }
}

/// The end of the head: after the first empty line. `scanned` bytes are known to hold none, but the
/// line feed before it may be among their last three.
fn head_end(bytes: &[u8], scanned: usize) -> Option<usize> {
    let mut from = scanned.saturating_sub(3);
    loop {
        let rest = bytes.get(from..)?;
        let line_end = from + memchr::memchr(b'\n', rest)?;
        match bytes.get(line_end + 1..)? {
            [b'\n', ..] => return Some(line_end + 2),
            [b'\r', b'\n', ..] => return Some(line_end + 3),
            _ => from = line_end + 1,
        }
    }
}

#[cfg(test)]
mod tests;
