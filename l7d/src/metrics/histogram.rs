//! A histogram that many add to at once.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{LabelSetEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use super::family::Value;

/// Upper bounds of buckets, and how many of their unit are one of what is shown.
#[derive(Debug)]
pub(super) struct Scale {
    bounds: &'static [u64],
    per_unit: f64,
}

/// Times on a network, in microseconds and shown in seconds: from a neighbour on the same switch to the
/// other side of the world, and SYNs that had to be sent again.
pub(super) static NETWORK: Scale = Scale {
    bounds: &[
        50, 100, 250, 500, 1000, 2500, 10_000, 25_000, 100_000, 250_000, 1_000_000, 3_000_000,
    ],
    per_unit: 1e6,
};

/// Times of requests, in nanoseconds and shown in seconds: Prometheus's own buckets, which Hubble has.
pub(super) static REQUESTS: Scale = Scale {
    bounds: &[
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        2_500_000_000,
        5_000_000_000,
        10_000_000_000,
    ],
    per_unit: 1e9,
};

/// Times to the API server, in microseconds and shown in milliseconds, as Retina has them: 0.5, 1.5 and so
/// on to 63.5.
pub(super) static RETINA_LATENCY: Scale = Scale {
    bounds: &RETINA_BOUNDS,
    per_unit: 1e3,
};

#[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
const RETINA_BOUNDS: [u64; 64] = {
    let mut bounds = [0; 64];
    let mut at = 0;
    while at < bounds.len() {
        bounds[at] = 500 + 1000 * at as u64;
        at += 1;
    }
    bounds
};

impl Scale {
    /// Lines that a histogram takes: a bucket for each bound and one for everything, sum and count.
    pub(super) const fn lines(&self) -> usize {
        self.bounds.len() + 3
    }

    /// The bounds as they are shown.
    #[expect(clippy::cast_precision_loss, reason = "bounds are round numbers")]
    pub(super) fn shown(&self) -> impl Iterator<Item = f64> {
        self.bounds
            .iter()
            .map(|bound| *bound as f64 / self.per_unit)
    }
}

/// Times.
#[derive(Debug)]
pub(super) struct Histogram {
    scale: &'static Scale,
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Nothing was observed yet.
    pub(super) fn new(scale: &'static Scale) -> Self {
        let buckets = 0..=scale.bounds.len();
        Self {
            scale,
            buckets: buckets.map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Adds a time.
    pub(super) fn observe(&self, time: u64) {
        let at = self.scale.bounds.partition_point(|bound| *bound < time);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(time, Ordering::Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        let buckets = self.buckets.iter();
        buckets.map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

impl Value for Histogram {
    const TYPE: MetricType = MetricType::Histogram;

    #[expect(clippy::cast_precision_loss, reason = "a sum for averages")]
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts = self.buckets.iter().map(|at| at.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = self
            .scale
            .shown()
            .chain(std::iter::once(f64::INFINITY))
            .zip(counts)
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.sum.load(Ordering::Relaxed) as f64 / self.scale.per_unit;
        encoder.encode_histogram::<NoLabels>(sum, count, &buckets, NO_EXEMPLARS)
    }
}

/// No exemplars, of labels that are none.
const NO_EXEMPLARS: Option<&std::collections::HashMap<usize, Exemplar<NoLabels, f64>>> = None;

/// No labels.
#[derive(Debug, Clone)]
pub(super) struct NoLabels;

impl prometheus_client::encoding::EncodeLabelSet for NoLabels {
    fn encode(&self, _encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&NETWORK);
        for time in [1, 50, 51, 3_000_000, 3_000_001] {
            histogram.observe(time);
        }
        let counts: Vec<u64> = histogram
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect();
        assert_eq!((counts[0], counts[1], counts[11], counts[12]), (2, 1, 1, 1));
        assert_eq!(histogram.count(), 5);
    }
}
