//! Work that may never end, as what is asked of a disk that hangs: it is done on a thread of its own, which is
//! left alone when it takes too long.

use std::io;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoOutcome {
    /// There is no thread to be had, or it has panicked.
    #[error("{0}")]
    Thread(io::Error),
    /// It goes on, and nobody waits any more.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// What comes of the work within this time.
///
/// # Errors
/// When it takes longer. What it gives then is dropped, whenever that is.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
    thread: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoOutcome> {
    let (teller, told) = sync_channel(1);
    let doing = move || {
        // Nobody may wait for it any more.
        let _late = teller.send(work());
    };
    let builder = std::thread::Builder::new().name(thread.to_owned());
    builder.spawn(doing).map_err(NoOutcome::Thread)?;
    told.recv_timeout(patience).map_err(|error| match error {
        std::sync::mpsc::RecvTimeoutError::Timeout => NoOutcome::Late(patience),
        std::sync::mpsc::RecvTimeoutError::Disconnected => {
            NoOutcome::Thread(io::Error::other("it has panicked"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_left_alone() {
        let quick = within(Duration::from_mins(1), "quick", || 7).expect("an outcome");
        assert_eq!(quick, 7);
        let (never, waits) = sync_channel::<()>(1);
        let late = within(Duration::from_millis(1), "late", move || waits.recv());
        let late = late.expect_err("it takes for ever");
        assert_eq!(late.to_string(), "no answer within 1ms");
        drop(never);
    }
}
