//! Waits on the kernel's ring buffer and hands out its records as byte slices.
//!
//! While there is something to read the reader looks by itself every few milliseconds, and the kernel
//! wakes nobody: to be woken costs the packet that made the record more than the record itself.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, MapData, RingBuf};
use l7d_ebpf::maps::{READER_ASLEEP, READER_AWAKE};
use tokio::io::unix::AsyncFd;

use super::Error;
use super::ring_counts::{RingCounts, take};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(4);
/// After so many looks that found nothing the reader sleeps until it is woken.
const EMPTY_LOOKS: u32 = 16;

/// The kernel's ring buffer.
pub struct Ring {
    records: AsyncFd<Readable>,
    /// Where the programs read whether they must wake somebody.
    reader: Array<MapData, u32>,
    is_asleep: bool,
    /// Looks in a row that found nothing.
    empty_looks: u32,
    counts: Arc<RingCounts>,
}

struct Readable(RingBuf<MapData>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl AsRawFd for Readable {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

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
        Ok(Self {
            records: ring,
            reader: take(ebpf, "RING_READER")?,
            is_asleep: false,
            empty_looks: 0,
            counts: Arc::new(RingCounts::of_records(ebpf)?),
        })
    }

    /// Waits for records and gives each to `handle`, at most `most` of them, so that whoever shares
    /// the thread gets its turn.
    pub async fn read(
        &mut self,
        most: usize,
        mut handle: impl FnMut(&[u8]),
    ) -> std::io::Result<usize> {
        loop {
            let count = self.drain(most, &mut handle);
            if count > 0 {
                self.empty_looks = 0;
                self.set_asleep(false);
                return Ok(count);
            }
            if self.is_asleep {
                self.records.readable_mut().await?.clear_ready();
                self.set_asleep(false);
            } else if self.empty_looks < EMPTY_LOOKS {
                self.empty_looks += 1;
                tokio::time::sleep(PAUSE).await;
            } else {
                // What comes before the programs know is found by one more look.
                self.set_asleep(true);
            }
        }
    }

    fn drain(&mut self, most: usize, mut handle: impl FnMut(&[u8])) -> usize {
        let ring = &mut self.records.get_mut().0;
        let mut count = 0;
        while count < most
            && let Some(record) = ring.next()
        {
            handle(&record);
            count += 1;
        }
        count
    }

    fn set_asleep(&mut self, is_asleep: bool) {
        if self.is_asleep == is_asleep {
            return;
        }
        self.is_asleep = is_asleep;
        self.empty_looks = 0;
        let state = if is_asleep {
            READER_ASLEEP
        } else {
            READER_AWAKE
        };
        if let Err(error) = self.reader.set(0, state, 0) {
            tracing::warn!(%error, "the kernel does not know whether the ring's reader sleeps");
        }
    }

    /// What the programs made for it, and what was lost.
    pub fn counts(&self) -> &Arc<RingCounts> {
        &self.counts
    }
}
