//! The Helm chart in `l7d/`, rendered by helm itself and read back.
//!
//! Everything here serves tests: those of this crate judge what the chart makes of values, those of the
//! agent run the chart's queries against a real one.

mod combination;
mod document;
mod helm;
mod kind;
mod operator;
mod query;

use std::path::PathBuf;

pub use combination::{Switch, every, pairwise};
pub use document::Document;
pub use helm::{Helm, Refused};
pub use kind::faults;
pub use query::{Query, alerts, capabilities, dashboards, hubble_metrics};

/// Folder of the chart.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("l7d")
}
