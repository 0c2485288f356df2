//! Frames, one after the other: what ends a connection, and what each is for.

use super::{Connection, Found, event, opposite, skip};
use crate::Direction;
use crate::error::{Error, Fault};
use crate::http2::Event;
use crate::http2::frame::{Flags, Frame, FrameHeader, Kind, Scope, Settings};
use crate::http2::side::{Block, DataLeft, State};

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
pub(super) const LONG_BLOCK: Error =
    Error::new(Fault::TooLarge, "header-block-too-long", "RFC 9113 §10.5.1");
const LONG_FRAME: Error = Error::new(Fault::TooLarge, "control-frame-too-long", "RFC 9113 §10.5");
const BAD_PADDED_SIZE: Error = Error::new(Fault::Malformed, "frame-of-wrong-size", "RFC 9113 §6.1");
const TOO_MUCH_PADDING: Error = Error::new(Fault::Malformed, "too-much-padding", "RFC 9113 §6.1");
const CLIENT_PUSHES: Error = Error::new(Fault::Malformed, "client-pushes", "RFC 9113 §8.4");

impl Connection {
    pub(super) fn read_frame<'b>(
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

    pub(super) fn read_data<'b>(
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
    pub(super) fn take_data(
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
            Frame::Headers {
                fragment, priority, ..
            } => {
                let block = Block {
                    stream: header.stream,
                    priority,
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
                    priority: None,
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
}

pub(super) fn told<'b>(header: FrameHeader, fault: Option<Error>) -> Found<'b> {
    event(header.frame_bytes(), Event::Frame { header, fault })
}
