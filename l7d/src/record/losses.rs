//! Losses of events as they become known, for those who follow: sums, so that whoever looks seldom
//! misses none of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::Place;
use crate::clock::Timestamp;

/// Where events are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The place.
    pub place: Place,
    /// The CPU, where that is known.
    pub cpu: Option<u32>,
}

/// What was lost at a spot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Events lost so far.
    pub total: u64,
    /// No event of the latest run of losses was lost before this.
    pub first: Timestamp,
    /// And none after this.
    pub last: Timestamp,
}

/// All spots that ever lost anything.
#[derive(Debug, Clone, Default)]
struct Board(Arc<BTreeMap<Spot, Loss>>);

/// Tells of losses.
#[derive(Debug)]
pub struct Losses(watch::Sender<Board>);

impl Default for Losses {
    fn default() -> Self {
        Self(watch::Sender::new(Board::default()))
    }
}

impl Losses {
    /// Notes what was found between two looks: how much each spot has lost so far.
    pub fn note(&self, found: &[(Spot, u64)], since: Timestamp, now: Timestamp) {
        self.0.send_if_modified(|board| {
            let is_news = |(spot, total): &&(Spot, u64)| {
                *total > board.0.get(spot).map_or(0, |loss| loss.total)
            };
            let news: Vec<(Spot, u64)> = found.iter().filter(is_news).copied().collect();
            if news.is_empty() {
                return false;
            }
            let mut fresh = BTreeMap::clone(&board.0);
            for (spot, total) in news {
                let former = fresh.get(&spot).filter(|former| former.last >= since);
                let first = former.map_or(since, |former| former.first);
                let last = now;
                fresh.insert(spot, Loss { total, first, last });
            }
            *board = Board(Arc::new(fresh));
            true
        });
    }

    /// Follows from now on: what was lost before is no news.
    pub fn follow(&self) -> Follower {
        let mut board = self.0.subscribe();
        let told = board.borrow_and_update().clone();
        Follower { board, told }
    }
}

/// What one who follows has been told of.
#[derive(Debug)]
pub struct Follower {
    board: watch::Receiver<Board>,
    told: Board,
}

impl Follower {
    /// Waits for news; never ends where nobody tells any more.
    pub async fn changed(&mut self) {
        if self.board.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What was lost since this was last asked: `total` is the number of these events alone.
    pub fn news(&mut self) -> Vec<(Spot, Loss)> {
        let board = self.board.borrow_and_update().clone();
        let each = board.0.iter().filter_map(|(spot, loss)| {
            let told = self.told.0.get(spot);
            let total = loss.total - told.map_or(0, |told| told.total);
            // Of a run that has gone on, the first part was told already.
            let first = told.map_or(loss.first, |told| loss.first.max(told.last));
            let last = loss.last;
            (total > 0).then_some((*spot, Loss { total, first, last }))
        });
        let news = each.collect();
        self.told = board;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOT: Spot = Spot {
        place: Place::KernelRing,
        cpu: Some(1),
    };

    fn loss(total: u64, first: u64, last: u64) -> (Spot, Loss) {
        let (first, last) = (Timestamp(first), Timestamp(last));
        (SPOT, Loss { total, first, last })
    }

    #[test]
    fn who_looks_seldom_misses_no_loss() {
        let losses = Losses::default();
        losses.note(&[(SPOT, 5)], Timestamp(0), Timestamp(10));
        let mut late = losses.follow();
        assert_eq!(late.news(), []);
        losses.note(&[(SPOT, 7)], Timestamp(10), Timestamp(20));
        losses.note(&[(SPOT, 7)], Timestamp(20), Timestamp(30));
        losses.note(&[(SPOT, 9)], Timestamp(30), Timestamp(40));
        assert_eq!(late.news(), [loss(4, 30, 40)]);
        assert_eq!(late.news(), []);
        losses.note(&[(SPOT, 10)], Timestamp(40), Timestamp(50));
        assert_eq!(late.news(), [loss(1, 40, 50)]);
    }

    #[test]
    fn a_run_of_losses_begins_with_the_look_before_the_first() {
        let losses = Losses::default();
        let mut early = losses.follow();
        losses.note(&[(SPOT, 1)], Timestamp(10), Timestamp(20));
        losses.note(&[(SPOT, 4)], Timestamp(20), Timestamp(30));
        assert_eq!(early.news(), [loss(4, 10, 30)]);
    }
}
