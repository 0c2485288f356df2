//! Wakes whoever waits for records, at next to no cost while nobody does.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Tells that something has come.
#[derive(Debug, Default)]
pub(super) struct News {
    waiting: AtomicUsize,
    notify: Notify,
}

impl News {
    /// Wakes all who wait.
    pub(super) fn tell(&self) {
        // Whoever waits has counted himself before he looked: either he has seen what is told of, or he
        // is counted here. Both orders must be one order, hence SeqCst.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.notify.notify_waiters();
        }
    }

    /// Waits until it is so.
    pub(super) async fn wait_until(&self, is_so: impl Fn() -> bool) {
        let _waiting = Waiting::begin(&self.waiting);
        loop {
            let mut told = pin!(self.notify.notified());
            told.as_mut().enable();
            if is_so() {
                return;
            }
            told.await;
        }
    }
}

/// Somebody who waits, until this is dropped.
struct Waiting<'c>(&'c AtomicUsize);

impl<'c> Waiting<'c> {
    fn begin(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
