//! The ring of tapped bytes: read by a thread that looks by itself while there is something to read,
//! and is woken by the kernel otherwise.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, RingBuf};
use l7d_ebpf::maps::{READER_ASLEEP, READER_AWAKE};

use super::Error;
use super::ring_counts::{RingCounts, take};

/// The kernel's ring of tapped bytes.
pub struct TapRing {
    records: RingBuf<MapData>,
    reader: Array<MapData, u32>,
    done: HashMap<MapData, u64, u8>,
    counts: Arc<RingCounts>,
}

impl std::fmt::Debug for TapRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TapRing")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl TapRing {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            records: take(ebpf, "TAP_RING")?,
            reader: take(ebpf, "TAP_READER")?,
            done: take(ebpf, "TAP_DONE")?,
            counts: Arc::new(RingCounts::of_segments(ebpf)?),
        })
    }

    /// Gives each record that is there to `handle`, at most `most` of them.
    pub fn drain(&mut self, most: usize, mut handle: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < most
            && let Some(record) = self.records.next()
        {
            handle(&record);
            count += 1;
        }
        count
    }

    /// Tells the kernel whether it must wake the reader, who waits for [`TapRing::as_fd`].
    pub fn set_asleep(&mut self, is_asleep: bool) {
        let state = if is_asleep {
            READER_ASLEEP
        } else {
            READER_AWAKE
        };
        if let Err(error) = self.reader.set(0, state, 0) {
            tracing::warn!(%error, "the kernel does not know whether the tap's reader sleeps");
        }
    }

    /// Tells the kernel that nothing more of a connection is of use.
    pub fn stop_copying(&mut self, connection: u64) {
        if let Err(error) = self.done.insert(connection, 1, 0) {
            tracing::debug!(%error, connection, "goes on to be copied");
        }
    }

    /// Forgets a connection that has ended.
    pub fn forget(&mut self, connection: u64) {
        // Least recently used entries go by themselves: this one may be gone.
        let _gone = self.done.remove(&connection);
    }

    /// What the programs made for it, and what was lost.
    pub fn counts(&self) -> &Arc<RingCounts> {
        &self.counts
    }
}

impl AsFd for TapRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}
