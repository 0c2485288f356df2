//! Telling an export to stop.

use std::time::Duration;

use tokio::sync::watch;

/// Tells.
#[derive(Debug)]
pub(super) struct Stopper(watch::Sender<Option<u64>>);

/// Is told: how far it shall read before it stops.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<Option<u64>>);

/// Both ends.
pub(super) fn stop() -> (Stopper, Stop) {
    let (stopper, stop) = watch::channel(None);
    (Stopper(stopper), Stop(stop))
}

impl Stopper {
    /// Stops it when it has read up to this position.
    pub(super) fn stop_at(&self, position: u64) {
        self.0.send_replace(Some(position));
    }
}

impl Stop {
    /// Whether this is where to stop: who is left alone stops wherever it is.
    pub(super) fn is_at(&self, position: u64) -> bool {
        let is_alone = || self.0.has_changed().is_err();
        let end = *self.0.borrow();
        end.map_or_else(is_alone, |end| position >= end)
    }

    /// Whether it was told.
    pub(super) fn is_told(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }

    /// Waits until it is told. Who tells no more has stopped it.
    pub(super) async fn told(&mut self) {
        let _gone = self.0.wait_for(Option::is_some).await;
    }

    /// Waits so long, or until it is told to stop: whether it may go on.
    pub(super) async fn rest(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.told()).await.is_err()
    }
}
