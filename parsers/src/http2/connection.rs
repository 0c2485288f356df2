//! Both directions of one connection.

use super::frame::{Flags, Frame, FrameHeader, Kind, Scope, Settings};
use super::headers::{Findings, Head, Role, role_by_fields};
use super::side::{Block, DataLeft, Side, State};
use super::streams::Streams;
use super::{Close, Event, Gap, PREFACE, Step, resync};
use crate::Direction;
use crate::error::{Error, Fault};
use crate::limits::Limits;

/// Reads both directions of one connection.
#[derive(Debug, Clone)]
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

struct Message {
    stream: u32,
    promised: Option<u32>,
    role: Role,
}

const AFTER_ERROR: Error = Error::new(Fault::Malformed, "after-error", "RFC 9113 §5.4.1");
const NO_PREFACE: Error = Error::new(Fault::NotThisProtocol, "no-preface", "RFC 9113 §3.4");
const NO_SETTINGS: Error = Error::new(
    Fault::NotThisProtocol,
    "settings-not-first",
    "RFC 9113 §3.4",
);
const NO_CONTINUATION: Error = Error::new(
    Fault::Malformed,
    "header-block-interrupted",
    "RFC 9113 §6.10",
);
const BAD_CONTINUATION: Error = Error::new(
    Fault::Malformed,
    "continuation-of-nothing",
    "RFC 9113 §6.10",
);
const LONG_BLOCK: Error = Error::new(Fault::TooLarge, "header-block-too-long", "RFC 9113 §10.5.1");
const LONG_FRAME: Error = Error::new(Fault::TooLarge, "control-frame-too-long", "RFC 9113 §10.5");

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
        let [to_server, to_client] = &self.sides;
        match direction {
            Direction::ToServer => to_server.is_whole,
            Direction::ToClient => to_client.is_whole,
        }
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

    fn read_frame<'b>(
        &mut self,
        direction: Direction,
        bytes: &'b [u8],
    ) -> Result<Found<'b>, Error> {
        // Padding and priority fields are no part of the block.
        const AROUND_BLOCK: usize = 512;
        let Some(header) = FrameHeader::read(bytes) else {
            return Ok(Found::NeedMore);
        };
        self.check_order(direction, header)?;
        if let Err(violation) = header.check() {
            if violation.scope == Scope::Connection {
                return Err(violation.error);
            }
            return Ok(self.skip_frame(direction, header, bytes, Some(violation.error)));
        }
        match header.kind {
            Kind::Data => return self.begin_data(direction, header, bytes),
            Kind::Unknown(_) => return Ok(self.skip_frame(direction, header, bytes, None)),
            Kind::Headers
            | Kind::Priority
            | Kind::RstStream
            | Kind::Settings
            | Kind::PushPromise
            | Kind::Ping
            | Kind::GoAway
            | Kind::WindowUpdate
            | Kind::Continuation => {}
        }
        if header.payload_bytes() > self.limits.header_block_bytes.saturating_add(AROUND_BLOCK) {
            return Err(LONG_FRAME);
        }
        let payload = bytes.get(FrameHeader::BYTES..header.frame_bytes());
        let Some(payload) = payload else {
            return Ok(Found::NeedMore);
        };
        match Frame::read(header, payload) {
            Ok(frame) => self.handle_frame(direction, header, frame),
            Err(violation) if violation.scope == Scope::Connection => Err(violation.error),
            Err(violation) => Ok(told(header, Some(violation.error))),
        }
    }

    /// RFC 9113 §3.4, §4.2, §4.3.
    fn check_order(&mut self, direction: Direction, header: FrameHeader) -> Result<(), Error> {
        let side = self.side(direction);
        let is_first = side.is_whole && !side.has_begun;
        // Some clients acknowledge before they send their own.
        if is_first && header.kind != Kind::Settings {
            return Err(NO_SETTINGS);
        }
        match (side.block, header.kind) {
            (Some(block), Kind::Continuation) if block.stream == header.stream => {}
            (Some(_), _) => return Err(NO_CONTINUATION),
            (None, Kind::Continuation) => return Err(BAD_CONTINUATION),
            (None, _) => {}
        }
        let most = side.max_frame;
        header
            .check_length(most)
            .map_err(|violation| violation.error)
    }

    /// Tells the frame now and its payload as it comes.
    fn skip_frame<'b>(
        &mut self,
        direction: Direction,
        header: FrameHeader,
        bytes: &[u8],
        fault: Option<Error>,
    ) -> Found<'b> {
        let run = bytes.len().min(header.frame_bytes());
        let payload = run.saturating_sub(FrameHeader::BYTES);
        self.side(direction).state = skip(header.length, payload as u64);
        event(run, Event::Frame { header, fault })
    }

    fn begin_data<'b>(
        &mut self,
        direction: Direction,
        header: FrameHeader,
        bytes: &'b [u8],
    ) -> Result<Found<'b>, Error> {
        let mut left = DataLeft {
            stream: header.stream,
            payload: header.length,
            padding: 0,
            ends: header.flags.has(Flags::END_STREAM),
        };
        let mut start = FrameHeader::BYTES;
        if header.flags.has(Flags::PADDED) {
            let padding = match (header.length, bytes.get(start)) {
                (0, _) => return Err(BAD_PADDED_SIZE),
                (_, None) => return Ok(Found::NeedMore),
                (_, Some(padding)) => u32::from(*padding),
            };
            start += 1;
            left.padding = padding;
            let payload = (header.length - 1).checked_sub(padding);
            left.payload = payload.ok_or(TOO_MUCH_PADDING)?;
        }
        Ok(self.read_data(direction, left, bytes, start))
    }

    fn read_data<'b>(
        &mut self,
        direction: Direction,
        left: DataLeft,
        bytes: &'b [u8],
        start: usize,
    ) -> Found<'b> {
        let rest = bytes.get(start..).unwrap_or_default();
        let run = (rest.len() as u64).min(left.bytes());
        let payload = rest.len().min(left.payload as usize);
        let (is_last, fault) = self.take_data(direction, left, run);
        event(
            start + usize::try_from(run).unwrap_or(rest.len()),
            Event::Data {
                stream: left.stream,
                bytes: rest.get(..payload).unwrap_or_default(),
                is_last,
                fault,
            },
        )
    }

    /// Counts bytes of a DATA frame off; tells whether they completed the message.
    fn take_data(
        &mut self,
        direction: Direction,
        mut left: DataLeft,
        run: u64,
    ) -> (bool, Option<Error>) {
        let payload = run.min(u64::from(left.payload));
        let padding = (run - payload).min(u64::from(left.padding));
        left.payload -= u32::try_from(payload).unwrap_or(left.payload);
        left.padding -= u32::try_from(padding).unwrap_or(left.padding);
        let is_last = left.ends && left.payload == 0;
        left.ends &= !is_last;
        self.side(direction).state = if left.bytes() == 0 {
            State::Frame
        } else {
            State::Data(left)
        };
        let is_whole = self.side(direction).is_whole;
        let fault = self
            .streams
            .handle_data(direction, left.stream, payload, is_last);
        (is_last, fault.filter(|_| is_whole))
    }

    fn handle_frame<'b>(
        &mut self,
        direction: Direction,
        header: FrameHeader,
        frame: Frame<'b>,
    ) -> Result<Found<'b>, Error> {
        let consumed = header.frame_bytes();
        match frame {
            Frame::Headers { fragment, .. } => {
                let block = Block {
                    stream: header.stream,
                    promised: None,
                    is_last: header.flags.has(Flags::END_STREAM),
                    continuations: 0,
                };
                self.read_block(direction, header, block, fragment)
            }
            Frame::PushPromise {
                promised, fragment, ..
            } => {
                if direction == Direction::ToServer {
                    return Err(CLIENT_PUSHES);
                }
                let block = Block {
                    stream: header.stream,
                    promised: Some(promised),
                    is_last: true,
                    continuations: 0,
                };
                self.read_block(direction, header, block, fragment)
            }
            Frame::Continuation { fragment } => {
                let mut block = self.side(direction).block.ok_or(BAD_CONTINUATION)?;
                block.continuations += 1;
                if block.continuations > self.limits.continuations {
                    return Err(LONG_BLOCK);
                }
                self.read_block(direction, header, block, fragment)
            }
            Frame::RstStream(code) => {
                self.streams.reset(header.stream);
                let stream = header.stream;
                Ok(event(consumed, Event::Reset { stream, code }))
            }
            Frame::Settings(settings) => self.handle_settings(direction, header, settings),
            Frame::GoAway {
                last_stream,
                code,
                debug,
            } => Ok(event(
                consumed,
                Event::GoAway {
                    last_stream,
                    code,
                    debug,
                },
            )),
            Frame::Data { .. }
            | Frame::Priority(_)
            | Frame::Ping(_)
            | Frame::WindowUpdate(_)
            | Frame::Unknown { .. } => Ok(told(header, None)),
        }
    }

    /// Table sizes bind from the acknowledgement on (RFC 9113 §6.5.3): the sender of an ACK obeys
    /// what the other side announced.
    fn handle_settings<'b>(
        &mut self,
        direction: Direction,
        header: FrameHeader,
        settings: Settings<'b>,
    ) -> Result<Found<'b>, Error> {
        if header.flags.has(Flags::ACK) {
            if let Some(bytes) = self.side(opposite(direction)).acknowledged() {
                self.side(direction).decoder.set_limit(bytes);
            }
            return Ok(told(header, None));
        }
        let limits = self.limits;
        self.side(direction).announce(&settings, &limits)?;
        self.side(opposite(direction)).allow_frames(&settings);
        Ok(event(header.frame_bytes(), Event::Settings(settings)))
    }

    /// RFC 9113 §4.3: a block is whole before it is decoded.
    fn read_block<'b>(
        &mut self,
        direction: Direction,
        header: FrameHeader,
        block: Block,
        fragment: &[u8],
    ) -> Result<Found<'b>, Error> {
        let most = self.limits.header_block_bytes;
        let side = self.side(direction);
        if side.fragments.len().saturating_add(fragment.len()) > most {
            return Err(LONG_BLOCK);
        }
        let ends = header.flags.has(Flags::END_HEADERS);
        if !ends || !side.fragments.is_empty() {
            side.fragments.extend_from_slice(fragment);
        }
        if !ends {
            side.block = Some(block);
            return Ok(told(header, None));
        }
        side.block = None;
        if side.fragments.is_empty() {
            side.decoder.decode(fragment)?;
        } else {
            let whole = std::mem::take(&mut side.fragments);
            side.decoder.decode(&whole)?;
        }
        let head = match block.promised {
            Some(promised) => self.note_push(direction, block, promised),
            None => self.note_head(direction, block)?,
        };
        Ok(Found::Head {
            consumed: header.frame_bytes(),
            head,
        })
    }

    fn note_push(&mut self, direction: Direction, block: Block, promised: u32) -> Message {
        let side = self.side(direction);
        let findings = Findings::new(&side.decoder.list(), Role::Request, true);
        let is_head = findings.is_head;
        side.findings = findings;
        self.streams.promise(promised, is_head);
        Message {
            stream: block.stream,
            promised: Some(promised),
            role: Role::Request,
        }
    }

    fn note_head(&mut self, direction: Direction, block: Block) -> Result<Message, Error> {
        let Block {
            stream, is_last, ..
        } = block;
        let is_new = direction == Direction::ToServer && self.open_stream(stream)?;
        let expected = self.streams.role(direction, stream);
        let side = self.side(direction);
        let list = side.decoder.list();
        let by_fields = role_by_fields(&list);
        // A stream that is not followed ended before, or began before the capture.
        let role = match expected {
            Some(role) if side.is_whole => role,
            Some(_) | None => by_fields.unwrap_or(Role::Trailers),
        };
        let mut findings = Findings::new(&list, role, is_last);
        if role == Role::Request && side.is_whole && !is_new {
            findings.blame(OLD_STREAM);
        }
        self.streams
            .handle_head(direction, stream, role, &mut findings, is_last);
        self.side(direction).findings = findings;
        Ok(Message {
            stream,
            promised: None,
            role,
        })
    }

    /// Streams that a client opens have odd numbers, each higher than those before (RFC 9113
    /// §5.1.1). Tells whether that is a new one.
    fn open_stream(&mut self, stream: u32) -> Result<bool, Error> {
        if stream & 1 == 0 {
            return Err(EVEN_STREAM);
        }
        let side = self.side(Direction::ToServer);
        let is_new = stream > side.newest_stream;
        if is_new {
            side.newest_stream = stream;
            self.streams.open(stream);
        }
        Ok(is_new)
    }
}

const BAD_PADDED_SIZE: Error = Error::new(Fault::Malformed, "frame-of-wrong-size", "RFC 9113 §6.1");
const TOO_MUCH_PADDING: Error = Error::new(Fault::Malformed, "too-much-padding", "RFC 9113 §6.1");
const CLIENT_PUSHES: Error = Error::new(Fault::Malformed, "client-pushes", "RFC 9113 §8.4");
const EVEN_STREAM: Error = Error::new(Fault::Malformed, "bad-stream-number", "RFC 9113 §5.1.1");
const OLD_STREAM: Error = Error::new(Fault::Malformed, "stream-number-used", "RFC 9113 §5.1.1");

impl Message {
    fn into_event(self, head: Head<'_>) -> Event<'_> {
        let stream = self.stream;
        match (self.promised, self.role) {
            (Some(promised), _) => Event::Push {
                stream,
                promised,
                head,
            },
            (None, Role::Request) => Event::Request { stream, head },
            (None, Role::Response) => Event::Response { stream, head },
            (None, Role::Trailers) => Event::Trailers { stream, head },
        }
    }
}

impl DataLeft {
    fn bytes(self) -> u64 {
        u64::from(self.payload) + u64::from(self.padding)
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

fn told<'b>(header: FrameHeader, fault: Option<Error>) -> Found<'b> {
    event(header.frame_bytes(), Event::Frame { header, fault })
}

fn skip(left: u32, run: u64) -> State {
    match left.saturating_sub(u32::try_from(run).unwrap_or(u32::MAX)) {
        0 => State::Frame,
        left => State::Skip { left },
    }
}
