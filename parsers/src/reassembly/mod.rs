//! Segments of a TCP connection → the bytes of both directions, in order (RFC 9293 §3.4, §3.10).
//!
//! Bytes are handed out as they become contiguous, without a copy where they come in order. What a
//! capture lacks is a gap: it is told, with its size, once the other side has acknowledged bytes
//! beyond it (so that they did arrive, and only the capture lost them) and later ones have come, or
//! when what waits behind it passes its bound. Nothing is guessed.
//!
//! Where two copies of a byte differ, the first one counts, as in Linux.

use std::collections::BTreeMap;

use crate::Direction;
use crate::packet::{Tcp, TcpFlags};

/// Bounds of what waits for earlier bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReassemblyLimits {
    /// Most bytes that wait in one direction.
    pub bytes: usize,
    /// Most segments that wait in one direction.
    pub segments: usize,
}

impl Default for ReassemblyLimits {
    fn default() -> Self {
        Self {
            bytes: 4 << 20,
            segments: 4096,
        }
    }
}

/// What comes out, in the order of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'b> {
    /// The next bytes.
    Bytes(&'b [u8]),
    /// That many bytes were not captured.
    Gap(u64),
    /// The sender has no more: it said so, or reset the connection.
    End,
}

/// Segments behind a hole that were acknowledged and not filled by this many later segments: the
/// hole stays. Captures on several queues hand over neighbours in another order, never so far apart.
const PATIENCE_SEGMENTS: u32 = 8;

/// Both directions of a connection.
#[derive(Debug)]
pub struct Reassembly {
    limits: ReassemblyLimits,
    halves: [Half; 2],
    conflicts: u64,
}

/// One direction. Offsets count from the first byte of the stream, without wrapping.
#[derive(Debug, Default)]
struct Half {
    /// Sequence number of offset 0; unknown before the first segment.
    base: Option<u32>,
    /// First byte not handed out yet.
    next: u64,
    /// Beyond every byte that the other side has acknowledged.
    acknowledged: u64,
    /// What waits for earlier bytes, by offset; pieces do not overlap.
    waiting: BTreeMap<u64, Waiting>,
    waiting_bytes: usize,
    /// Segments that came while the present hole was acknowledged.
    patience: u32,
    /// Offset of the end, once it was said.
    end: Option<u64>,
    is_over: bool,
}

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    /// Bytes behind them that were cut off by the capture.
    missing: u64,
}

fn index(direction: Direction) -> usize {
    match direction {
        Direction::ToServer => 0,
        Direction::ToClient => 1,
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::ToServer => Direction::ToClient,
        Direction::ToClient => Direction::ToServer,
    }
}

impl Reassembly {
    /// A connection of which nothing was seen yet.
    pub fn new(limits: ReassemblyLimits) -> Self {
        Self {
            limits,
            halves: [Half::default(), Half::default()],
            conflicts: 0,
        }
    }

    /// Takes a segment that goes in `direction`; what becomes contiguous goes to `sink`.
    pub fn handle_segment(
        &mut self,
        direction: Direction,
        segment: &Tcp<'_>,
        sink: &mut impl FnMut(Direction, Piece<'_>),
    ) {
        if segment.flags.has(TcpFlags::ACK) {
            self.acknowledge(opposite(direction), segment, sink);
        }
        let limits = self.limits;
        let Some(half) = self.halves.get_mut(index(direction)) else {
            return;
        };
        self.conflicts += half.take(segment, &limits, &mut |piece| sink(direction, piece));
        if segment.flags.has(TcpFlags::RST) {
            self.close(sink);
        }
    }

    /// Notes what the other side has received.
    fn acknowledge(
        &mut self,
        direction: Direction,
        segment: &Tcp<'_>,
        sink: &mut impl FnMut(Direction, Piece<'_>),
    ) {
        let Some(half) = self.halves.get_mut(index(direction)) else {
            return;
        };
        // A connection that was open before the capture began goes on where its peer expects it to.
        let base = *half.base.get_or_insert(segment.acknowledged);
        let offset = half.offset(base, segment.acknowledged);
        half.acknowledged = half.acknowledged.max(offset);
        half.skip_lost(&mut |piece| sink(direction, piece));
    }

    /// No more segments come: what waits is handed out, with the gaps before it.
    pub fn close(&mut self, sink: &mut impl FnMut(Direction, Piece<'_>)) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            if let Some(half) = self.halves.get_mut(index(direction)) {
                half.flush(&mut |piece| sink(direction, piece));
            }
        }
    }

    /// Whether both directions have ended.
    pub fn is_over(&self) -> bool {
        self.halves.iter().all(|half| half.is_over)
    }

    /// Whether a first segment of this number begins another connection than this one.
    pub fn is_another(&self, direction: Direction, first: &Tcp<'_>) -> bool {
        let half = self.halves.get(index(direction));
        half.and_then(|half| half.base)
            .is_some_and(|base| base != first.sequence.wrapping_add(1))
    }

    /// Whether a segment brings bytes beyond the end: the reset or the end that was seen did not count
    /// for the other side, and the connection goes on.
    pub fn goes_on(&self, direction: Direction, segment: &Tcp<'_>) -> bool {
        let half = self.halves.get(index(direction));
        half.is_some_and(|half| {
            let is_beyond = half
                .base
                .is_some_and(|base| half.offset(base, segment.sequence) >= half.next);
            half.is_over && !segment.payload.is_empty() && is_beyond
        })
    }

    /// Bytes that wait in both directions.
    pub fn waiting_bytes(&self) -> usize {
        self.halves.iter().map(|half| half.waiting_bytes).sum()
    }

    /// Bytes that came twice and were not the same.
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }
}

impl Half {
    /// Offset of a sequence number, as the one of the possible that is nearest to what comes next.
    fn offset(&self, base: u32, sequence: u32) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "sequence numbers are offsets modulo 2³²"
        )]
        let expected = base.wrapping_add(self.next as u32);
        #[expect(
            clippy::cast_possible_wrap,
            reason = "the distance is signed: before or after what is expected"
        )]
        let distance = sequence.wrapping_sub(expected) as i32;
        self.next.saturating_add_signed(i64::from(distance))
    }

    fn take(
        &mut self,
        segment: &Tcp<'_>,
        limits: &ReassemblyLimits,
        sink: &mut impl FnMut(Piece<'_>),
    ) -> u64 {
        if self.is_over {
            return 0;
        }
        let is_first = segment.flags.has(TcpFlags::SYN);
        let sequence = segment.sequence.wrapping_add(u32::from(is_first));
        if is_first && self.next == 0 && self.waiting.is_empty() {
            // The numbers start here, whatever was guessed from an acknowledgement.
            self.base = Some(sequence);
        }
        let carries_something =
            !segment.payload.is_empty() || segment.missing > 0 || segment.flags.has(TcpFlags::FIN);
        if !carries_something {
            return 0;
        }
        let mut base = *self.base.get_or_insert(sequence);
        if self.next == 0 && sequence.wrapping_sub(base) > i32::MAX.unsigned_abs() {
            if !self.begin_earlier(base.wrapping_sub(sequence), segment) {
                return 0;
            }
            base = sequence;
        }
        let start = self.offset(base, sequence);
        let missing = u64::try_from(segment.missing).unwrap_or_default();
        let conflicts = self.place(start, segment.payload, missing, sink);
        if segment.flags.has(TcpFlags::FIN) {
            let length = u64::try_from(segment.payload.len()).unwrap_or_default();
            self.end = Some(start + length + missing);
        }
        self.hand_out(sink);
        self.skip_lost(sink);
        let is_too_much = self.waiting_bytes > limits.bytes || self.waiting.len() > limits.segments;
        if is_too_much {
            self.skip_hole(sink);
        }
        conflicts
    }

    /// The stream was thought to begin where its peer expected it to go on, and an earlier segment
    /// comes: captures hand over neighbours in another order. A keep-alive probe repeats one old
    /// byte, or none (RFC 9293 §3.8.4), and is no such segment.
    fn begin_earlier(&mut self, by: u32, segment: &Tcp<'_>) -> bool {
        if segment.payload.len() <= 1 || !self.waiting.is_empty() {
            return false;
        }
        self.base = Some(segment.sequence);
        self.acknowledged += u64::from(by);
        true
    }

    /// Puts bytes to their place: out at once where they are next, else among those that wait.
    fn place(
        &mut self,
        start: u64,
        bytes: &[u8],
        missing: u64,
        sink: &mut impl FnMut(Piece<'_>),
    ) -> u64 {
        let old = usize::try_from(self.next.saturating_sub(start)).unwrap_or(usize::MAX);
        let (start, bytes, missing) = if let Some(fresh) = bytes.get(old..) {
            (start.max(self.next), fresh, missing)
        } else {
            let beyond = (old - bytes.len()) as u64;
            (self.next, &[][..], missing.saturating_sub(beyond))
        };
        if bytes.is_empty() && missing == 0 {
            return 0;
        }
        if start == self.next && self.waiting.is_empty() {
            self.emit(bytes, missing, sink);
            return 0;
        }
        self.wait(start, bytes, missing)
    }

    fn emit(&mut self, bytes: &[u8], missing: u64, sink: &mut impl FnMut(Piece<'_>)) {
        if !bytes.is_empty() {
            self.next += bytes.len() as u64;
            sink(Piece::Bytes(bytes));
        }
        if missing > 0 {
            self.next += missing;
            sink(Piece::Gap(missing));
        }
    }

    /// Keeps bytes where nothing is yet; returns how many differ from what is there already.
    fn wait(&mut self, start: u64, bytes: &[u8], missing: u64) -> u64 {
        let end = start + bytes.len() as u64;
        let mut conflicts = 0;
        let mut at = start;
        let before = self
            .waiting
            .range(..=start)
            .next_back()
            .map(|(place, _)| *place);
        let from = before.unwrap_or(start);
        let mut fresh: Vec<(u64, Vec<u8>)> = Vec::new();
        for (place, kept) in self.waiting.range(from..end) {
            let kept_end = place + kept.bytes.len() as u64;
            conflicts += differing(start, bytes, *place, &kept.bytes);
            if *place > at {
                fresh.push((at, part(start, bytes, at, *place)));
            }
            at = at.max(kept_end);
        }
        if end > at || (bytes.is_empty() && missing > 0) {
            fresh.push((at, part(start, bytes, at, end)));
        }
        let last = fresh.len();
        for (number, (place, bytes)) in fresh.into_iter().enumerate() {
            // What was cut off is behind the last of them.
            let missing = if number + 1 == last { missing } else { 0 };
            self.waiting_bytes += bytes.len();
            self.waiting
                .entry(place)
                .or_insert(Waiting { bytes, missing });
        }
        conflicts
    }

    /// Hands out what is contiguous now, and the end.
    fn hand_out(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.next {
                break;
            }
            self.patience = 0;
            let (place, waiting) = entry.remove_entry();
            self.waiting_bytes -= waiting.bytes.len();
            let old = usize::try_from(self.next - place).unwrap_or(usize::MAX);
            let fresh = waiting.bytes.get(old..).unwrap_or_default();
            let beyond = old.saturating_sub(waiting.bytes.len()) as u64;
            let missing = waiting.missing.saturating_sub(beyond);
            self.emit(fresh, missing, sink);
        }
        if self.end.is_some_and(|end| self.next >= end) && !self.is_over {
            self.is_over = true;
            sink(Piece::End);
        }
    }

    /// Gives up a hole that the other side has acknowledged and that nothing fills.
    fn skip_lost(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        loop {
            let beyond = self.waiting.first_key_value().map(|(place, _)| *place);
            let Some(beyond) = beyond.or(self.end).filter(|beyond| *beyond > self.next) else {
                return;
            };
            if self.acknowledged < beyond {
                return;
            }
            self.patience += 1;
            if self.patience <= PATIENCE_SEGMENTS {
                return;
            }
            self.patience = 0;
            self.skip_hole(sink);
        }
    }

    /// Tells of the hole before what waits, and goes on behind it.
    fn skip_hole(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        let beyond = self.waiting.first_key_value().map(|(place, _)| *place);
        let Some(beyond) = beyond.or(self.end) else {
            return;
        };
        if beyond > self.next {
            sink(Piece::Gap(beyond - self.next));
            self.next = beyond;
        }
        self.hand_out(sink);
    }

    fn flush(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        while !self.waiting.is_empty() {
            self.skip_hole(sink);
        }
        // Acknowledged bytes that were never seen did arrive.
        if self.acknowledged > self.next && self.base.is_some() && !self.is_over {
            let end = self.end.unwrap_or(self.acknowledged);
            if end > self.next {
                sink(Piece::Gap(end - self.next));
                self.next = end;
            }
        }
        if !self.is_over {
            self.is_over = true;
            sink(Piece::End);
        }
    }
}

/// The bytes of `start..` from `from` to `to`.
fn part(start: u64, bytes: &[u8], from: u64, to: u64) -> Vec<u8> {
    let at = |offset: u64| usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
    bytes.get(at(from)..at(to)).unwrap_or_default().to_vec()
}

/// Bytes at the same offset that are not the same.
fn differing(start: u64, bytes: &[u8], other_start: u64, other: &[u8]) -> u64 {
    let from = start.max(other_start);
    let skip = |start: u64| usize::try_from(from - start).unwrap_or(usize::MAX);
    let ours = bytes.get(skip(start)..).unwrap_or_default();
    let theirs = other.get(skip(other_start)..).unwrap_or_default();
    ours.iter().zip(theirs).filter(|(a, b)| a != b).count() as u64
}

#[cfg(test)]
mod tests;
