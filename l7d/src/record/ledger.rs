//! What was seen, what was delivered, what was lost and where: the sums must balance.

use std::sync::atomic::{AtomicU64, Ordering};

/// A place where a record can be lost. Code that drops a record names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Place {
    /// The kernel's ring buffer had no room.
    KernelRing,
    /// The kernel's ring buffer of tapped bytes had no room.
    TapRing,
    /// A kernel record could not be read (version, kind or length).
    Decode,
    /// A reader of the flow ring was overtaken by the writer.
    FlowRing,
    /// A follower's queue was full.
    Follower,
}

impl Place {
    /// All places, in the order of a record's way.
    pub const ALL: [Self; 5] = [
        Self::KernelRing,
        Self::TapRing,
        Self::Decode,
        Self::FlowRing,
        Self::Follower,
    ];

    /// Stable name, for metrics and `l7d status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KernelRing => "kernel_ring",
            Self::TapRing => "tap_ring",
            Self::Decode => "decode",
            Self::FlowRing => "flow_ring",
            Self::Follower => "follower",
        }
    }
}

/// Counters of everything that was seen and of everything that was lost.
#[derive(Debug, Default)]
pub struct Ledger {
    seen: AtomicU64,
    lost: [AtomicU64; Place::ALL.len()],
}

/// One reading of a [`Ledger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerSnapshot {
    /// Records that reached the flow ring.
    pub seen: u64,
    /// Records lost, by place, in the order of [`Place::ALL`].
    pub lost: [u64; Place::ALL.len()],
}

impl Ledger {
    /// Counts a record that reached the flow ring.
    pub fn saw(&self) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts `records` lost at `place`.
    pub fn lose(&self, place: Place, records: u64) {
        if let Some(counter) = self.lost.get(place as usize) {
            counter.fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Reads all counters.
    pub fn snapshot(&self) -> LedgerSnapshot {
        LedgerSnapshot {
            seen: self.seen.load(Ordering::Relaxed),
            lost: self
                .lost
                .each_ref()
                .map(|counter| counter.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_place() {
        let ledger = Ledger::default();
        ledger.saw();
        ledger.lose(Place::Decode, 3);
        let snapshot = ledger.snapshot();
        assert_eq!(snapshot.seen, 1);
        assert_eq!(snapshot.lost, [0, 0, 3, 0, 0]);
    }
}
