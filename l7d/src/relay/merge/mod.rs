//! Many streams, each in the order of time, → one.
//!
//! Sans-IO: who reads the streams says what came and when ([`Merge::join`], [`Merge::handle_item`],
//! [`Merge::handle_end`]) and asks what may go out ([`Merge::poll_item`]), again when something came or
//! [`Merge::deadline`] has passed.
//!
//! An item may go when every other stream has one as well, or has passed its time. Whom that waits for is
//! bounded:
//!
//! | stream | is waited for |
//! |---|---|
//! | it ends by itself, or tells of the past | while it speaks; [`Settings::patience`] where it is silent, [`TOTAL`] of these in all |
//! | it tells of now | nobody waits for it, but every item rests for [`Settings::settle`] |
//!
//! Hence a node that hangs costs the others one patience, once, and each item of a live view at most what
//! all items may rest. A clock that is ahead is taken for the time of arrival and half a rest; one that is
//! behind sorts its items to the front and delays nobody's. Neither is corrected in what goes out.
//!
//! Memory is bounded by [`Settings::bytes`]: what ends by itself is not read on ([`Merge::wants`]) while
//! its items wait, what goes on goes out before it has rested.

mod rest;
mod waiting;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use crate::clock::{Monotonic, Timestamp};
use rest::Rest;
use waiting::Waiting;

/// A stream is waited for so many patiences in all: one that says a word now and then holds up nobody for
/// long.
pub const TOTAL: u32 = 10;

/// A moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// For durations.
    pub at: Monotonic,
    /// What honest items of this moment say.
    pub wall: Timestamp,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self {
            at: Monotonic::now(),
            wall: Timestamp::now(),
        }
    }
}

/// Whether streams end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// They do: what there is, and no more.
    Finite,
    /// They go on with what comes.
    Live {
        /// They tell of the past first.
        has_history: bool,
    },
}

/// How long who is waited for, and how much is kept meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether streams end by themselves.
    pub pace: Pace,
    /// How long a stream that tells of the past may be silent before the others go on without it.
    pub patience: Duration,
    /// How long an item of a live view rests, for what is older and still on its way.
    pub settle: Duration,
    /// Most bytes of items that are kept, as whoever hands them over counts them.
    pub bytes: usize,
}

/// A stream of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

/// What became of items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Went out.
    pub released: u64,
    /// Of these: after one with a later time.
    pub late: u64,
    /// Of these: before they had rested, since too many bytes were kept.
    pub hurried: u64,
}

impl Tally {
    /// What was added to an earlier one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            released: self.released.saturating_sub(earlier.released),
            late: self.late.saturating_sub(earlier.late),
            hurried: self.hurried.saturating_sub(earlier.hurried),
        }
    }
}

/// The merge of some streams.
#[derive(Debug)]
pub struct Merge<T> {
    settings: Settings,
    next: u32,
    streams: BTreeMap<StreamId, Stream>,
    /// Streams that have no item here, by how far they are.
    waiting: Waiting,
    items: BinaryHeap<Reverse<Entry<T>>>,
    /// How long the items have been here.
    rest: Rest,
    bytes: usize,
    /// Since when an item waits for a stream that is silent.
    blocked: Option<Monotonic>,
    deadline: Option<Monotonic>,
    /// Time of the item that went out last.
    last: Timestamp,
    tally: Tally,
}

#[derive(Debug)]
struct Stream {
    /// Time of its last item.
    last: Timestamp,
    /// Items of it that are here.
    kept: usize,
    phase: Phase,
    /// Since when nothing of it is here.
    silent: Monotonic,
    /// How long it was waited for.
    waited: Duration,
    /// When it joined: what is older is the past.
    joined: Timestamp,
    has_ended: bool,
}

/// Whether a stream is waited for while it is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is.
    Past,
    /// Items rest instead.
    Live,
    /// It is not, until it speaks again.
    GivenUp,
}

#[derive(Debug)]
struct Entry<T> {
    time: Timestamp,
    /// Of arrival, from 0: equal times stay in the order in which they came.
    number: u64,
    stream: StreamId,
    bytes: usize,
    item: T,
}

impl<T> Merge<T> {
    /// A merge of no streams.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            next: 0,
            streams: BTreeMap::new(),
            waiting: Waiting::new(settings.patience),
            items: BinaryHeap::new(),
            rest: Rest::default(),
            bytes: 0,
            blocked: None,
            deadline: None,
            last: Timestamp(0),
            tally: Tally::default(),
        }
    }

    /// Another stream.
    pub fn join(&mut self, now: Moment) -> StreamId {
        let phase = match self.settings.pace {
            Pace::Finite | Pace::Live { has_history: true } => Phase::Past,
            Pace::Live { has_history: false } => Phase::Live,
        };
        self.add(phase, now)
    }

    /// A stream that goes on where another broke off: what it tells of the past comes too late in any
    /// case, so that nobody waits for it.
    pub fn rejoin(&mut self, now: Moment) -> StreamId {
        let phase = match self.settings.pace {
            Pace::Finite => Phase::GivenUp,
            Pace::Live { .. } => Phase::Live,
        };
        self.add(phase, now)
    }

    fn add(&mut self, phase: Phase, now: Moment) -> StreamId {
        let id = StreamId(self.next);
        self.next = self.next.wrapping_add(1);
        let stream = Stream {
            last: Timestamp(0),
            kept: 0,
            phase,
            silent: now.at,
            waited: Duration::ZERO,
            joined: now.wall,
            has_ended: false,
        };
        self.waiting.begin(id, &stream);
        self.streams.insert(id, stream);
        id
    }

    /// An item of a stream, and how many bytes it is to count for.
    pub fn handle_item(
        &mut self,
        id: StreamId,
        time: Timestamp,
        bytes: usize,
        item: T,
        now: Moment,
    ) {
        let time = self.plausible(time, now);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.kept == 0 {
            self.waiting.end(id, stream);
            if let Some(blocked) = self.blocked {
                let waited = now.at.nanos_since(blocked.max(stream.silent));
                stream.waited += Duration::from_nanos(waited);
            }
        }
        stream.last = time;
        stream.kept += 1;
        stream.hear(self.settings);
        self.bytes += bytes;
        self.items.push(Reverse(Entry {
            time,
            number: self.rest.begin(now.at),
            stream: id,
            bytes,
            item,
        }));
    }

    /// Nothing more will come of a stream.
    pub fn handle_end(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.has_ended = true;
        if stream.kept == 0 {
            self.waiting.end(id, stream);
            self.streams.remove(&id);
        }
    }

    /// The next item that may go out now.
    pub fn poll_item(&mut self, now: Moment) -> Option<T> {
        self.deadline = None;
        let Reverse(first) = self.items.peek()?;
        let time = first.time;
        self.waiting
            .give_up(now.at, self.settings, &mut self.streams);
        if let Some(until) = self.blocked_until(time, now) {
            if !self.must_hurry() {
                self.deadline = Some(until);
                self.blocked.get_or_insert(now.at);
                return None;
            }
            self.tally.hurried += 1;
        }
        self.blocked = None;
        self.release(now)
    }

    /// When to ask again though nothing came.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.deadline
    }

    /// Whether to read on from a stream.
    pub fn wants(&self, id: StreamId) -> bool {
        let has_room = self.bytes < self.settings.bytes;
        let is_needed = || self.streams.get(&id).is_none_or(|stream| stream.kept == 0);
        has_room || self.settings.pace != Pace::Finite || is_needed()
    }

    /// Whether all streams have ended and everything went out.
    pub fn is_over(&self) -> bool {
        self.streams.is_empty()
    }

    /// Bytes of items that are here.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What became of items.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Nothing that happens now is much later than now.
    fn plausible(&self, time: Timestamp, now: Moment) -> Timestamp {
        if self.settings.pace == Pace::Finite {
            return time;
        }
        let lead = nanos(self.settings.settle / 2);
        time.min(Timestamp(now.wall.0.saturating_add(lead)))
    }

    /// Until when the first item has to wait, where nothing comes.
    fn blocked_until(&self, time: Timestamp, now: Moment) -> Option<Monotonic> {
        if let Some(until) = self.waiting.past_before(time) {
            return Some(until);
        }
        if !self.waiting.is_live_before(time) {
            return None;
        }
        let oldest = self.rest.oldest()?;
        let rested = Monotonic(oldest.0.saturating_add(nanos(self.settings.settle)));
        (now.at < rested).then_some(rested)
    }

    fn must_hurry(&self) -> bool {
        self.settings.pace != Pace::Finite && self.bytes > self.settings.bytes
    }

    fn release(&mut self, now: Moment) -> Option<T> {
        let Reverse(entry) = self.items.pop()?;
        self.rest.end(entry.number);
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        self.tally.released += 1;
        self.tally.late += u64::from(entry.time < self.last);
        self.last = entry.time;
        if let Some(stream) = self.streams.get_mut(&entry.stream) {
            stream.kept = stream.kept.saturating_sub(1);
            match (stream.kept, stream.has_ended) {
                (0, true) => {
                    self.streams.remove(&entry.stream);
                }
                (0, false) => {
                    // Before, it was not read on, or nobody wanted to know.
                    stream.silent = now.at;
                    self.waiting.begin(entry.stream, stream);
                }
                (_, _) => {}
            }
        }
        Some(entry.item)
    }
}

impl Stream {
    /// It has spoken.
    fn hear(&mut self, settings: Settings) {
        let is_patient = self.waited < settings.patience.saturating_mul(TOTAL);
        self.phase = match (settings.pace, self.phase) {
            (Pace::Finite, _) if is_patient => Phase::Past,
            (Pace::Finite, _) => Phase::GivenUp,
            (Pace::Live { .. }, Phase::Past) if is_patient && self.last < self.joined => {
                Phase::Past
            }
            (Pace::Live { .. }, _) => Phase::Live,
        };
    }

    /// It was silent for too long.
    fn give_up(&mut self, settings: Settings) {
        self.phase = match settings.pace {
            Pace::Finite => Phase::GivenUp,
            Pace::Live { .. } => Phase::Live,
        };
    }
}

impl<T> Entry<T> {
    fn rank(&self) -> (Timestamp, u64) {
        (self.time, self.number)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
