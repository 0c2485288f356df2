//! How many series there may be.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::config;
use crate::record::{Ledger, Place};

/// The bound that all families with labels of endpoints share.
#[derive(Debug)]
pub struct Budget {
    max: AtomicUsize,
    idle_ns: AtomicU64,
    used: AtomicUsize,
    is_exceeded: AtomicBool,
    ledger: Arc<Ledger>,
}

impl Budget {
    /// As configured; the ledger counts measurements.
    pub fn new(settings: &config::Metrics, ledger: Arc<Ledger>) -> Self {
        let budget = Self {
            max: AtomicUsize::new(0),
            idle_ns: AtomicU64::new(0),
            used: AtomicUsize::new(0),
            is_exceeded: AtomicBool::new(false),
            ledger,
        };
        budget.set(settings);
        budget
    }

    /// Takes over other bounds. What is there stays until it is idle.
    pub(super) fn set(&self, settings: &config::Metrics) {
        let idle = u64::try_from(settings.idle.as_nanos()).unwrap_or(u64::MAX);
        self.idle_ns.store(idle, Ordering::Relaxed);
        let former = self.max.swap(settings.max_series, Ordering::Relaxed);
        if former < settings.max_series {
            self.is_exceeded.store(false, Ordering::Relaxed);
        }
    }

    /// Whether there is room for so many series; where there is none, that is told once.
    pub(super) fn has_room(&self, series: usize) -> bool {
        let (max, used) = (self.max(), self.used());
        let has_room = used.checked_add(series).is_some_and(|used| used <= max);
        if !has_room && !self.is_exceeded.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                max,
                "metrics.maxSeries is reached: what is new is counted together, as (others)"
            );
        }
        has_room
    }

    /// Takes room for so many series; whether there is any.
    pub(super) fn take(&self, series: usize) -> bool {
        let max = self.max();
        let with = |used: usize| used.checked_add(series).filter(|used| *used <= max);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
        taken.is_ok()
    }

    /// Gives room back.
    pub(super) fn give(&self, series: usize) {
        self.used.fetch_sub(series, Ordering::Relaxed);
    }

    /// Series that there are, of those that are bounded.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Most of them.
    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Whether something found no room.
    pub fn is_exceeded(&self) -> bool {
        self.is_exceeded.load(Ordering::Relaxed)
    }

    /// A series without a measurement for so many nanoseconds goes.
    pub(super) fn idle_ns(&self) -> u64 {
        self.idle_ns.load(Ordering::Relaxed)
    }

    /// Counts measurements that got a series of their own, and those that got the one of others.
    pub(super) fn count(&self, own: u64, folded: u64) {
        if own + folded > 0 {
            self.ledger.see(Place::Series, own + folded);
            self.ledger.deliver(Place::Series, own);
        }
        if folded > 0 {
            self.ledger.lose(Place::Series, folded);
        }
    }

    /// Measurements that went to the series of others.
    pub fn folded(&self) -> u64 {
        self.ledger.tally(Place::Series).lost
    }
}

impl Collector for Budget {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            (
                "l7d_series",
                "Series with labels that may have any value",
                self.used(),
            ),
            (
                "l7d_max_series",
                "Most such series (metrics.maxSeries); further ones are counted together",
                self.max(),
            ),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(family)?;
        }
        Ok(())
    }
}
