//! Streams that have no item here: whether one of them may still bring an older one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Phase, Settings, Stream, StreamId, nanos};
use crate::clock::{Monotonic, Timestamp};

/// Streams without an item, by the time of their last one.
#[derive(Debug)]
pub(super) struct Waiting {
    patience: u64,
    past: BTreeSet<(Timestamp, StreamId)>,
    live: BTreeSet<(Timestamp, StreamId)>,
    /// Before this moment no patience with a stream of the past ends. It may be too early, since streams
    /// that spoke are not taken out of it.
    first_end: Monotonic,
}

impl Waiting {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience: nanos(patience),
            past: BTreeSet::new(),
            live: BTreeSet::new(),
            first_end: Monotonic(u64::MAX),
        }
    }

    /// Nothing of a stream is left.
    pub(super) fn begin(&mut self, id: StreamId, stream: &Stream) {
        match stream.phase {
            Phase::Past => {
                self.first_end = self.first_end.min(self.end_of_patience(stream));
                self.past.insert((stream.last, id));
            }
            Phase::Live => {
                self.live.insert((stream.last, id));
            }
            Phase::GivenUp => {}
        }
    }

    /// Something came of it, or it has ended.
    pub(super) fn end(&mut self, id: StreamId, stream: &Stream) {
        match stream.phase {
            Phase::Past => self.past.remove(&(stream.last, id)),
            Phase::Live => self.live.remove(&(stream.last, id)),
            Phase::GivenUp => false,
        };
    }

    /// Gives up streams of the past that were silent for too long.
    pub(super) fn give_up(
        &mut self,
        now: Monotonic,
        settings: Settings,
        streams: &mut BTreeMap<StreamId, Stream>,
    ) {
        if now < self.first_end {
            return;
        }
        self.first_end = Monotonic(u64::MAX);
        for (last, id) in std::mem::take(&mut self.past) {
            let Some(stream) = streams.get_mut(&id) else {
                continue;
            };
            let end = self.end_of_patience(stream);
            if now < end {
                self.first_end = self.first_end.min(end);
                self.past.insert((last, id));
            } else {
                stream.give_up(settings);
                self.begin(id, stream);
            }
        }
    }

    /// When to look again, where a stream of the past may still bring something older than `time`.
    pub(super) fn past_before(&self, time: Timestamp) -> Option<Monotonic> {
        let (last, _) = self.past.first()?;
        (*last < time).then_some(self.first_end)
    }

    /// Whether a live stream may.
    pub(super) fn is_live_before(&self, time: Timestamp) -> bool {
        self.live.first().is_some_and(|(last, _)| *last < time)
    }

    fn end_of_patience(&self, stream: &Stream) -> Monotonic {
        Monotonic(stream.silent.0.saturating_add(self.patience))
    }
}
