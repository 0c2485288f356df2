//! Counters and times that can point to a trace.
//!
//! Those that do lock at each measurement; they are only made where exemplars are wanted.

use std::fmt;
use std::time::SystemTime;

use prometheus_client::encoding::{EncodeMetric as _, LabelSetEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::{CounterWithExemplar, HistogramWithExemplars};

use super::count::Count;
use super::family::Value;
use super::histogram::{Histogram, REQUESTS};
use crate::record::Http;

/// The trace that a request belongs to, as the label of an exemplar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace([u8; 16]);

/// The trace of a message.
pub(super) fn of(http: &Http) -> Option<Trace> {
    http.trace.map(|trace| Trace(trace.trace))
}

impl prometheus_client::encoding::EncodeLabelSet for Trace {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mut label = encoder.encode_label();
        let mut name = label.encode_label_key()?;
        name.write_str("traceID")?;
        let mut value = name.encode_label_value()?;
        for byte in self.0 {
            write!(value, "{byte:02x}")?;
        }
        value.finish()
    }
}

/// A counter.
#[derive(Debug)]
pub(super) enum Tally {
    Plain(Count),
    Traced(CounterWithExemplar<Trace>),
}

impl Tally {
    pub(super) fn plain() -> Self {
        Self::Plain(Count::default())
    }

    pub(super) fn traced() -> Self {
        Self::Traced(CounterWithExemplar::default())
    }

    /// Counts one more.
    pub(super) fn one(&self, trace: Option<Trace>) {
        match (self, trace) {
            (Self::Plain(count), _) => count.one(),
            // The last trace stays where there is none.
            (Self::Traced(count), None) => {
                count
                    .inner()
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            (Self::Traced(count), Some(_)) => {
                count.inc_by(1, trace, Some(SystemTime::now()));
            }
        }
    }
}

impl Value for Tally {
    const TYPE: MetricType = MetricType::Counter;

    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Plain(count) => count.encode(encoder),
            Self::Traced(count) => count.encode(encoder),
        }
    }
}

/// Times of requests.
#[derive(Debug)]
pub(super) enum Times {
    Plain(Histogram),
    Traced(HistogramWithExemplars<Trace>),
}

impl Times {
    pub(super) fn plain() -> Self {
        Self::Plain(Histogram::new(&REQUESTS))
    }

    pub(super) fn traced() -> Self {
        Self::Traced(HistogramWithExemplars::new(REQUESTS.shown()))
    }

    /// Adds a time in nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "for averages and buckets")]
    pub(super) fn observe(&self, time_ns: u64, trace: Option<Trace>) {
        match self {
            Self::Plain(times) => times.observe(time_ns),
            Self::Traced(times) => {
                let now = trace.is_some().then(SystemTime::now);
                times.observe(time_ns as f64 / 1e9, trace, now);
            }
        }
    }
}

impl Value for Times {
    const TYPE: MetricType = MetricType::Histogram;

    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Plain(times) => times.encode(encoder),
            Self::Traced(times) => times.encode(encoder),
        }
    }
}
