//! Both directions of one connection.

mod blocks;
mod frames;
mod middlebox;

use super::frame::{Flags, Frame, FrameHeader, Kind, Settings};
use super::headers::Head;
use super::side::{Side, State};
use super::streams::Streams;
use super::{Close, Event, Gap, PREFACE, Step, resync};
use crate::Direction;
use crate::error::{Error, Fault};
use crate::limits::Limits;

use blocks::Message;

/// Reads both directions of one connection.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Connection {
    limits: Limits,
    sides: [Side; 2],
    streams: Streams,
}

/// What a step found, before the fields of a message are borrowed from their decoder.
enum Found<'b> {
    NeedMore,
    Event { consumed: usize, event: Event<'b> },
    Head { consumed: usize, head: Message },
}

const AFTER_ERROR: Error = Error::new(Fault::Malformed, "after-error", "RFC 9113 §5.4.1");
const NO_PREFACE: Error = Error::new(Fault::NotThisProtocol, "no-preface", "RFC 9113 §3.4");

impl Connection {
    /// A connection of which nothing was seen yet, begun with prior knowledge (RFC 9113 §3.3).
    pub fn new(limits: Limits) -> Self {
        Self {
            sides: [
                Side::new(&limits, State::Preface),
                Side::new(&limits, State::Frame),
            ],
            streams: Streams::new(limits.streams),
            limits,
        }
    }

    /// A connection after the 101 response to an HTTP/1.1 request with `Upgrade: h2c` (RFC 7540
    /// §3.2). The request is stream 1 and complete; `settings` is the value of its `HTTP2-Settings`
    /// field, which the 101 acknowledged; `is_head` tells that its method was HEAD.
    ///
    /// # Errors
    /// When `settings` is no SETTINGS payload in base64url.
    pub fn after_upgrade(limits: Limits, settings: &[u8], is_head: bool) -> Result<Self, Error> {
        const BAD: Error = Error::new(Fault::Malformed, "bad-http2-settings", "RFC 7540 §3.2.1");
        let payload = super::upgrade::decode_base64url(settings).ok_or(BAD)?;
        let header = FrameHeader {
            length: u32::try_from(payload.len()).map_err(|_too_long| BAD)?,
            kind: Kind::Settings,
            flags: Flags::NONE,
            stream: 0,
        };
        let mut connection = Self::new(limits);
        let Ok(Frame::Settings(settings)) = Frame::read(header, &payload) else {
            return Err(BAD);
        };
        let to_client = connection.side(Direction::ToClient);
        to_client.allow_frames(&settings);
        if let Some(bytes) = settings.value(Settings::HEADER_TABLE_SIZE) {
            to_client.decoder.set_limit(bytes);
        }
        connection.streams.begin_answered(1, is_head);
        connection.side(Direction::ToServer).newest_stream = 1;
        Ok(connection)
    }

    /// A connection whose start was not seen. Frames are looked for; fields that were defined
    /// before are unknown.
    pub fn mid_stream(limits: Limits) -> Self {
        let mut connection = Self::new(limits);
        for side in &mut connection.sides {
            side.lose();
        }
        connection
    }

    /// Reads the front of `bytes`, which are the bytes of that direction not consumed yet.
    ///
    /// # Errors
    /// When a rule is broken whose breach ends the connection (RFC 9113 §5.4.1); the direction gives
    /// no further events. A direction that was joined in the middle, or has a gap, looks for the
    /// next frame instead.
    pub fn step<'c>(
        &'c mut self,
        direction: Direction,
        bytes: &'c [u8],
    ) -> Result<Step<'c>, Error> {
        let found = match self.advance(direction, bytes) {
            Err(error) => self.handle_error(direction, error)?,
            Ok(found) => found,
        };
        if let Found::Event { consumed, .. } | Found::Head { consumed, .. } = &found {
            self.note_consumed(direction, *consumed);
        }
        let side = self.side(direction);
        side.holds_bytes = matches!(found, Found::NeedMore) && !bytes.is_empty();
        Ok(match found {
            Found::NeedMore => Step::NeedMore,
            Found::Event { consumed, event } => {
                side.has_begun |= !matches!(event, Event::Preface);
                Step::Event { consumed, event }
            }
            Found::Head { consumed, head } => {
                side.has_begun = true;
                let fields = Head::new(side.decoder.list(), &side.findings);
                Step::Event {
                    consumed,
                    event: head.into_event(fields),
                }
            }
        })
    }

    /// Notes that bytes of that direction will never be seen. The caller has dropped what it kept
    /// of them and goes on with the bytes after the gap.
    pub fn handle_gap(&mut self, direction: Direction, missing_bytes: u64) -> Gap {
        if missing_bytes == 0 {
            return Gap::Frame;
        }
        let state = self.side(direction).state;
        match state {
            State::Data(left) if missing_bytes <= left.bytes() => {
                let payload = missing_bytes.min(u64::from(left.payload));
                let (taken, fault) = self.take_data(direction, left, missing_bytes);
                Gap::Data {
                    stream: left.stream,
                    bytes: payload,
                    is_last: taken,
                    fault,
                }
            }
            State::Skip { left } if missing_bytes <= u64::from(left) => {
                self.side(direction).state = skip(left, missing_bytes);
                Gap::Frame
            }
            State::Failed => Gap::Frames,
            State::Preface | State::Frame | State::Data(_) | State::Skip { .. } | State::Lost => {
                self.lose(direction);
                Gap::Frames
            }
        }
    }

    /// Notes the end of a direction.
    pub fn handle_close(&mut self, direction: Direction) -> Close {
        let side = self.side(direction);
        let is_between = matches!(side.state, State::Frame | State::Lost | State::Failed)
            && !side.holds_bytes
            && side.block.is_none();
        if is_between {
            Close::Clean
        } else {
            Close::Truncates
        }
    }

    /// Streams that are followed and not complete in both directions.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether that stream is followed and not complete in both directions.
    pub fn is_open(&self, stream: u32) -> bool {
        self.streams.is_open(stream)
    }

    /// Streams that are no longer followed, since more were open than the limit.
    pub fn evicted_streams(&self) -> u64 {
        self.streams.evicted()
    }

    /// Whether every byte of that direction was seen, so that no field can be unknown.
    pub fn is_whole(&self, direction: Direction) -> bool {
        self.look(direction).is_whole
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        let [to_server, to_client] = &mut self.sides;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    fn lose(&mut self, direction: Direction) {
        let limits = self.limits;
        self.side(direction).lose();
        self.side(opposite(direction)).lift_limits(&limits);
        self.streams.forget_lengths(direction);
    }

    /// Where not everything was seen, what looks broken may have been no frame.
    fn handle_error<'b>(&mut self, direction: Direction, error: Error) -> Result<Found<'b>, Error> {
        let side = self.side(direction);
        if side.is_whole || side.state == State::Failed {
            side.state = State::Failed;
            side.fragments = Vec::new();
            return Err(error);
        }
        self.lose(direction);
        Ok(event(1, Event::Lost))
    }

    fn advance<'b>(&mut self, direction: Direction, bytes: &'b [u8]) -> Result<Found<'b>, Error> {
        let state = self.side(direction).state;
        if state == State::Failed {
            return Err(AFTER_ERROR);
        }
        if bytes.is_empty() {
            return Ok(Found::NeedMore);
        }
        match state {
            State::Frame => self.read_frame(direction, bytes),
            State::Data(left) => Ok(self.read_data(direction, left, bytes, 0)),
            State::Skip { left } => {
                let run = bytes.len().min(left as usize);
                self.side(direction).state = skip(left, run as u64);
                Ok(event(run, Event::Skipped))
            }
            State::Preface if bytes.starts_with(PREFACE) => {
                self.side(direction).state = State::Frame;
                Ok(event(PREFACE.len(), Event::Preface))
            }
            State::Preface if PREFACE.starts_with(bytes) => Ok(Found::NeedMore),
            State::Lost => Ok(self.look_for_frame(direction, bytes)),
            State::Preface => Err(NO_PREFACE),
            State::Failed => Err(AFTER_ERROR),
        }
    }

    fn look_for_frame<'b>(&mut self, direction: Direction, bytes: &'b [u8]) -> Found<'b> {
        if direction == Direction::ToServer && bytes.starts_with(PREFACE) {
            return self.begin_whole();
        }
        let scan = resync::scan(direction, bytes, &self.limits, resync::ENOUGH);
        if scan.start > 0 {
            return event(scan.start, Event::Lost);
        }
        if !scan.is_found {
            return Found::NeedMore;
        }
        self.side(direction).state = State::Frame;
        self.advance(direction, bytes).unwrap_or_else(|_broken| {
            // What was found is no frame after all.
            self.lose(direction);
            event(1, Event::Lost)
        })
    }

    /// What was thought to be joined in the middle begins here, or HTTP/1.1 was upgraded.
    fn begin_whole<'b>(&mut self) -> Found<'b> {
        let fresh = Self::new(self.limits);
        let [to_server, to_client] = fresh.sides;
        if !self.side(Direction::ToClient).has_begun {
            *self.side(Direction::ToClient) = to_client;
        }
        *self.side(Direction::ToServer) = to_server;
        self.side(Direction::ToServer).state = State::Frame;
        event(PREFACE.len(), Event::Preface)
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::ToServer => Direction::ToClient,
        Direction::ToClient => Direction::ToServer,
    }
}

fn event(consumed: usize, event: Event<'_>) -> Found<'_> {
    Found::Event { consumed, event }
}

fn skip(left: u32, run: u64) -> State {
    match left.saturating_sub(u32::try_from(run).unwrap_or(u32::MAX)) {
        0 => State::Frame,
        left => State::Skip { left },
    }
}
