//! How many connections the kernel remembers. Nobody but the kernel counts them, and to count tens of
//! thousands of keys takes tens of milliseconds: a thread of its own does it now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData};
use l7d_ebpf::maps::{Connection, Tuple};

use super::pressure::Pressure;
use crate::datapath::Error;

const MAP: &str = "CONNTRACK";
/// How often they are counted.
const PERIOD: Duration = Duration::from_secs(10);

/// The latest count. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Occupancy {
    used: Arc<AtomicUsize>,
    max: usize,
    _end: SyncSender<()>,
}

impl Occupancy {
    /// Begins to count.
    pub(super) fn begin(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let fault = |cause| Error::Map { map: MAP, cause };
        let map = ebpf.take_map(MAP).ok_or(Error::NoMap(MAP))?;
        let Map::LruHashMap(data) = &map else {
            return Err(Error::NoMap(MAP));
        };
        let max = data.info().map_err(fault)?.max_entries();
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let connections: HashMap<MapData, Tuple, Connection> = map.try_into().map_err(fault)?;
        let used = Arc::new(AtomicUsize::new(0));
        let (end, ended) = sync_channel(1);
        let latest = Arc::clone(&used);
        let count = move || loop {
            // Where a key goes that is just being looked at, the kernel begins anew.
            let keys = connections.keys().take(max);
            latest.store(keys.flatten().count(), Ordering::Relaxed);
            if ended.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        };
        let thread = std::thread::Builder::new().name("l7d-conntrack".to_owned());
        thread
            .spawn(count)
            .map_err(|cause| Error::Count { cause })?;
        Ok(Self {
            used,
            max,
            _end: end,
        })
    }

    pub(super) fn pressure(&self) -> Pressure {
        Pressure {
            map: MAP,
            used: self.used.load(Ordering::Relaxed),
            max: self.max,
        }
    }
}
