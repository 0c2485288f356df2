//! Exports as metrics: Hubble's names, and what became of flows.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::board::{Board, Reading};

impl Board {
    /// What is scraped of the exports.
    pub fn collector(self: &Arc<Self>) -> Box<dyn Collector> {
        Box::new(Scraped(Arc::clone(self)))
    }
}

#[derive(Debug)]
struct Scraped(Arc<Board>);

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Where nothing was ever exported there is nothing to tell.
        if self.0.changes().added == 0 {
            return Ok(());
        }
        let exports = self.0.list();
        encode_states(&mut encoder, &exports)?;
        encode_flows(&mut encoder, &exports)?;
        self.encode_changes(&mut encoder)
    }
}

fn encode_states(encoder: &mut DescriptorEncoder<'_>, exports: &[Reading]) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "hubble_dynamic_exporter_exporters_total",
        "Number of configured exporters",
        None,
        MetricType::Gauge,
    )?;
    for (status, is_active) in [("active", true), ("inactive", false)] {
        let count = exports
            .iter()
            .filter(|export| export.is_active == is_active);
        let count = i64::try_from(count.count()).unwrap_or(i64::MAX);
        ConstGauge::new(count).encode(family.encode_family(&[("status", status)])?)?;
    }
    let mut family = encoder.encode_descriptor(
        "hubble_dynamic_exporter_up",
        "Status of individual exporters",
        None,
        MetricType::Gauge,
    )?;
    for export in exports {
        let labels = [("name", export.name.as_str())];
        let is_up = i64::from(export.is_active && export.trouble.is_none());
        ConstGauge::new(is_up).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_flows(encoder: &mut DescriptorEncoder<'_>, exports: &[Reading]) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "l7d_export_flows",
        "Flows that an export came past, and what became of them",
        None,
        MetricType::Counter,
    )?;
    for export in exports {
        for (outcome, count) in [
            ("seen", export.tally.seen),
            ("delivered", export.tally.delivered),
            ("filtered", export.tally.filtered),
            ("lost", export.tally.lost),
        ] {
            let labels = [("name", export.name.as_str()), ("outcome", outcome)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "l7d_export_bytes",
        "Bytes that an export has delivered",
        None,
        MetricType::Counter,
    )?;
    for export in exports {
        let labels = [("name", export.name.as_str())];
        ConstCounter::new(export.bytes).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

impl Scraped {
    fn encode_changes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let changes = self.0.changes();
        let mut family = encoder.encode_descriptor(
            "hubble_dynamic_exporter_reconfigurations",
            "Number of dynamic exporters reconfigurations",
            None,
            MetricType::Counter,
        )?;
        for (op, count) in [
            ("add", changes.added),
            ("remove", changes.removed),
            ("update", changes.updated),
        ] {
            ConstCounter::new(count).encode(family.encode_family(&[("op", op)])?)?;
        }
        let family = encoder.encode_descriptor(
            "hubble_dynamic_exporter_config_hash",
            "Hash of last applied config",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(changes.hash)).encode(family)?;
        let family = encoder.encode_descriptor(
            "hubble_dynamic_exporter_config_last_applied",
            "Timestamp of last applied config",
            None,
            MetricType::Gauge,
        )?;
        let (seconds, _) = changes.applied.to_parts();
        ConstGauge::new(seconds).encode(family)
    }
}
