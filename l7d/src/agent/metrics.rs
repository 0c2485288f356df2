//! Metrics as configured, from the start on and whenever the configuration changes.

use std::sync::Arc;

use super::{Agent, Error, flows};
use crate::config;
use crate::flow::view::NodeView;
use crate::host::cluster::Name;
use crate::metrics::Wanted;

/// Hubble's metrics with their filters.
pub(super) fn wanted(
    metrics: &config::Metrics,
    node: &Arc<NodeView>,
) -> Result<Vec<Wanted>, Error> {
    let wanted = metrics.hubble.iter().map(|metric| {
        let section = format!("metrics.hubble.{}", metric.plugin.name());
        let fields = [
            ("includeFilters", metric.include.as_slice()),
            ("excludeFilters", &metric.exclude),
        ];
        Ok(Wanted {
            metric: metric.clone(),
            filters: flows::filters(&section, fields, node)?,
        })
    });
    wanted.collect()
}

impl Agent {
    /// Tells who counts which pods have come and gone.
    pub(super) fn count_pods(&mut self) {
        let moved = self.world.inventory.take_moved();
        if let Some(counting) = &self.counting {
            let pod = |(name, is_there): (Name, bool)| {
                ((name.namespace.into(), name.name.into()), is_there)
            };
            counting.note_pods(moved.into_iter().map(pod));
        }
    }

    /// What found no room among metrics.
    pub(super) fn folded_series(&self) -> Option<String> {
        let counting = self
            .counting
            .as_ref()
            .filter(|counting| counting.is_full())?;
        let folded = counting.folded();
        Some(format!(
            "metrics.maxSeries is reached: {folded} measurements so far are counted as (others)"
        ))
    }

    /// Takes over what is configured now. A filter that cannot be used leaves everything as it was.
    pub(super) fn apply_metrics(&mut self) {
        let Some(counting) = &self.counting else {
            return;
        };
        let config = self.world.config();
        match wanted(&config.metrics, &self.node) {
            Ok(wanted) => counting.set(&config.metrics, wanted),
            Err(error) => {
                tracing::error!(%error, "metrics stay as they were");
                self.world.refused_config.push(error.to_string());
            }
        }
    }
}
