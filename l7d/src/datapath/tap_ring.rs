//! The ring of tapped bytes: read by a thread that looks by itself while there is something to read,
//! and is woken by the kernel otherwise.

use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use l7d_ebpf::maps::{TAP_READER_ASLEEP, TAP_READER_AWAKE};

use super::Error;

/// The kernel's ring of tapped bytes.
pub struct TapRing {
    records: RingBuf<MapData>,
    reader: Array<MapData, u32>,
    done: HashMap<MapData, u64, u8>,
    lost: PerCpuArray<MapData, u64>,
    lost_before: u64,
}

impl std::fmt::Debug for TapRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TapRing")
            .field("lost_before", &self.lost_before)
            .finish_non_exhaustive()
    }
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(Error::NoMap(name))?;
    M::try_from(map).map_err(|cause| Error::Map { map: name, cause })
}

impl TapRing {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            records: take(ebpf, "TAP_RING")?,
            reader: take(ebpf, "TAP_READER")?,
            done: take(ebpf, "TAP_DONE")?,
            lost: take(ebpf, "TAP_LOST")?,
            lost_before: 0,
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
            TAP_READER_ASLEEP
        } else {
            TAP_READER_AWAKE
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

    /// Records that found no room since this was last asked.
    pub fn lost(&mut self) -> u64 {
        let values = self.lost.get(&0, 0);
        let total: u64 = values.map_or(self.lost_before, |values| values.iter().sum());
        let news = total.saturating_sub(self.lost_before);
        self.lost_before = total;
        news
    }
}

impl AsFd for TapRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.records.as_fd()
    }
}
