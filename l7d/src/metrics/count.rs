//! What only grows, as a counter or, where others have it so, as a gauge.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::family::Value;

/// A counter.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Counts one more.
    pub(super) fn one(&self) {
        self.add(1);
    }

    /// Counts so many more.
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Value for Count {
    const TYPE: MetricType = MetricType::Counter;

    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        ConstCounter::new(self.get()).encode(encoder)
    }
}

/// A counter that is called a gauge, since dashboards know it by a name that no counter may have.
#[derive(Debug, Default)]
pub(super) struct Growing(Count);

impl Growing {
    /// Counts so many more.
    pub(super) fn add(&self, more: u64) {
        self.0.add(more);
    }
}

impl Value for Growing {
    const TYPE: MetricType = MetricType::Gauge;

    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        ConstGauge::new(i64::try_from(self.0.get()).unwrap_or(i64::MAX)).encode(encoder)
    }
}
