//! Header blocks: put together, decoded, and told as what they are on their stream.

use super::frames::{LONG_BLOCK, told};
use super::{Connection, Found};
use crate::Direction;
use crate::error::{Error, Fault};
use crate::http2::Event;
use crate::http2::frame::{Flags, FrameHeader, Priority};
use crate::http2::headers::{Findings, Head, Role, role_by_fields};
use crate::http2::side::Block;

/// A message whose fields are still with their decoder.
pub(super) struct Message {
    stream: u32,
    priority: Option<Priority>,
    promised: Option<u32>,
    role: Role,
}

const EVEN_STREAM: Error = Error::new(Fault::Malformed, "bad-stream-number", "RFC 9113 §5.1.1");
const OLD_STREAM: Error = Error::new(Fault::Malformed, "stream-number-used", "RFC 9113 §5.1.1");

impl Connection {
    /// RFC 9113 §4.3: a block is whole before it is decoded.
    pub(super) fn read_block<'b>(
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
            priority: None,
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
            priority: block.priority,
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

impl Message {
    pub(super) fn into_event(self, head: Head<'_>) -> Event<'_> {
        let Self {
            stream, priority, ..
        } = self;
        match (self.promised, self.role) {
            (Some(promised), _) => Event::Push {
                stream,
                promised,
                head,
            },
            (None, Role::Request) => Event::Request {
                stream,
                priority,
                head,
            },
            (None, Role::Response) => Event::Response { stream, head },
            (None, Role::Trailers) => Event::Trailers { stream, head },
        }
    }
}
