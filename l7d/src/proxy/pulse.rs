//! Whether a worker's thread moves: one that is held up, by a loop without end or a machine without time,
//! serves nobody, and the kernel programs must not send it anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Monotonic;

/// When a worker was last seen to move.
#[derive(Debug)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    /// How often a worker beats.
    pub(super) const PERIOD: Duration = Duration::from_millis(100);

    /// Of a worker that begins now.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(Monotonic::recent().0))
    }

    pub(super) fn beat(&self) {
        self.0.store(Monotonic::recent().0, Ordering::Relaxed);
    }

    /// For how long it has not been seen to move.
    pub(super) fn still_for(&self, now: Monotonic) -> Duration {
        let last = Monotonic(self.0.load(Ordering::Relaxed));
        Duration::from_nanos(now.nanos_since(last))
    }
}
