//! Which connections have records that wait: what comes later of them must not overtake these.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ahash::RandomState;

use super::table::Key;

/// Connections that share a count are both thought to wait: that costs a detour, no order.
const COUNTS: usize = 4096;

/// Counts of waiting records.
#[derive(Debug)]
pub(super) struct Pending {
    hasher: RandomState,
    counts: Box<[AtomicU32]>,
}

/// Stands for a record that waits; dropping it says that the record has gone on.
#[derive(Debug)]
pub(super) struct Ticket {
    pending: Arc<Pending>,
    count: usize,
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            counts: (0..COUNTS).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

impl Pending {
    /// Whether records of a connection may wait.
    pub(super) fn waits(&self, key: &Key) -> bool {
        let count = self.counts.get(self.index(key));
        count.is_some_and(|count| count.load(Ordering::Acquire) > 0)
    }

    /// One more waits.
    pub(super) fn enter(self: &Arc<Self>, key: &Key) -> Ticket {
        let index = self.index(key);
        if let Some(count) = self.counts.get(index) {
            count.fetch_add(1, Ordering::AcqRel);
        }
        Ticket {
            pending: Arc::clone(self),
            count: index,
        }
    }

    fn index(&self, key: &Key) -> usize {
        let hash = self.hasher.hash_one(key) >> 32;
        usize::try_from(hash).unwrap_or(0) % COUNTS
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(count) = self.pending.counts.get(self.count) {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
