//! What was seen, what was delivered, what was lost and where: the sums must balance.
//!
//! Each [`Place`] counts what comes in, before anything of it can be lost, apart from what goes out:
//! delivered to the next place, filtered on purpose, or lost. What is in none of these is waiting
//! there ([`Tally::waiting`]); where nothing waits and the sum is not right, l7d has a bug.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

/// A place where something can be lost. Code that loses names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Place {
    /// The kernel's ring of records.
    KernelRing,
    /// The kernel's ring of tapped bytes.
    TapRing,
    /// Bytes of either ring becoming records.
    Decode,
    /// Packets that the kernel dropped, becoming records.
    Drops,
    /// The kernel's table of connections.
    Conntrack,
    /// Connections that the tap follows.
    TapConnections,
    /// Bytes that the tap's parsers are to read.
    TapBytes,
    /// Datagrams on their way through the proxy.
    Datagrams,
    /// The way into the flow ring.
    FlowRing,
    /// Clients that read the flow ring.
    Clients,
    /// Exports of flows.
    Exports,
    /// Measurements becoming metrics.
    Series,
}

impl Place {
    /// All places, in the order of a record's way.
    pub const ALL: [Self; 12] = [
        Self::KernelRing,
        Self::TapRing,
        Self::Decode,
        Self::Drops,
        Self::Conntrack,
        Self::TapConnections,
        Self::TapBytes,
        Self::Datagrams,
        Self::FlowRing,
        Self::Clients,
        Self::Exports,
        Self::Series,
    ];

    /// Stable name, for metrics and `l7d status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KernelRing => "kernel_ring",
            Self::TapRing => "tap_ring",
            Self::Decode => "decode",
            Self::Drops => "drops",
            Self::Conntrack => "conntrack",
            Self::TapConnections => "tap_connections",
            Self::TapBytes => "tap_bytes",
            Self::Datagrams => "datagrams",
            Self::FlowRing => "flow_ring",
            Self::Clients => "clients",
            Self::Exports => "exports",
            Self::Series => "series",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::KernelRing | Self::Decode | Self::FlowRing | Self::Clients | Self::Exports => {
                "records"
            }
            Self::TapRing => "segments",
            Self::Drops => "packets",
            Self::Conntrack | Self::TapConnections => "connections",
            Self::TapBytes => "bytes",
            Self::Datagrams => "datagrams",
            Self::Series => "measurements",
        }
    }

    /// What whoever lost something here can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::KernelRing => {
                "raise `datapath.ringBytes`, or aggregate more with `flows.aggregation`"
            }
            Self::TapRing => "raise `tap.ringBytes`, or tap fewer ports",
            Self::Decode => "programs of another version wrote it: start the agent anew",
            Self::Drops => "raise `drops.recordsPerSecond`",
            Self::Conntrack => "raise `datapath.connections`",
            Self::TapConnections => "raise `tap.connections`",
            Self::TapBytes => {
                "raise `tap.ringBytes`; where heads are long, `tap.requestBytes` and `tap.responseBytes`"
            }
            Self::Datagrams => "raise `proxy.workers`",
            Self::FlowRing => "report this: nothing is lost on the way into the flow ring",
            Self::Clients => "raise `flows.ring` and `flows.ringBytes`, or let clients filter more",
            Self::Exports => {
                "`Exports` in `l7d status` says which and why; where it was only too slow, raise `flows.ring`"
            }
            Self::Series => "raise `metrics.maxSeries`, or label by workload instead of pod",
        }
    }

    /// Whether what is lost here are events, which those who follow are told of. Bytes that are missing
    /// are told by the records of what they belonged to, and clients of what they missed themselves.
    pub fn loses_events(self) -> bool {
        match self {
            Self::KernelRing
            | Self::TapRing
            | Self::Decode
            | Self::Drops
            | Self::Conntrack
            | Self::TapConnections
            | Self::Datagrams => true,
            Self::TapBytes | Self::FlowRing | Self::Clients | Self::Exports | Self::Series => false,
        }
    }
}

/// What happened at one place so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// What came in.
    pub seen: u64,
    /// What went on.
    pub delivered: u64,
    /// What was left out on purpose.
    pub filtered: u64,
    /// What is gone.
    pub lost: u64,
}

impl Tally {
    /// What is still there: in a queue, or open.
    pub fn waiting(self) -> u64 {
        let gone = self.delivered.saturating_add(self.filtered);
        self.seen.saturating_sub(gone.saturating_add(self.lost))
    }

    /// Whether more went out than ever came in: somebody counted wrong.
    pub fn is_overdrawn(self) -> bool {
        let gone = self.delivered.saturating_add(self.filtered);
        gone.saturating_add(self.lost) > self.seen
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            seen: self.seen.saturating_add(other.seen),
            delivered: self.delivered.saturating_add(other.delivered),
            filtered: self.filtered.saturating_add(other.filtered),
            lost: self.lost.saturating_add(other.lost),
        }
    }
}

/// Counters of what happens at one place, or to one client.
#[derive(Debug, Default)]
pub struct Counters {
    seen: AtomicU64,
    delivered: AtomicU64,
    filtered: AtomicU64,
    lost: AtomicU64,
}

impl Counters {
    /// Adds what has happened.
    pub fn add(&self, tally: Tally) {
        for (counter, count) in [
            (&self.seen, tally.seen),
            (&self.delivered, tally.delivered),
            (&self.filtered, tally.filtered),
            (&self.lost, tally.lost),
        ] {
            if count > 0 {
                counter.fetch_add(count, Ordering::Release);
            }
        }
    }

    /// Reads them: what went out before what came in, so that something under way is waiting, not
    /// missing.
    pub fn tally(&self) -> Tally {
        let delivered = self.delivered.load(Ordering::Acquire);
        let filtered = self.filtered.load(Ordering::Acquire);
        let lost = self.lost.load(Ordering::Acquire);
        Tally {
            seen: self.seen.load(Ordering::Acquire),
            delivered,
            filtered,
            lost,
        }
    }
}

/// Somebody who counts for himself, and is asked when the ledger is read.
type Source = Box<dyn Fn() -> Tally + Send + Sync>;

/// The counters of all places.
#[derive(Default)]
pub struct Ledger {
    places: [Counters; Place::ALL.len()],
    sources: RwLock<Vec<(Place, Source)>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ledger").field(&self.read()).finish()
    }
}

impl Ledger {
    /// Counts what comes in at a place.
    pub fn see(&self, place: Place, count: u64) {
        self.add(place, count, |counters| &counters.seen);
    }

    /// Counts what goes on from it.
    pub fn deliver(&self, place: Place, count: u64) {
        self.add(place, count, |counters| &counters.delivered);
    }

    /// Counts what is left out there on purpose.
    pub fn filter(&self, place: Place, count: u64) {
        self.add(place, count, |counters| &counters.filtered);
    }

    /// Counts what is lost there.
    pub fn lose(&self, place: Place, count: u64) {
        self.add(place, count, |counters| &counters.lost);
    }

    fn add(&self, place: Place, count: u64, which: impl Fn(&Counters) -> &AtomicU64) {
        if let Some(counters) = self.places.get(place as usize) {
            which(counters).fetch_add(count, Ordering::Release);
        }
    }

    /// Asks `source` as well when the ledger is read, and adds what it says to the place's own counters.
    pub fn ask(&self, place: Place, source: impl Fn() -> Tally + Send + Sync + 'static) {
        self.sources.write().push((place, Box::new(source)));
    }

    /// Reads one place.
    pub fn tally(&self, place: Place) -> Tally {
        let own = self.places.get(place as usize).map(Counters::tally);
        let sources = self.sources.read();
        let asked = sources.iter().filter(|(at, _)| *at == place);
        asked.fold(own.unwrap_or_default(), |sum, (_, source)| sum + source())
    }

    /// Reads all places, in the order of [`Place::ALL`].
    pub fn read(&self) -> [(Place, Tally); Place::ALL.len()] {
        Place::ALL.map(|place| (place, self.tally(place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_is_what_goes_out_and_what_waits() {
        let ledger = Ledger::default();
        ledger.see(Place::Decode, 10);
        ledger.deliver(Place::Decode, 4);
        ledger.filter(Place::Decode, 2);
        ledger.lose(Place::Decode, 3);
        let tally = ledger.tally(Place::Decode);
        assert_eq!((tally.seen, tally.waiting()), (10, 1));
        assert!(!tally.is_overdrawn());
        ledger.lose(Place::Decode, 2);
        assert!(ledger.tally(Place::Decode).is_overdrawn());
        assert_eq!(ledger.tally(Place::Series), Tally::default());
    }

    #[test]
    fn who_counts_for_himself_is_asked() {
        let ledger = Ledger::default();
        ledger.deliver(Place::KernelRing, 7);
        ledger.ask(Place::KernelRing, || Tally {
            seen: 9,
            lost: 2,
            ..Tally::default()
        });
        let expected = Tally {
            seen: 9,
            delivered: 7,
            filtered: 0,
            lost: 2,
        };
        assert_eq!(ledger.tally(Place::KernelRing), expected);
        assert_eq!(ledger.read()[0], (Place::KernelRing, expected));
    }

    #[test]
    fn places_have_names_of_their_own_in_the_order_of_their_numbers() {
        let names: std::collections::BTreeSet<_> = Place::ALL.map(Place::as_str).into();
        assert_eq!(names.len(), Place::ALL.len());
        for (number, place) in Place::ALL.into_iter().enumerate() {
            assert_eq!(place as usize, number);
            assert!(!place.advice().is_empty());
        }
    }
}
