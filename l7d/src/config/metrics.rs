//! Which metrics are served.

use std::path::PathBuf;
use std::time::Duration;

use parsers::template::Templates;

use super::{HubbleMetric, Retina, Tcp, hubble_metric};

/// Where metrics are served, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Listener for scrapes; none by default.
    pub listen: Option<Tcp>,
    /// What pairs of endpoints are told apart by; default: workloads.
    pub labels: PairLabels,
    /// Most series of all families that have labels of endpoints; default 50,000.
    pub max_series: usize,
    /// A series that nothing was added to for so long is dropped; default 10 min.
    pub idle: Duration,
    /// Hubble's metrics.
    pub hubble: Vec<HubbleMetric>,
    /// Metrics under Retina's names; none by default.
    pub retina: Retina,
    /// Templates of paths, which come before those that are found by looking.
    pub paths: Templates,
    /// Files that some of these were read from.
    pub openapi: Vec<PathBuf>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: None,
            labels: PairLabels::default(),
            max_series: 50_000,
            idle: Duration::from_mins(10),
            hubble: hubble_metric::usual(),
            retina: Retina::default(),
            paths: Templates::default(),
            openapi: Vec::new(),
        }
    }
}

/// What the labels of a pair of endpoints say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PairLabels {
    /// Namespace and workload of both.
    #[default]
    Workload,
    /// Their pods as well.
    Pod,
}
