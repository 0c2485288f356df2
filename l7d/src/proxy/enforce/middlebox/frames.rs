//! Frames that are no header blocks: passed on, swallowed, or answered.

use parsers::Error as ParseError;
use parsers::http2::{ErrorCode, Frame, FrameHeader, Kind};

use super::reply::Reply;
use super::streams::{Heard, Known};
use super::{After, Broken, IDLE, Middlebox, Passing, Place, is_piece};
use crate::clock::Clock;

impl Middlebox {
    /// A frame that belongs to the connection goes on.
    pub(super) fn pass_control(&mut self, place: &Place) -> After {
        self.passing = Some(Passing::Forwarded);
        self.outgoing.forward_control(place.range.clone());
        After::Told
    }

    pub(super) fn take_frame(
        &mut self,
        newest: u32,
        header: FrameHeader,
        is_broken: bool,
        place: &Place,
        clock: &Clock,
    ) -> Result<After, Broken> {
        /// RFC 9218 §7.1. Other extensions are for the next hop only (RFC 9113 §5.5).
        const PRIORITY_UPDATE: Kind = Kind::Unknown(16);
        let stream = header.stream;
        match header.kind {
            kind if is_piece(kind) => return Ok(After::Hidden),
            // Counted before, by what was sent to the client.
            Kind::WindowUpdate => {}
            _ => self.floods.control(clock)?,
        }
        if is_broken {
            let code = if header.kind == Kind::Priority && header.length != 5 {
                ErrorCode::FRAME_SIZE_ERROR
            } else {
                ErrorCode::PROTOCOL_ERROR
            };
            return Ok(After::Break(stream, code));
        }
        Ok(match header.kind {
            Kind::Settings | Kind::Ping | Kind::Priority | PRIORITY_UPDATE => {
                self.pass_control(place)
            }
            Kind::WindowUpdate if stream == 0 || self.streams.is_permitted(stream) => {
                self.pass_control(place)
            }
            Kind::WindowUpdate if stream > newest => return Err(IDLE.into()),
            _ => After::Hidden,
        })
    }

    pub(super) fn take_data(
        &mut self,
        newest: u32,
        stream: u32,
        is_last: bool,
        fault: Option<ParseError>,
        place: &Place,
    ) -> Result<After, Broken> {
        let is_inside = self.passing == Some(Passing::Forwarded);
        if let Some(fault) = fault.filter(|_| self.streams.is_permitted(stream)) {
            // The server has the front of the frame: it could be sent no other that it would read.
            if is_inside {
                return Err(fault.into());
            }
            self.replies.give_back(place.payload());
            return Ok(After::Break(stream, ErrorCode::PROTOCOL_ERROR));
        }
        match self.streams.state(stream) {
            Known::Permitted(permit) => {
                self.outgoing.forward(permit, place.range.clone());
            }
            // The padding behind the last payload.
            Known::Done(permit) if is_inside => {
                self.outgoing.forward(permit, place.range.clone());
            }
            Known::Refused => {
                self.swallow(stream, place.payload(), is_last);
                return Ok(After::Hidden);
            }
            Known::Unknown if stream > newest => return Err(IDLE.into()),
            Known::Done(_) | Known::Unknown => {
                self.replies.give_back(place.payload());
                // Once a frame, however its bytes come.
                return Ok(if place.is_at_frame {
                    After::Break(stream, ErrorCode::STREAM_CLOSED)
                } else {
                    After::Hidden
                });
            }
        }
        self.passing = Some(Passing::Forwarded);
        if is_last {
            self.streams.end(stream);
        }
        Ok(After::Told)
    }

    /// Payload that nobody reads, or the end of it: its windows are given back.
    pub(super) fn swallow(&mut self, stream: u32, bytes: usize, is_last: bool) {
        self.replies.give_back(bytes);
        match self.streams.swallow(stream, bytes, is_last) {
            Heard::More => self.replies.push(Reply::Window { stream, bytes }),
            Heard::Answer(answer) => self.replies.push(Reply::Answer {
                stream,
                answer,
                is_unfinished: !is_last,
            }),
            Heard::Nothing => {}
        }
    }

    /// A reset that the server would not know what to do with stays here.
    pub(super) fn take_reset(
        &mut self,
        newest: u32,
        stream: u32,
        place: &Place,
    ) -> Result<After, Broken> {
        if stream > newest {
            return Err(IDLE.into());
        }
        let is_permitted = self.streams.is_permitted(stream);
        self.streams.end(stream);
        if !is_permitted {
            return Ok(After::Hidden);
        }
        Ok(self.pass_control(place))
    }

    /// Ends a stream on both sides.
    pub(super) fn break_stream(&mut self, stream: u32, code: ErrorCode) {
        self.replies.push(Reply::Reset { stream, code });
        if self.streams.revoke(stream) {
            let reset = Frame::RstStream(ErrorCode::CANCEL);
            self.outgoing.write_frame(stream, &reset);
        }
    }
}
