//! DNS over a stream: each message behind its length (RFC 1035 §4.2.2, RFC 7766 §8).
//!
//! ```text
//!   00 1d │ 29 bytes of message │ 00 2d │ 45 bytes …
//! ```

#![deny(clippy::arithmetic_side_effects)]

use super::detect::looks_like_stream;
use super::header::Header;
use super::message::Message;
use crate::Direction;
use crate::error::{Error, Fault};

/// One step through the bytes of a direction.
pub type Step<'b> = crate::Step<Event<'b>>;

/// What was found.
#[derive(Debug)]
pub enum Event<'b> {
    /// A message. One that is longer than the bound is read as far as that goes, and has a fault.
    Message(Message<'b>),
    /// Bytes of a message beyond the bound.
    Skipped,
    /// Bytes that belong to no message that is known, after a gap.
    Lost,
}

/// What the end of a direction meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Between messages.
    Clean,
    /// Inside a message.
    Truncates,
}

/// Both directions of a connection.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Connection {
    message_bytes: usize,
    requests: State,
    responses: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum State {
    /// Before a length; whether some bytes of the message are there.
    Length {
        is_begun: bool,
    },
    /// In the part of a message that is not read.
    Skip(usize),
    /// After a gap.
    Lost,
    Failed,
}

const NO_HEADER: Error = Error::new(Fault::Malformed, "dns-length-too-small", "RFC 7766 §8");
const AFTER_ERROR: Error = Error::new(Fault::Malformed, "after-error", "RFC 7766 §8");
/// Bytes of a length.
const PREFIX: usize = 2;

/// The length that goes before a message; `None` of one that is too long.
pub fn prefix(message: &[u8]) -> Option<[u8; PREFIX]> {
    u16::try_from(message.len()).ok().map(u16::to_be_bytes)
}

impl Connection {
    /// A connection of which nothing was seen yet. Of a message no more than `message_bytes` are
    /// read, which bounds what the caller has to keep; [`Message::BYTES_MAX`] reads all.
    pub fn new(message_bytes: usize) -> Self {
        let start = State::Length { is_begun: false };
        Self {
            message_bytes: message_bytes.clamp(Header::BYTES, Message::BYTES_MAX),
            requests: start,
            responses: start,
        }
    }

    /// Reads the front of `bytes`, which are the bytes of that direction not consumed yet.
    ///
    /// # Errors
    /// When a length is too small for a message; the direction gives no further events.
    pub fn step<'b>(&mut self, direction: Direction, bytes: &'b [u8]) -> Result<Step<'b>, Error> {
        if bytes.is_empty() {
            return Ok(Step::NeedMore);
        }
        match *self.state(direction) {
            State::Length { .. } => self.read_message(direction, bytes),
            State::Skip(left) => {
                let consumed = left.min(bytes.len());
                self.skip(direction, left.saturating_sub(consumed));
                Ok(Step::Event {
                    consumed,
                    event: Event::Skipped,
                })
            }
            State::Lost => self.look_for_message(direction, bytes),
            State::Failed => Err(AFTER_ERROR),
        }
    }

    /// Notes the end of a direction.
    pub fn handle_close(&mut self, direction: Direction) -> Close {
        match *self.state(direction) {
            State::Length { is_begun: true } | State::Skip(_) => Close::Truncates,
            State::Length { is_begun: false } | State::Lost | State::Failed => Close::Clean,
        }
    }

    /// Notes that bytes of that direction will never be seen, and that the caller has dropped what it
    /// kept of them. `true` if the next message is not known to begin anywhere: it is looked for.
    pub fn handle_gap(&mut self, direction: Direction, missing_bytes: u64) -> bool {
        let state = self.state(direction);
        match *state {
            State::Skip(left) => match usize::try_from(missing_bytes) {
                Ok(missing) if missing <= left => {
                    self.skip(direction, left.saturating_sub(missing));
                    false
                }
                Ok(_) | Err(_) => {
                    *state = State::Lost;
                    true
                }
            },
            State::Failed => false,
            State::Length { .. } | State::Lost => {
                *state = State::Lost;
                true
            }
        }
    }

    fn state(&mut self, direction: Direction) -> &mut State {
        match direction {
            Direction::ToServer => &mut self.requests,
            Direction::ToClient => &mut self.responses,
        }
    }

    fn skip(&mut self, direction: Direction, left: usize) {
        *self.state(direction) = if left == 0 {
            State::Length { is_begun: false }
        } else {
            State::Skip(left)
        };
    }

    fn read_message<'b>(
        &mut self,
        direction: Direction,
        bytes: &'b [u8],
    ) -> Result<Step<'b>, Error> {
        let limit = self.message_bytes;
        let state = self.state(direction);
        *state = State::Length { is_begun: true };
        let Some((length, rest)) = bytes.split_first_chunk::<PREFIX>() else {
            return Ok(Step::NeedMore);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length < Header::BYTES {
            *state = State::Failed;
            return Err(NO_HEADER);
        }
        let read = length.min(limit);
        let Some(message) = rest.get(..read) else {
            return Ok(Step::NeedMore);
        };
        self.skip(direction, length.saturating_sub(read));
        Ok(Step::Event {
            consumed: read.saturating_add(PREFIX),
            event: Event::Message(Message::read(message)?),
        })
    }

    /// Everything before the first place where a message may begin is lost.
    fn look_for_message<'b>(
        &mut self,
        direction: Direction,
        bytes: &'b [u8],
    ) -> Result<Step<'b>, Error> {
        let mut place = None;
        for at in 0..bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            let verdict = looks_like_stream(direction, rest);
            if verdict != Some(false) {
                place = Some((at, verdict));
                break;
            }
        }
        let consumed = match place {
            Some((0, None)) => return Ok(Step::NeedMore),
            Some((0, Some(_))) => return self.read_message(direction, bytes),
            Some((at, _)) => at,
            None => bytes.len(),
        };
        Ok(Step::Event {
            consumed,
            event: Event::Lost,
        })
    }
}
