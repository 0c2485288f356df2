//! What goes on to the server: ranges of the client's bytes as they came, and frames written anew.

use std::io::IoSlice;
use std::ops::Range;

use parsers::http2::{Flags, Frame, Priority};

use super::FRAME_BYTES;
use crate::policy::Permit;

/// Pieces for the server, in order.
#[derive(Debug, Default)]
pub(in crate::proxy::enforce) struct Outgoing {
    pieces: Vec<Piece>,
    written: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Bytes of the client, by their place in what the caller holds.
    Received(Range<usize>),
    /// Bytes that were written here.
    Written(Range<usize>),
}

impl Outgoing {
    /// Frames of a permitted stream. There is no other way for payload.
    pub(super) fn forward(&mut self, _by: &Permit, range: Range<usize>) {
        self.push(range);
    }

    /// Frames that belong to no stream, or only end or pace one.
    pub(super) fn forward_control(&mut self, range: Range<usize>) {
        self.push(range);
    }

    fn push(&mut self, range: Range<usize>) {
        match self.pieces.last_mut() {
            Some(Piece::Received(last)) if last.end == range.start => last.end = range.end,
            Some(_) | None => self.pieces.push(Piece::Received(range)),
        }
    }

    /// A header block of a permitted stream.
    pub(super) fn write_block(
        &mut self,
        _by: &Permit,
        stream: u32,
        is_last: bool,
        priority: Option<Priority>,
        block: &[u8],
    ) {
        let flags = if is_last {
            Flags::END_STREAM
        } else {
            Flags::NONE
        };
        self.write(|out| {
            Frame::write_request_block(stream, flags, priority, block, FRAME_BYTES, out);
        });
    }

    /// A frame of ours.
    pub(super) fn write_frame(&mut self, stream: u32, frame: &Frame<'_>) {
        self.write(|out| frame.write(stream, Flags::NONE, out));
    }

    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.written.len();
        write(&mut self.written);
        let end = self.written.len();
        match self.pieces.last_mut() {
            Some(Piece::Written(last)) if last.end == start => last.end = end,
            Some(_) | None => self.pieces.push(Piece::Written(start..end)),
        }
    }

    pub(in crate::proxy::enforce) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The bytes of all pieces; `received` is what the caller holds.
    pub(in crate::proxy::enforce) fn slices<'b>(
        &'b self,
        received: &'b [u8],
    ) -> impl Iterator<Item = IoSlice<'b>> {
        let written = &*self.written;
        self.pieces.iter().map(move |piece| {
            let (bytes, range) = match piece {
                Piece::Received(range) => (received, range),
                Piece::Written(range) => (written, range),
            };
            IoSlice::new(bytes.get(range.clone()).unwrap_or_default())
        })
    }

    /// All has gone on.
    pub(in crate::proxy::enforce) fn clear(&mut self) {
        /// More is not kept for a connection that may be idle.
        const KEPT_BYTES: usize = 4096;
        self.pieces.clear();
        self.written.clear();
        self.written.shrink_to(KEPT_BYTES);
    }
}
