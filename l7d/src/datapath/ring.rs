//! Waits on the kernel's ring buffer and hands out its records as byte slices.

use std::os::fd::{AsRawFd, RawFd};

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use tokio::io::unix::AsyncFd;

use super::Error;

/// The kernel's ring buffer.
pub struct Ring {
    records: AsyncFd<Readable>,
    lost: PerCpuArray<MapData, u64>,
    lost_before: u64,
}

struct Readable(RingBuf<MapData>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("lost_before", &self.lost_before)
            .finish_non_exhaustive()
    }
}

impl AsRawFd for Readable {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Kinds of records that are counted when they do not fit.
const KINDS: u32 = l7d_ebpf::records::KINDS;

impl Ring {
    #[expect(
        deprecated,
        reason = "the replacement is unsafe; the ring owns its descriptor for as long"
    )]
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let map = ebpf.take_map("RING").ok_or(Error::NoMap("RING"))?;
        let fault = |cause| Error::Map { map: "RING", cause };
        let ring = RingBuf::try_from(map).map_err(fault)?;
        let ring = AsyncFd::new(Readable(ring)).map_err(|cause| fault(cause.into()))?;
        let map = ebpf.take_map("LOST").ok_or(Error::NoMap("LOST"))?;
        let lost = PerCpuArray::try_from(map).map_err(|cause| Error::Map { map: "LOST", cause })?;
        Ok(Self {
            records: ring,
            lost,
            lost_before: 0,
        })
    }

    /// Waits for records and gives each to `handle`, at most `most` of them, so that whoever shares
    /// the thread gets its turn.
    pub async fn read(
        &mut self,
        most: usize,
        mut handle: impl FnMut(&[u8]),
    ) -> std::io::Result<usize> {
        let mut guard = self.records.readable_mut().await?;
        let ring = &mut guard.get_inner_mut().0;
        let mut count = 0;
        while count < most {
            let Some(record) = ring.next() else {
                guard.clear_ready();
                break;
            };
            handle(&record);
            count += 1;
        }
        Ok(count)
    }

    /// Records that found no room since this was last asked.
    pub fn lost(&mut self) -> u64 {
        let total: u64 = (0..KINDS)
            .filter_map(|kind| self.lost.get(&kind, 0).ok())
            .flat_map(|values| values.iter().copied().collect::<Vec<_>>())
            .sum();
        let news = total.saturating_sub(self.lost_before);
        self.lost_before = total;
        news
    }
}
