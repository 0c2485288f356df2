//! How long items have been here: the oldest one, whatever order they leave in.

use std::collections::VecDeque;

use crate::clock::Monotonic;

/// Items by the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Of the first in the queue.
    number: u64,
    /// When each came; nothing where it has left.
    arrivals: VecDeque<Option<Monotonic>>,
}

impl Rest {
    /// An item comes; its number.
    pub(super) fn begin(&mut self, now: Monotonic) -> u64 {
        self.arrivals.push_back(Some(now));
        self.number + self.arrivals.len() as u64 - 1
    }

    /// It has left.
    pub(super) fn end(&mut self, number: u64) {
        let place = number
            .checked_sub(self.number)
            .and_then(|place| usize::try_from(place).ok());
        if let Some(arrival) = place.and_then(|place| self.arrivals.get_mut(place)) {
            *arrival = None;
        }
        while let Some(None) = self.arrivals.front() {
            self.arrivals.pop_front();
            self.number += 1;
        }
    }

    /// When the oldest came that is still here.
    pub(super) fn oldest(&self) -> Option<Monotonic> {
        self.arrivals.front().copied().flatten()
    }
}
