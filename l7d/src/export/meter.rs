//! How an export fares, for whoever asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::record::Tally;

/// Counters of one export. Its own thread writes them.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Position in the flow ring of the next record to look at.
    position: AtomicU64,
    seen: AtomicU64,
    delivered: AtomicU64,
    filtered: AtomicU64,
    lost: AtomicU64,
    bytes: AtomicU64,
    has_ended: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl Meter {
    pub(super) fn see(&self, position: u64, count: u64) {
        self.seen.fetch_add(count, Ordering::Release);
        self.position.store(position, Ordering::Release);
    }

    pub(super) fn filter(&self, count: u64) {
        self.filtered.fetch_add(count, Ordering::Release);
    }

    pub(super) fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Release);
    }

    pub(super) fn deliver(&self, count: u64, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Release);
        self.delivered.fetch_add(count, Ordering::Release);
    }

    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Bytes of what was delivered.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// What went out is read before what came in, so that what is under way is waiting, not missing.
    pub(super) fn tally(&self) -> Tally {
        let delivered = self.delivered.load(Ordering::Acquire);
        let filtered = self.filtered.load(Ordering::Acquire);
        let lost = self.lost.load(Ordering::Acquire);
        Tally {
            seen: self.seen.load(Ordering::Acquire),
            delivered,
            filtered,
            lost,
        }
    }

    /// Notes that nothing goes out, and why; told once for each reason.
    pub(super) fn fail(&self, export: &str, why: &impl ToString) {
        let why = why.to_string();
        let mut trouble = self.trouble.lock();
        if trouble.as_ref() != Some(&why) {
            tracing::error!(export, "flows are not exported: {why}");
            *trouble = Some(why);
        }
    }

    /// Notes that it works again.
    pub(super) fn recover(&self, export: &str) {
        if self.trouble.lock().take().is_some() {
            tracing::info!(export, "flows are exported again");
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }
}
