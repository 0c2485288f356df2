//! Finding frames where the last boundary is not known: a chain of plausible frames.
//!
//! Each frame of a chain adds evidence, counted in bits: how unlikely other bytes look like it. A
//! place is taken when its chain has enough, and given up as soon as a frame is impossible or the
//! chain is long without saying much. In between, more bytes are waited for, so that the answer does
//! not depend on how the input was cut.

use super::PREFACE;
use super::frame::{Flags, Frame, FrameHeader, Kind};
use super::headers::role_by_fields;
use crate::Direction;
use crate::hpack::{Decoder, HeaderList};
use crate::limits::Limits;

/// Bits of evidence that settle it where frames are known to be.
pub(crate) const ENOUGH: u32 = 48;
/// Bits of evidence that settle it where they may not be.
pub(crate) const PLENTY: u32 = 80;
/// A chain is followed no further than that, in bytes.
const REACH: usize = 48 << 10;
/// Senders rarely use larger frames, and noise often looks like them.
const USUAL_FRAME_BYTES: u32 = 1 << 14;
const LARGE_FRAME_BYTES: u32 = 1 << 20;

/// What looking through bytes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scan {
    /// No frame starts in front of it.
    pub(crate) start: usize,
    /// Whether one starts there; otherwise it takes more bytes to tell.
    pub(crate) is_found: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    Open,
    Impossible,
}

/// Looks for the first place where a chain of frames starts.
pub(crate) fn scan(direction: Direction, bytes: &[u8], limits: &Limits, enough: u32) -> Scan {
    for start in 0..bytes.len() {
        let rest = bytes.get(start..).unwrap_or_default();
        if direction == Direction::ToServer && is_preface(rest) {
            let is_found = rest.len() >= PREFACE.len();
            return Scan { start, is_found };
        }
        if !may_start(rest) {
            continue;
        }
        match follow(direction, rest, limits, enough) {
            Verdict::Impossible => {}
            verdict => {
                let is_found = verdict == Verdict::Taken;
                return Scan { start, is_found };
            }
        }
    }
    Scan {
        start: bytes.len(),
        is_found: false,
    }
}

/// Whether a chain of frames starts right at the front; `None` while that cannot be told.
pub(crate) fn starts(
    direction: Direction,
    bytes: &[u8],
    limits: &Limits,
    enough: u32,
) -> Option<bool> {
    match follow(direction, bytes, limits, enough) {
        Verdict::Taken => Some(true),
        Verdict::Open => None,
        Verdict::Impossible => Some(false),
    }
}

/// Whether the preface is at the front, or as much of it as there are bytes.
fn is_preface(bytes: &[u8]) -> bool {
    bytes.first() == PREFACE.first() && (bytes.starts_with(PREFACE) || PREFACE.starts_with(bytes))
}

/// Most places fail by their first bytes.
fn may_start(bytes: &[u8]) -> bool {
    let is_length = bytes.first().is_none_or(|high| *high <= 0x10);
    is_length && bytes.get(3).is_none_or(|kind| *kind <= 0x10)
}

fn follow(direction: Direction, bytes: &[u8], limits: &Limits, enough: u32) -> Verdict {
    let reach = bytes.get(..REACH).unwrap_or(bytes);
    let mut chain = Chain {
        direction,
        limits,
        evidence: 0,
        block: None,
        streams: [0; 4],
    };
    let mut rest = reach;
    while let Some(header) = FrameHeader::read(rest) {
        let payload = rest.get(FrameHeader::BYTES..header.frame_bytes());
        let Some(bits) = chain.weigh(rest, header, payload) else {
            return Verdict::Impossible;
        };
        if payload.is_none() && !is_told_by_header(header) {
            break;
        }
        chain.evidence += bits;
        if chain.evidence >= enough {
            return Verdict::Taken;
        }
        match rest.get(header.frame_bytes()..) {
            Some(after) if payload.is_some() => rest = after,
            Some(_) | None => break,
        }
    }
    if reach.len() == REACH {
        Verdict::Impossible
    } else {
        Verdict::Open
    }
}

struct Chain<'l> {
    direction: Direction,
    limits: &'l Limits,
    evidence: u32,
    /// The stream whose header block has no end yet.
    block: Option<u32>,
    /// Streams of the latest frames: noise does not repeat itself.
    streams: [u32; 4],
}

impl Chain<'_> {
    /// Evidence of a frame in bits; `None` if it cannot be one.
    fn weigh(&mut self, bytes: &[u8], header: FrameHeader, payload: Option<&[u8]>) -> Option<u32> {
        let is_reserved_set = bytes.get(5).is_some_and(|byte| byte & 0x80 != 0);
        let unknown_flags = header.flags.without(known_flags(header.kind));
        if header.check().is_err() || is_reserved_set || unknown_flags != Flags::NONE {
            return None;
        }
        let is_continuation = header.kind == Kind::Continuation;
        if self.block.is_some() != is_continuation
            || self.block.is_some_and(|stream| stream != header.stream)
        {
            return None;
        }
        // The end of a text looks like a long DATA frame if zeros follow it.
        let is_start = self.evidence == 0;
        if is_start && header.kind == Kind::Data && header.stream >= 1 << 24 {
            return None;
        }
        let longest = if header.kind == Kind::Data && !is_start {
            LARGE_FRAME_BYTES
        } else {
            USUAL_FRAME_BYTES
        };
        if header.length > longest {
            return None;
        }
        let of_payload = match payload {
            Some(payload) => self.weigh_payload(header, payload)?,
            None => 0,
        };
        Some(self.weigh_header(header)? + self.weigh_stream(header.stream) + of_payload)
    }

    fn weigh_header(&mut self, header: FrameHeader) -> Option<u32> {
        Some(match header.kind {
            Kind::Data if header.length == 0 && !header.flags.has(Flags::END_STREAM) => {
                return None;
            }
            Kind::Data if header.length > USUAL_FRAME_BYTES => 4,
            Kind::Data => 12,
            Kind::Headers => {
                if header.length == 0 || self.direction == Direction::ToServer && is_even(header) {
                    return None;
                }
                let ends = header.flags.has(Flags::END_HEADERS);
                self.block = (!ends).then_some(header.stream);
                16
            }
            Kind::PushPromise if self.direction == Direction::ToServer => return None,
            Kind::PushPromise => {
                let ends = header.flags.has(Flags::END_HEADERS);
                self.block = (!ends).then_some(header.stream);
                16
            }
            Kind::Continuation => {
                if header.flags.has(Flags::END_HEADERS) {
                    self.block = None;
                }
                24
            }
            // Short numbers among zeros, as other protocols have too.
            Kind::Settings if header.flags.has(Flags::ACK) => 16,
            Kind::Settings if header.length == 0 => 8,
            Kind::Settings
            | Kind::RstStream
            | Kind::GoAway
            | Kind::Priority
            | Kind::WindowUpdate => 20,
            Kind::Ping => 24,
            // ALTSVC, ORIGIN, PRIORITY_UPDATE.
            Kind::Unknown(0xa | 0xc | 0x10) => 4,
            Kind::Unknown(_) => return None,
        })
    }

    fn weigh_stream(&mut self, stream: u32) -> u32 {
        if stream == 0 {
            return 0;
        }
        let is_seen = self.streams.contains(&stream);
        self.streams.rotate_right(1);
        if let Some(slot) = self.streams.first_mut() {
            *slot = stream;
        }
        if is_seen { 12 } else { 0 }
    }

    fn weigh_payload(&self, header: FrameHeader, payload: &[u8]) -> Option<u32> {
        const KNOWN_SETTINGS: u16 = 0x10;
        /// What gRPC implementations add.
        const GRPC_SETTING: u16 = 0xfe03;
        match Frame::read(header, payload).ok()? {
            Frame::Headers { fragment, .. } | Frame::PushPromise { fragment, .. }
                if header.flags.has(Flags::END_HEADERS) =>
            {
                self.weigh_block(fragment)
            }
            Frame::Settings(settings) => {
                let is_known = |id| id <= KNOWN_SETTINGS || id == GRPC_SETTING;
                let all_known = settings.iter().all(|(id, _)| is_known(id));
                all_known.then_some(if settings.is_empty() { 0 } else { 12 })
            }
            Frame::RstStream(code) | Frame::GoAway { code, .. } => {
                code.name().is_some().then_some(12)
            }
            Frame::Data { .. }
            | Frame::Headers { .. }
            | Frame::PushPromise { .. }
            | Frame::Priority(_)
            | Frame::Ping(_)
            | Frame::WindowUpdate(_)
            | Frame::Continuation { .. }
            | Frame::Unknown { .. } => Some(0),
        }
    }

    /// A block that can be decoded says much, one that begins a message nearly everything.
    fn weigh_block(&self, block: &[u8]) -> Option<u32> {
        let mut decoder = Decoder::mid_stream(self.limits);
        decoder.decode(block).ok()?;
        let list = decoder.list();
        if list.is_empty() || !is_plausible(&list) {
            return None;
        }
        Some(if role_by_fields(&list).is_some() {
            32
        } else {
            12
        })
    }
}

/// Whether the payload cannot show that it was no frame. All others are judged whole: what was taken
/// by its header must not become impossible with more bytes.
fn is_told_by_header(header: FrameHeader) -> bool {
    header.kind == Kind::Data && !header.flags.has(Flags::PADDED)
}

/// Known names must be names.
fn is_plausible(list: &HeaderList<'_>) -> bool {
    use crate::hpack::Marks;
    let bad = Marks::BAD_NAME.with(Marks::BAD_VALUE);
    list.refs().iter().all(|field| !field.marks.has(bad))
}

fn is_even(header: FrameHeader) -> bool {
    header.stream & 1 == 0
}

fn known_flags(kind: Kind) -> Flags {
    match kind {
        Kind::Data => Flags::END_STREAM.with(Flags::PADDED),
        Kind::Headers => Flags::END_STREAM
            .with(Flags::END_HEADERS)
            .with(Flags::PADDED)
            .with(Flags::PRIORITY),
        Kind::Settings | Kind::Ping => Flags::ACK,
        Kind::PushPromise => Flags::END_HEADERS.with(Flags::PADDED),
        Kind::Continuation => Flags::END_HEADERS,
        Kind::Priority | Kind::RstStream | Kind::GoAway | Kind::WindowUpdate | Kind::Unknown(_) => {
            Flags::NONE
        }
    }
}
