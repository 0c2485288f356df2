//! The ledger, rings, maps and clients.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Sources;
use crate::record::{Place, Tally};
use crate::server::loss_source;

/// Everything that the agent counts on the way of a record.
#[derive(Debug)]
pub(super) struct Ledger(pub(super) Sources);

impl Collector for Ledger {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let rows = self.0.ring.ledger().read();
        encode_places(&mut encoder, &rows)?;
        encode_lost(&mut encoder, &rows)?;
        self.encode_flows(&mut encoder)?;
        self.encode_maps(&mut encoder)
    }
}

fn encode_places(encoder: &mut DescriptorEncoder<'_>, rows: &[(Place, Tally)]) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "l7d_records",
        "What was seen at each place where something can be lost, and what became of it",
        None,
        MetricType::Counter,
    )?;
    for (place, tally) in rows {
        for (outcome, count) in [
            ("seen", tally.seen),
            ("delivered", tally.delivered),
            ("filtered", tally.filtered),
            ("lost", tally.lost),
        ] {
            let labels = [
                ("place", place.as_str()),
                ("unit", place.unit()),
                ("outcome", outcome),
            ];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// Losses of events under Hubble's own name: its sources, all of them from the first scrape on.
fn encode_lost(encoder: &mut DescriptorEncoder<'_>, rows: &[(Place, Tally)]) -> fmt::Result {
    let mut sources = BTreeMap::from([
        ("hubble_ring_buffer".to_owned(), 0),
        ("observer_events_queue".to_owned(), 0),
        ("perf_event_ring_buffer".to_owned(), 0),
    ]);
    for (place, tally) in rows {
        if place.loses_events() || *place == Place::Clients {
            let name = loss_source(*place).as_str_name().to_lowercase();
            *sources.entry(name).or_default() += tally.lost;
        }
    }
    let mut family = encoder.encode_descriptor(
        "hubble_lost_events",
        "Number of lost events",
        None,
        MetricType::Counter,
    )?;
    for (source, lost) in &sources {
        let labels = [("source", source.as_str())];
        ConstCounter::new(*lost).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> fmt::Result {
    let family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    ConstGauge::new(as_gauge(value)).encode(family)
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Ledger {
    fn encode_flows(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ring = &self.0.ring;
        let (bytes, bytes_max) = ring.bytes();
        let clients = ring.clients().list().len() as u64;
        gauge(
            encoder,
            "l7d_flow_ring_flows",
            "Flows kept",
            None,
            ring.len(),
        )?;
        let help = "Most flows kept (flows.ring)";
        gauge(
            encoder,
            "l7d_flow_ring_max_flows",
            help,
            None,
            ring.capacity(),
        )?;
        let unit = Some(&Unit::Bytes);
        let help = "Memory that the kept flows hold";
        gauge(encoder, "l7d_flow_ring", help, unit, bytes)?;
        let help = "Most memory that they may hold (flows.ringBytes)";
        gauge(encoder, "l7d_flow_ring_max", help, unit, bytes_max)?;
        gauge(
            encoder,
            "l7d_clients",
            "Clients that read flows now",
            None,
            clients,
        )
    }

    fn encode_maps(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let status = (self.0.status)();
        let mut family = encoder.encode_descriptor(
            "l7d_map_entries",
            "Entries in the kernel's maps",
            None,
            MetricType::Gauge,
        )?;
        for room in &status.maps {
            let labels = [("map", room.map.as_str())];
            let used = as_gauge(room.used as u64);
            ConstGauge::new(used).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "l7d_map_max_entries",
            "Entries that the kernel's maps have room for",
            None,
            MetricType::Gauge,
        )?;
        for room in &status.maps {
            let labels = [("map", room.map.as_str())];
            let max = as_gauge(room.max as u64);
            ConstGauge::new(max).encode(family.encode_family(&labels)?)?;
        }
        let refusals = encoder.encode_descriptor(
            "l7d_map_refusals",
            "Entries that found no room in the kernel's maps",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(status.map_refusals).encode(refusals)
    }
}
