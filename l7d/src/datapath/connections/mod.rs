//! The kernel's table of connections: how full it is, and which of them have ended.
//!
//! Nobody but user space ends a connection: the programs only count. A thread of its own looks at all
//! entries now and then, as reading tens of thousands of them would hold up the main loop; what has
//! ended is taken out, and told with everything that was known of it.

mod element;
mod ending;

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray};
use l7d_ebpf::maps::{
    CONNECTION_FROM_A, Connection, TABLE_INSERTED, TABLE_REFUSED, TABLE_REPLACED, Tuple,
};
use l7d_ebpf::records::EndRecord;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Error;
use super::batch::Table;
use super::decode::{decode_entry, decode_tuple};
use super::maps::Pressure;
use crate::clock::Monotonic;
use crate::record::{Direct, EndedBy, Tally};
use ending::{Former, Patience, moment_of};

const MAP: &str = "CONNTRACK";
const COUNTS: &str = "TABLE";
/// The shortest and the longest time between two looks.
const PERIODS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// Usually there are so many.
const USUAL: Duration = Duration::from_secs(1);
/// A look may take this part of the time between two of them.
const SHARE: u32 = 100;
/// Ends that wait for whoever tells them; the thread waits when there are more.
const WAITING: usize = 4096;
/// Entries read at once: some 0.1 ms.
const ENTRIES: u32 = 256;
/// Entries taken out before who wants this core has it.
const AT_ONCE: usize = 32;

/// A connection that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Who began it.
    pub client: SocketAddr,
    /// The other one.
    pub server: SocketAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Its number.
    pub connection: u64,
    /// `CONNECTION_*` bits.
    pub flags: u32,
    /// When its last packet came.
    pub at: Monotonic,
    /// How it ended.
    pub how: EndedBy,
    /// How long it lived.
    pub duration_ns: u64,
    /// What went to the server.
    pub sent: Direct,
    /// What came back.
    pub received: Direct,
}

/// The table, and whoever looks after it. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Connections {
    counts: Arc<ConnectionCounts>,
    max: usize,
    _end: SyncSender<()>,
}

/// What became of the connections that came, as of the latest look.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    used: AtomicUsize,
    evicted: AtomicU64,
    tally: Mutex<Tally>,
    cut: AtomicU64,
}

impl ConnectionCounts {
    /// Proxied connections that a former agent has taken with it.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Connections seen, told at their end, and lost: forgotten before that, or without room from the
    /// start.
    pub fn tally(&self) -> Tally {
        *self.tally.lock()
    }
}

/// Connections that ended, in the order in which that was found out.
#[derive(Debug)]
pub struct Ends(mpsc::Receiver<Ended>);

impl Ends {
    /// The next one; `None` when nobody looks any more.
    pub async fn next(&mut self) -> Option<Ended> {
        self.0.recv().await
    }

    /// The next one that is there already.
    pub fn next_now(&mut self) -> Option<Ended> {
        self.0.try_recv().ok()
    }
}

impl Ended {
    /// The end of a connection whose place another one took.
    pub fn of(record: &EndRecord) -> Option<Self> {
        let how = ending::replaced(record.tuple.protocol, &record.connection);
        Self::new(&record.tuple, &record.connection, how)
    }

    /// `None` where nothing is to be told of it.
    fn new(tuple: &Tuple, entry: &Connection, how: EndedBy) -> Option<Self> {
        if ending::is_silent(entry) {
            return None;
        }
        let end =
            |address: [u8; 16], port| SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port);
        let (a, b) = (end(tuple.a, tuple.a_port), end(tuple.b, tuple.b_port));
        let (client, server) = if entry.flags & CONNECTION_FROM_A != 0 {
            (a, b)
        } else {
            (b, a)
        };
        let duration_ns = ending::duration_ns(entry);
        Some(Self {
            client,
            server,
            protocol: tuple.protocol,
            connection: entry.id,
            flags: entry.flags,
            at: Monotonic(entry.created_ns.saturating_add(duration_ns)),
            how,
            duration_ns,
            sent: ending::direct(entry, false),
            received: ending::direct(entry, true),
        })
    }
}

impl Connections {
    /// Begins to look. `last_beat` is when the proxy of a former agent beat last, whose connections have
    /// ended with it.
    pub(super) fn begin(
        ebpf: &mut Ebpf,
        last_beat: Option<Monotonic>,
    ) -> Result<(Self, Ends), Error> {
        let fault = |map| move |cause| Error::Map { map, cause };
        let map = ebpf.take_map(MAP).ok_or(Error::NoMap(MAP))?;
        let Map::LruHashMap(table) = map else {
            return Err(Error::NoMap(MAP));
        };
        let counts = ebpf.take_map(COUNTS).ok_or(Error::NoMap(COUNTS))?;
        let counts = PerCpuArray::try_from(counts).map_err(fault(COUNTS))?;
        let max = table.info().map_err(fault(MAP))?.max_entries();
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let latest = Arc::<ConnectionCounts>::default();
        let (end, ended) = sync_channel(1);
        let (teller, ends) = mpsc::channel(WAITING);
        let mut warden = Warden {
            table: Table::new(table, ENTRIES).map_err(fault(MAP))?,
            counts,
            max,
            adopted: None,
            former: last_beat.map(|beat| Former {
                last_beat: moment_of(beat.0),
                gone_ns: Monotonic::now().0,
            }),
            taken: 0,
            latest: Arc::clone(&latest),
            ends: teller,
        };
        let watch = move || {
            let mut period = USUAL;
            while ended.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                period = warden.look();
            }
        };
        let thread = std::thread::Builder::new().name("l7d-conntrack".to_owned());
        thread
            .spawn(watch)
            .map_err(|cause| Error::Count { cause })?;
        let connections = Self {
            counts: latest,
            max,
            _end: end,
        };
        Ok((connections, Ends(ends)))
    }

    /// How full the table is.
    pub(super) fn pressure(&self) -> Pressure {
        Pressure {
            map: MAP,
            used: self.counts.used.load(Ordering::Relaxed),
            max: self.max,
        }
    }

    /// What became of the connections that came.
    pub(super) fn counts(&self) -> &Arc<ConnectionCounts> {
        &self.counts
    }
}

/// Looks after the table.
struct Warden {
    table: Table,
    counts: PerCpuArray<MapData, u64>,
    max: usize,
    /// Entries of an earlier start; the programs' own counts began with this one.
    adopted: Option<u64>,
    /// The proxy of a former agent, until the first look.
    former: Option<Former>,
    /// Entries taken out.
    taken: u64,
    latest: Arc<ConnectionCounts>,
    ends: mpsc::Sender<Ended>,
}

impl Warden {
    /// Looks at all entries once, ends what has ended, and says when to look again.
    fn look(&mut self) -> Duration {
        let began = Instant::now();
        let now = moment_of(Monotonic::now().0);
        let was_full = self.is_crowded(self.latest.used.load(Ordering::Relaxed));
        let patience = if was_full {
            Patience::SHORT
        } else {
            Patience::LONG
        };
        let inserted = self.count(TABLE_INSERTED);
        let mut used = 0_usize;
        let mut ended = Vec::new();
        let former = self.former.take();
        let mut cut = 0_u64;
        let read = self.table.read(|tuple, entry| {
            let (Some(tuple), Some(entry)) = (decode_tuple(tuple), decode_entry(entry)) else {
                return;
            };
            used += 1;
            if let Some(former) = &former {
                cut += u64::from(ending::was_cut(tuple.protocol, &entry, former));
            }
            if ending::ending(tuple.protocol, &entry, now, &patience).is_some() {
                ended.push((tuple, entry.id));
            }
        });
        if let Err(error) = read {
            tracing::warn!(%error, "the table of connections cannot be read");
            return PERIODS.1;
        }
        if cut > 0 {
            tracing::warn!(
                connections = cut,
                "proxied connections have ended with the former agent"
            );
            self.latest.cut.store(cut, Ordering::Relaxed);
        }
        for some in ended.chunks(AT_ONCE) {
            for (tuple, id) in some {
                used -= usize::from(self.end(tuple, *id, now, &patience));
            }
            std::thread::yield_now();
        }
        self.balance(inserted, u64::try_from(used).unwrap_or(u64::MAX));
        self.latest.used.store(used, Ordering::Relaxed);
        self.period(began.elapsed(), used)
    }

    /// Takes an entry out and tells its end. It may have come to life again since it was read.
    fn end(&mut self, tuple: &Tuple, id: u64, now: u32, patience: &Patience) -> bool {
        let mut taken = match element::take(self.table.fd(), tuple) {
            Ok(Some(taken)) => taken,
            Ok(None) => return false,
            Err(error) => {
                tracing::warn!(%error, "an ended connection cannot be taken out of the table");
                return false;
            }
        };
        let how = ending::ending(tuple.protocol, &taken.entry, now, patience);
        let Some(how) = how.filter(|_| taken.entry.id == id) else {
            if let Err(error) = element::put_back(self.table.fd(), tuple, &mut taken) {
                tracing::warn!(%error, "a running connection was forgotten");
            }
            return false;
        };
        self.taken += 1;
        if let Some(ended) = Ended::new(tuple, &taken.entry, how) {
            // Whoever tells ends is gone only when the agent ends.
            let _told = self.ends.blocking_send(ended);
        }
        true
    }

    /// What came and is neither here nor was taken out has been evicted. What came is read before the
    /// table is, so that entries that come meanwhile hide as many evictions, until the next quiet look.
    fn balance(&mut self, inserted: u64, present: u64) {
        let adopted = *self
            .adopted
            .get_or_insert_with(|| present.saturating_sub(inserted));
        let replaced = self.count(TABLE_REPLACED);
        let gone = self.taken + replaced + present;
        let evicted = (adopted + inserted).saturating_sub(gone);
        let before = self.latest.evicted.fetch_max(evicted, Ordering::Relaxed);
        let refused = self.count(TABLE_REFUSED);
        *self.latest.tally.lock() = Tally {
            delivered: self.taken + replaced,
            lost: evicted.max(before) + refused,
            filtered: 0,
            // Read last: what has gone must have come.
            seen: adopted + self.count(TABLE_INSERTED) + refused,
        };
    }

    fn is_crowded(&self, used: usize) -> bool {
        used > self.max / 4 * 3
    }

    /// Looks are rare where they take long, and frequent where the table fills.
    fn period(&self, took: Duration, used: usize) -> Duration {
        let (shortest, longest) = PERIODS;
        if self.is_crowded(used) {
            return shortest;
        }
        (took * SHARE).clamp(USUAL, longest)
    }

    fn count(&self, which: u32) -> u64 {
        let values = self.counts.get(&which, 0);
        values.map_or(0, |values| values.iter().sum())
    }
}

#[cfg(test)]
mod tests;
