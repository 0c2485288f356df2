//! Metrics of a relay.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::merge::Tally;
use super::pool::{Nodes, State};

/// What became of flows, of all answers.
#[derive(Debug, Default)]
pub(super) struct Counters {
    released: AtomicU64,
    late: AtomicU64,
    hurried: AtomicU64,
}

impl Counters {
    pub(super) fn add(&self, tally: Tally) {
        let counts = [
            (&self.released, tally.released),
            (&self.late, tally.late),
            (&self.hurried, tally.hurried),
        ];
        for (counter, count) in counts {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Everything that a relay counts.
pub(super) fn registry(nodes: watch::Receiver<Arc<Nodes>>, counters: Arc<Counters>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Gauges { nodes, counters }));
    registry
}

#[derive(Debug)]
struct Gauges {
    nodes: watch::Receiver<Arc<Nodes>>,
    counters: Arc<Counters>,
}

/// How stock relays call the states of connections; all are always there.
const STATES: [&str; 6] = [
    "CONNECTING",
    "IDLE",
    "NIL_CONNECTION",
    "READY",
    "SHUTDOWN",
    "TRANSIENT_FAILURE",
];

fn state_name(state: &State) -> &'static str {
    match state {
        State::Connecting => "CONNECTING",
        State::Ready(_) => "READY",
        State::Failed(_) => "TRANSIENT_FAILURE",
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let nodes = Arc::clone(&self.nodes.borrow());
        let mut family = encoder.encode_descriptor(
            "hubble_relay_pool_peer_connection_status",
            "Connections to agents by their state",
            None,
            MetricType::Gauge,
        )?;
        for name in STATES {
            let of = nodes
                .nodes
                .values()
                .filter(|node| state_name(&node.state) == name);
            let count = i64::try_from(of.count()).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&[("status", name)])?)?;
        }
        let counters = [
            (
                "l7d_relay_flows",
                "Flows that went to clients",
                &self.counters.released,
            ),
            (
                "l7d_relay_late_flows",
                "Flows that went to clients after later ones",
                &self.counters.late,
            ),
            (
                "l7d_relay_hurried_flows",
                "Flows that went to clients before they had waited for others, for want of room",
                &self.counters.hurried,
            ),
        ];
        for (name, help, counter) in counters {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(counter.load(Ordering::Relaxed)).encode(family)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_there_though_no_agent_has_it() {
        let (_nodes, watched) = watch::channel(Arc::<Nodes>::default());
        let counters = Arc::new(Counters::default());
        counters.add(Tally {
            released: 5,
            late: 1,
            hurried: 0,
        });
        let mut text = String::new();
        let registry = registry(watched, counters);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        for state in STATES {
            let line =
                format!("hubble_relay_pool_peer_connection_status{{status=\"{state}\"}} 0\n");
            assert!(text.contains(&line), "{text}");
        }
        assert!(text.contains("l7d_relay_flows_total 5\n"), "{text}");
    }
}
