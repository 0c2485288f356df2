//! What the node forwards and drops, and what was lost of telling it.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{View, What, direction_name, drop_reason};
use crate::metrics::Sources;
use crate::metrics::count::Growing;
use crate::metrics::family::{AnyFamily, Family, Label, Moment, Shape};
use crate::metrics::key::Key;
use crate::record::{Place, Verdict};

/// Sums over all pods of the node.
#[derive(Debug)]
pub(super) struct Node {
    forwarded: [Family<Growing>; 2],
    dropped: [Family<Growing>; 2],
    lookups: [Family<Growing>; 2],
}

fn growing(name: &'static str, help: &'static str, labels: &[&'static str]) -> Family<Growing> {
    let shape = Shape {
        name,
        help,
        unit: None,
        labels: labels.iter().copied().map(Label::few).collect(),
    };
    Family::few(shape, Growing::default)
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            forwarded: [
                growing(
                    "networkobservability_forward_count",
                    "Packets that passed pods' interfaces",
                    &["direction"],
                ),
                growing(
                    "networkobservability_forward_bytes",
                    "Bytes that passed pods' interfaces",
                    &["direction"],
                ),
            ],
            dropped: [
                growing(
                    "networkobservability_drop_count",
                    "Dropped packets",
                    &["reason", "direction"],
                ),
                growing(
                    "networkobservability_drop_bytes",
                    "Bytes of dropped packets, where they are known",
                    &["reason", "direction"],
                ),
            ],
            lookups: [
                growing("networkobservability_dns_request_count", "DNS queries", &[]),
                growing(
                    "networkobservability_dns_response_count",
                    "DNS answers",
                    &[],
                ),
            ],
        }
    }

    pub(super) fn note(&self, view: &View<'_>, moment: &Moment) {
        match view.what {
            What::Forwarded { packets, bytes } if view.record.verdict != Verdict::Dropped => {
                let write = |key: &mut Key| key.push(direction_name(view.direction));
                for (family, more) in self.forwarded.iter().zip([packets, bytes]) {
                    family.with(moment, write, |count| count.add(more));
                }
            }
            What::Dropped(said) => {
                let write = |key: &mut Key| {
                    key.push(drop_reason(view.record, said));
                    key.push(direction_name(view.direction));
                };
                let bytes = said.map_or(0, |said| said.bytes.into());
                for (family, more) in self.dropped.iter().zip([1, bytes]) {
                    family.with(moment, write, |count| count.add(more));
                }
            }
            What::Forwarded { .. } => {}
            What::Other => {
                let Some(dns) = view.record.dns() else { return };
                let [requests, responses] = &self.lookups;
                let family = if dns.is_response { responses } else { requests };
                family.with(moment, |_| {}, |count| count.add(1));
            }
        }
    }

    pub(super) fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        for families in [&self.forwarded, &self.dropped, &self.lookups] {
            for family in families {
                visit(family);
            }
        }
    }
}

/// What of the kernel's records was read, and what was lost.
pub(super) fn encode_losses(encoder: &mut DescriptorEncoder<'_>, sources: &Sources) -> fmt::Result {
    let tally = sources.ring.ledger().tally(Place::KernelRing);
    let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let parsed = encoder.encode_descriptor(
        "networkobservability_parsed_packets_counter",
        "Records of packets that were read",
        None,
        MetricType::Gauge,
    )?;
    gauge(tally.delivered).encode(parsed)?;
    let mut lost = encoder.encode_descriptor(
        "networkobservability_lost_events_counter",
        "Records that were lost",
        None,
        MetricType::Gauge,
    )?;
    let labels = [("type", "kernel"), ("reason", "packetparser")];
    gauge(tally.lost).encode(lost.encode_family(&labels)?)
}
