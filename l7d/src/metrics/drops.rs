//! What was dropped, by reason.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::count::Count;
use super::family::{Family, Label, Moment, Shape};
use super::key::Key;
use crate::datapath::Drops as KernelDrops;
use crate::flow::view::drop_reason_name;
use crate::record::{Direction, Event, Record};

/// Drops that records tell of: Hubble's reason, the kernel's name, and the direction. There are as many
/// reasons as the kernel has names for.
#[derive(Debug)]
pub(super) struct Drops(Family<Count>);

impl Drops {
    pub(super) fn new() -> Self {
        let shape = Shape {
            name: "l7d_drops",
            help: "Dropped packets of endpoints that have a record, by Hubble's reason and the kernel's",
            unit: None,
            labels: ["reason", "kernel_reason", "direction"]
                .map(Label::few)
                .to_vec(),
        };
        Self(Family::few(shape, Count::default))
    }

    /// Counts a record of a drop.
    pub(super) fn note(&self, record: &Record, moment: &Moment) {
        let Event::Drop { reason, kernel } = &record.event else {
            return;
        };
        let write = |key: &mut Key| {
            key.push(drop_reason_name(*reason));
            key.push(kernel.as_ref().map_or("", |kernel| &kernel.reason));
            key.push(match record.direction {
                Direction::Egress => "egress",
                Direction::Ingress => "ingress",
                Direction::Unknown => "unknown",
            });
        };
        self.0.with(moment, write, Count::one);
    }
}

/// Both views of drops.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) told: Arc<Drops>,
    pub(super) kernel: Option<Arc<KernelDrops>>,
}

impl prometheus_client::collector::Collector for Collector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.told.0.encode(&mut encoder)?;
        let Some(kernel) = &self.kernel else {
            return Ok(());
        };
        let mut family = encoder.encode_descriptor(
            "l7d_kernel_drops",
            "Packets that the kernel has freed without delivering them, by its reason and what became of \
             that: told, over the budget of records, normal ends, nobody's of this node",
            None,
            MetricType::Counter,
        )?;
        for drop in kernel.counts() {
            for (outcome, count) in [
                ("told", drop.counts.told),
                ("untold", drop.counts.untold),
                ("normal", drop.counts.normal),
                ("others", drop.counts.others),
            ] {
                if count > 0 {
                    let labels = [("reason", &*drop.reason), ("outcome", outcome)];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}
