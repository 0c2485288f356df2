//! Who counts what for the ledger, and who tells those that follow of losses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;
use crate::datapath::{ConnectionCounts, Drops, RingCounts};
use crate::flow::FlowRing;
use crate::record::{Ledger, Place, Spot, Tally};
use crate::{proxy, tap};

/// Those who count for themselves.
pub(super) struct Counters {
    pub(super) records: Arc<RingCounts>,
    pub(super) segments: Arc<RingCounts>,
    pub(super) connections: Arc<ConnectionCounts>,
    /// Nobody where the kernel's drops are not seen.
    pub(super) drops: Option<Arc<Drops>>,
    pub(super) proxy: Arc<proxy::Stats>,
    pub(super) tap: Arc<tap::Stats>,
}

/// Looks for losses now and then.
pub(super) struct Watchman {
    counters: Counters,
    looked: Timestamp,
}

impl Counters {
    /// Makes the ledger ask them.
    fn register(&self, ledger: &Ledger) {
        for (place, counts) in self.rings() {
            let counts = Arc::clone(counts);
            ledger.ask(place, move || {
                let total = counts.total();
                Tally {
                    seen: total.made,
                    lost: total.lost,
                    ..Tally::default()
                }
            });
        }
        let connections = Arc::clone(&self.connections);
        ledger.ask(Place::Conntrack, move || connections.tally());
        if let Some(drops) = self.drops.clone() {
            ledger.ask(Place::Drops, move || dropped(&drops));
        }
        let stats = Arc::clone(&self.proxy);
        ledger.ask(Place::Datagrams, move || {
            let gone = [
                &stats.datagrams,
                &stats.datagrams_left,
                &stats.datagrams_lost,
            ];
            tally(gone, &stats.datagrams_seen)
        });
        let stats = Arc::clone(&self.tap);
        ledger.ask(Place::TapConnections, move || {
            let nothing = AtomicU64::default();
            tally([&stats.ended, &nothing, &stats.evicted], &stats.followed)
        });
        let stats = Arc::clone(&self.tap);
        ledger.ask(Place::TapBytes, move || {
            let gone = [&stats.read_bytes, &stats.skipped_bytes, &stats.gap_bytes];
            tally(gone, &stats.bytes)
        });
    }

    fn rings(&self) -> [(Place, &Arc<RingCounts>); 2] {
        [
            (Place::KernelRing, &self.records),
            (Place::TapRing, &self.segments),
        ]
    }
}

/// Normal ends, and what became of packets of others, are left out on purpose.
fn dropped(drops: &Drops) -> Tally {
    let counts = drops.counts().into_iter();
    counts.fold(Tally::default(), |sum, reason| {
        let counts = reason.counts;
        let filtered = counts.normal + counts.others;
        sum + Tally {
            seen: counts.told + counts.untold + filtered,
            delivered: counts.told,
            filtered,
            lost: counts.untold,
        }
    })
}

/// What went out (delivered, filtered, lost) is read before what came in.
fn tally(gone: [&AtomicU64; 3], seen: &AtomicU64) -> Tally {
    let [delivered, filtered, lost] = gone.map(|counter| counter.load(Ordering::Acquire));
    Tally {
        seen: seen.load(Ordering::Acquire),
        delivered,
        filtered,
        lost,
    }
}

impl Watchman {
    /// Begins to look: the ledger asks these counters from now on.
    pub(super) fn begin(counters: Counters, ledger: &Ledger) -> Self {
        counters.register(ledger);
        Self {
            counters,
            looked: Timestamp::now(),
        }
    }

    /// Tells of what was lost since the last look.
    pub(super) fn look(&mut self, ring: &FlowRing) {
        let now = Timestamp::now();
        let mut found: Vec<(Spot, u64)> = Vec::new();
        for (place, counts) in self.counters.rings() {
            let cpus = (0_u32..).zip(counts.by_cpu());
            found.extend(cpus.map(|(cpu, count)| {
                let cpu = Some(cpu);
                (Spot { place, cpu }, count.lost)
            }));
        }
        for place in Place::ALL {
            let is_ring = matches!(place, Place::KernelRing | Place::TapRing);
            if place.loses_events() && !is_ring {
                let spot = Spot { place, cpu: None };
                found.push((spot, ring.ledger().tally(place).lost));
            }
        }
        ring.losses().note(&found, self.looked, now);
        self.looked = now;
    }
}
