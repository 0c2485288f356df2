//! Losses that one who follows flows was not told of yet: each place at most once a second, with the
//! sum (as Hubble since 1.19).

use std::time::Duration;

use proto::flow::{LostEvent, LostEventSource};

use super::flows::source;
use crate::clock::{Monotonic, Timestamp};
use crate::flow::view::timestamp;
use crate::record::{Follower, Loss};

/// Losses are told this often.
const TELL_NS: u64 = 1_000_000_000;

/// What is known to be lost and was not told.
#[derive(Debug)]
pub(crate) struct Untold {
    /// Tells of losses on the way to the flow ring; nobody does to those who do not follow.
    losses: Option<Follower>,
    known: Vec<(LostEventSource, Option<u32>, Loss)>,
    told: Option<Monotonic>,
}

impl Untold {
    pub(crate) fn new(losses: Option<Follower>) -> Self {
        Self {
            losses,
            known: Vec::new(),
            told: None,
        }
    }

    /// Notes records that were overwritten before they were read.
    pub(crate) fn note_overtaken(&mut self, count: u64) {
        let now = Timestamp::now();
        let loss = Loss {
            total: count,
            first: now,
            last: now,
        };
        self.note(LostEventSource::HubbleRingBuffer, None, loss);
    }

    /// Asks what was lost on the way to the flow ring.
    pub(crate) fn look(&mut self) {
        let news = self.losses.as_mut().map(Follower::news);
        for (spot, loss) in news.into_iter().flatten() {
            self.note(source(spot.place), spot.cpu, loss);
        }
    }

    /// Waits for something to look at.
    pub(crate) async fn changed(&mut self) {
        match &mut self.losses {
            Some(losses) => losses.changed().await,
            None => std::future::pending().await,
        }
    }

    /// In how long something is to be told; `None` where nothing is.
    pub(crate) fn due(&self) -> Option<Duration> {
        if self.known.is_empty() {
            return None;
        }
        let left = |told| TELL_NS.saturating_sub(Monotonic::now().nanos_since(told));
        Some(Duration::from_nanos(self.told.map_or(0, left)))
    }

    /// The next loss that was not told.
    pub(crate) fn tell(&mut self) -> Option<LostEvent> {
        self.look();
        let (source, cpu, loss) = self.known.pop()?;
        if self.known.is_empty() {
            self.told = Some(Monotonic::now());
        }
        Some(LostEvent {
            source: source.into(),
            num_events_lost: loss.total,
            cpu: cpu.and_then(|cpu| i32::try_from(cpu).ok()).map(Into::into),
            first: Some(timestamp(loss.first)),
            last: Some(timestamp(loss.last)),
        })
    }

    /// Adds to what is to be told.
    fn note(&mut self, source: LostEventSource, cpu: Option<u32>, loss: Loss) {
        let same =
            |(of, at, _): &&mut (LostEventSource, Option<u32>, Loss)| (*of, *at) == (source, cpu);
        match self.known.iter_mut().find(same) {
            Some((_, _, sum)) => {
                sum.total += loss.total;
                sum.first = sum.first.min(loss.first);
                sum.last = sum.last.max(loss.last);
            }
            None => self.known.push((source, cpu, loss)),
        }
    }
}
