//! Bytes of one direction that have come and not gone on whole.
//!
//! A lane stands outside of the futures that move bytes, and says at each of their awaits what is left
//! to do: whoever drops them can go on with it, here or in another process.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::net::tcp::WriteHalf;

use super::forward::{BEGINNING_BYTES, Pool, Reach, send_some};
use super::splice::Piped;

/// What one direction holds.
#[derive(Debug, Default)]
pub(super) struct Lane {
    buffer: Option<Box<[u8]>>,
    filled: usize,
    sent: usize,
    /// The session has looked at what is held.
    pub(super) is_observed: bool,
    /// A body that moves without being looked at.
    pub(super) piped: Piped,
    /// The sender has ended, and the receiver knows it.
    pub(super) is_over: bool,
    /// What was held last was much.
    is_flowing: bool,
}

/// A lane as it goes to another process.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SavedLane {
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    sent: usize,
    is_observed: bool,
    is_over: bool,
}

impl SavedLane {
    /// Bytes that are to go on, and nobody has looked at.
    pub(super) fn unread(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// What has not gone on.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }
}

impl Lane {
    /// Takes a buffer whose first `filled` bytes are to go on.
    pub(super) fn hold(&mut self, buffer: Box<[u8]>, filled: usize) {
        self.filled = filled.min(buffer.len());
        self.buffer = Some(buffer);
        self.sent = 0;
        self.is_observed = false;
    }

    /// Takes bytes that were written here, behind what waits already.
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let bytes = match self.rest() {
            [] => bytes,
            rest => [rest, &bytes].concat(),
        };
        let filled = bytes.len();
        self.hold(bytes.into_boxed_slice(), filled);
        self.is_observed = true;
    }

    /// Puts words between what is held, none of which has gone on where there are any.
    pub(super) fn insert(&mut self, before: usize, words: &[u8]) {
        let bytes = self.bytes();
        let (front, rest) = bytes.split_at(before.min(bytes.len()));
        let whole = [front, words, rest].concat();
        let filled = whole.len();
        self.hold(whole.into_boxed_slice(), filled);
        self.is_observed = true;
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_none()
    }

    /// All that came, and was held.
    pub(super) fn bytes(&self) -> &[u8] {
        let buffer = self.buffer.as_deref().unwrap_or_default();
        buffer.get(..self.filled).unwrap_or_default()
    }

    /// What has not gone on.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes().get(self.sent..).unwrap_or_default()
    }

    /// Sends what is held; may be dropped and called again.
    pub(super) async fn send(&mut self, to: &WriteHalf<'_>) -> io::Result<()> {
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return Ok(());
            }
            self.sent += send_some(to, rest).await?;
        }
    }

    /// How much to read next.
    pub(super) fn reach(&self) -> Reach {
        if self.is_flowing {
            Reach::Whole
        } else {
            Reach::Beginning
        }
    }

    /// Gives the buffer back: everything has gone on.
    pub(super) fn release(&mut self, pool: &Pool) {
        self.is_flowing = self.filled >= BEGINNING_BYTES;
        if let Some(buffer) = self.buffer.take() {
            pool.give(buffer);
        }
        self.filled = 0;
        self.sent = 0;
        self.is_observed = false;
    }

    /// Takes everything out for another process. Nothing is held in a buffer and in a pipe at once.
    pub(super) fn save(&mut self) -> io::Result<SavedLane> {
        let piped = self.piped.take_bytes()?;
        let is_piped = !piped.is_empty();
        let bytes = if is_piped {
            piped
        } else {
            self.bytes().to_vec()
        };
        Ok(SavedLane {
            bytes,
            sent: if is_piped { 0 } else { self.sent },
            is_observed: !is_piped && self.is_observed,
            is_over: self.is_over,
        })
    }

    /// Goes on where another process stopped.
    pub(super) fn restore(saved: SavedLane) -> Self {
        let SavedLane {
            bytes,
            sent,
            is_observed,
            is_over,
        } = saved;
        let filled = bytes.len();
        Self {
            buffer: (filled > 0).then(|| bytes.into_boxed_slice()),
            filled,
            sent: sent.min(filled),
            is_observed,
            piped: Piped::default(),
            is_over,
            is_flowing: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_sent_much_is_read_from_with_a_whole_buffer() {
        let pool = Pool::new(0);
        let mut lane = Lane::default();
        assert_eq!(lane.reach(), Reach::Beginning);
        for (filled, reach) in [
            (BEGINNING_BYTES, Reach::Whole),
            (BEGINNING_BYTES - 1, Reach::Beginning),
        ] {
            lane.hold(pool.take(), filled);
            lane.release(&pool);
            assert_eq!(lane.reach(), reach);
        }
    }
}
