//! Parts of time: the last minutes of what goes on, or all of a recording in as many parts as fit.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Graph, Sighting};
use crate::clock::Timestamp;

/// Most parts.
const SLOTS: usize = 96;
/// Most pairs of nodes in all parts together: what bounds the memory.
const PAIRS: usize = 32_768;
/// A server that has told nothing for so long tells of the past.
const LONG_AGO: Duration = Duration::from_mins(2);
/// How long a part is at first.
const WIDTH: Duration = Duration::from_secs(10);

/// What was seen, by when.
#[derive(Debug, Clone)]
pub struct Timeline {
    keeps: Keeps,
    /// In nanoseconds.
    width: u64,
    /// By their numbers since 1970.
    slots: BTreeMap<u64, Graph>,
}

/// What a timeline keeps when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// The latest.
    Latest,
    /// Everything, in longer parts.
    All,
}

/// What happened in one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bar {
    /// Its beginning.
    pub start: Timestamp,
    /// Requests, or connections where there are none.
    pub calls: u64,
    /// Of them, those that failed.
    pub failed: u64,
    /// What did not go on.
    pub drops: u64,
}

impl Timeline {
    /// The latest 16 minutes.
    pub fn latest() -> Self {
        Self::new(Keeps::Latest)
    }

    /// Everything.
    pub fn all() -> Self {
        Self::new(Keeps::All)
    }

    fn new(keeps: Keeps) -> Self {
        Self {
            keeps,
            width: u64::try_from(WIDTH.as_nanos()).unwrap_or(u64::MAX),
            slots: BTreeMap::new(),
        }
    }

    /// Adds what a flow says; what is older than anything that is kept is left out.
    pub fn add(&mut self, seen: &Sighting) {
        let at = seen.time.0 / self.width;
        if let Some(graph) = self.slots.get_mut(&at) {
            graph.add(seen);
        } else if self.makes_room(at) {
            // Room may have been made by longer parts.
            let at = seen.time.0 / self.width;
            self.slots.entry(at).or_default().add(seen);
        }
    }

    /// Makes room for a part; false where it is too old.
    fn makes_room(&mut self, at: u64) -> bool {
        match self.keeps {
            Keeps::Latest => {
                let last = self
                    .slots
                    .last_key_value()
                    .map_or(at, |(last, _)| at.max(*last));
                let oldest = (last + 1).saturating_sub(SLOTS as u64);
                self.slots = self.slots.split_off(&oldest);
                while self.is_full() {
                    self.slots.pop_first();
                }
                at >= oldest
            }
            Keeps::All => {
                while self.slots.len() >= SLOTS || self.is_full() {
                    self.coarsen();
                }
                true
            }
        }
    }

    fn is_full(&self) -> bool {
        self.slots.len() > 1 && self.slots.values().map(Graph::len).sum::<usize>() >= PAIRS
    }

    /// Makes parts twice as long.
    fn coarsen(&mut self) {
        self.width *= 2;
        for (at, graph) in std::mem::take(&mut self.slots) {
            self.slots.entry(at / 2).or_default().merge(&graph);
        }
    }

    /// When the latest thing was seen.
    pub fn end(&self) -> Option<Timestamp> {
        self.slots.values().map(|graph| graph.last).max()
    }

    /// The latest part of what is kept, of that length or all of it: its beginning, and how many seconds
    /// rates are of. It ends now, or with the last flow where that is long ago: in a recording.
    pub fn window(&self, now: Timestamp, length: Option<Duration>) -> (Timestamp, f64) {
        let end = self.end().unwrap_or(now);
        let end = if self.is_recording(now) {
            end
        } else {
            end.max(now)
        };
        let first = self.slots.values().map(|graph| graph.first).min();
        let first = first.unwrap_or(end);
        let length = length.map(|length| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
        let start = length.map_or(0, |length| end.0.saturating_sub(length));
        // Parts are whole.
        let start = Timestamp(start / self.width * self.width).max(first);
        let nanos = end.0.saturating_sub(start.0);
        (
            start,
            super::overview::spanned(Timestamp(0), Timestamp(nanos)),
        )
    }

    /// Whether the last flow is long ago.
    pub fn is_recording(&self, now: Timestamp) -> bool {
        let long_ago = u64::try_from(LONG_AGO.as_nanos()).unwrap_or(u64::MAX);
        self.end()
            .is_some_and(|end| end.0.saturating_add(long_ago) < now.0)
    }

    /// How long a part is.
    pub fn width(&self) -> Duration {
        Duration::from_nanos(self.width)
    }

    /// What was seen since.
    pub fn since(&self, start: Timestamp) -> Graph {
        let mut merged = Graph::new();
        for (_, graph) in self.slots_since(start) {
            merged.merge(graph);
        }
        merged
    }

    /// The parts since then, of the pairs that `is_meant` says.
    pub fn bars(
        &self,
        start: Timestamp,
        is_meant: impl Fn(&super::Node, &super::Node) -> bool,
    ) -> Vec<Bar> {
        let bars = self.slots_since(start).map(|(at, graph)| {
            let mut bar = Bar {
                start: Timestamp(at * self.width),
                ..Bar::default()
            };
            let meant = graph.edges.iter();
            for (_, edge) in meant.filter(|((client, server), _)| is_meant(client, server)) {
                let counts = edge.counts();
                bar.calls += match counts.calls() {
                    0 => counts.connections(),
                    calls => calls,
                };
                bar.failed += counts.failed + counts.failed_ends;
                bar.drops += edge.drops();
            }
            bar
        });
        bars.collect()
    }

    fn slots_since(&self, start: Timestamp) -> impl Iterator<Item = (&u64, &Graph)> {
        self.slots.range(start.0 / self.width..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::What;
    use crate::map::graph::tests::{answer, sighting};

    fn at(seconds: u64) -> Sighting {
        let mut seen = sighting("shop/web", "shop/cart", answer(1));
        seen.time = Timestamp(seconds * 1_000_000_000);
        seen
    }

    fn calls(bars: &[Bar]) -> u64 {
        bars.iter().map(|bar| bar.calls).sum()
    }

    #[test]
    fn the_latest_minutes_are_kept_and_what_came_before_is_not() {
        let mut timeline = Timeline::latest();
        for second in 0..3600 {
            timeline.add(&at(second));
        }
        timeline.add(&at(1));
        let bars = timeline.bars(Timestamp(0), |_, _| true);
        assert_eq!((bars.len(), calls(&bars)), (96, 960));
        let minute = timeline.since(Timestamp(3_540_000_000_000));
        assert_eq!(minute.flows, 60);
        assert_eq!(timeline.end(), Some(Timestamp(3_599_000_000_000)));
    }

    #[test]
    fn all_of_a_recording_is_kept_however_long_it_is() {
        let mut timeline = Timeline::all();
        for minute in 0..2000 {
            timeline.add(&at(minute * 60));
            timeline.add(&at(7));
        }
        let bars = timeline.bars(Timestamp(0), |_, _| true);
        assert!((48..=96).contains(&bars.len()), "{}", bars.len());
        assert_eq!(calls(&bars), 4000);
        assert!(bars.windows(2).all(|two| two[0].start < two[1].start));
    }

    #[test]
    fn a_window_ends_now_or_with_a_recording() {
        let mut timeline = Timeline::latest();
        for second in 1000..1200 {
            timeline.add(&at(second));
        }
        let minute = Some(Duration::from_mins(1));
        let seconds = |number: u64| Timestamp(number * 1_000_000_000);
        let (start, length) = timeline.window(seconds(1210), minute);
        assert_eq!((start, length.round()), (seconds(1150), 60.0));
        let (start, length) = timeline.window(seconds(90_000), minute);
        assert_eq!((start, length.round()), (seconds(1130), 69.0));
        let (start, length) = timeline.window(seconds(1200), None);
        assert_eq!((start, length.round()), (seconds(1000), 200.0));
    }

    #[test]
    fn bars_are_of_the_pairs_that_are_meant() {
        let mut timeline = Timeline::all();
        timeline.add(&at(1));
        timeline.add(&sighting("shop/web", "pay/api", What::Request));
        let bars = timeline.bars(Timestamp(0), |_, server| server.name == "api");
        assert_eq!(calls(&bars), 1);
    }
}
