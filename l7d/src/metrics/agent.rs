//! What the agent says of itself: endpoints, policies, the proxy, the tap, names.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Sources;
use crate::server::AgentStatus;

/// The agent's status as numbers.
#[derive(Debug)]
pub(super) struct Agent(pub(super) Sources);

impl Collector for Agent {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = (self.0.status)();
        for (name, help, value) in gauges(&status) {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(family)?;
        }
        for (name, help, value) in counters(&status) {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(family)?;
        }
        Ok(())
    }
}

/// A name, what it means, and the value.
type Told = (&'static str, &'static str, u64);

/// What may fall.
fn gauges(status: &AgentStatus) -> impl Iterator<Item = Told> + use<> {
    [
        (
            "l7d_endpoints",
            "Endpoints of this node",
            status.endpoints as u64,
        ),
        (
            "l7d_endpoints_hooked",
            "Endpoints whose interface is hooked",
            status.attached as u64,
        ),
        ("l7d_policies", "Policies in force", status.policies as u64),
        (
            "l7d_policy_revision",
            "Version of the policy set",
            status.policy_revision,
        ),
        (
            "l7d_names",
            "Names of addresses that DNS has told",
            status.names as u64,
        ),
        (
            "l7d_proxy_open_connections",
            "Connections through the proxy now",
            status.proxied,
        ),
        (
            "l7d_tap_open_connections",
            "Connections that are tapped now",
            status.tapped,
        ),
        (
            "l7d_memory_budget_bytes",
            "Bytes that the process and its maps may take (memoryBudget); 0 is no bound",
            status.memory.budget.unwrap_or(0),
        ),
        (
            "l7d_memory_process_bytes",
            "Bytes of the process's own",
            status.memory.process,
        ),
        (
            "l7d_memory_map_bytes",
            "Bytes of its maps in the kernel",
            status.memory.maps,
        ),
        (
            "l7d_memory_given_up",
            "Things that are given up while memory is short: 1 flow ring, 2 headers, 3 l4 detail, 4 l7 detail",
            status.memory.step,
        ),
        (
            "l7d_warnings",
            "What `l7d status` warns of",
            status.warnings.len() as u64,
        ),
    ]
    .into_iter()
}

/// What only grows.
fn counters(status: &AgentStatus) -> impl Iterator<Item = Told> + use<> {
    [
        (
            "l7d_names_evicted",
            "Names that gave way to others",
            status.names_evicted,
        ),
        (
            "l7d_memory_steps",
            "How often something was given up as memory was short",
            status.memory.steps,
        ),
        (
            "l7d_proxy_connections",
            "Connections through the proxy",
            status.proxied_total,
        ),
        (
            "l7d_proxy_taken_over",
            "Connections taken over from the agent before",
            status.taken_over,
        ),
        (
            "l7d_proxy_taken_over_unread",
            "Connections taken over whose states could not be read",
            status.taken_over_unread,
        ),
        (
            "l7d_proxy_cut_by_handover",
            "Connections that ended where an agent ended",
            status.cut_by_handover,
        ),
        (
            "l7d_proxy_panics",
            "Connections that ended by a fault of the proxy",
            status.panics,
        ),
        (
            "l7d_proxy_refused",
            "Requests that the proxy refused",
            status.refused,
        ),
        (
            "l7d_proxy_upstream_failures",
            "Servers that the proxy could not reach",
            status.upstream_failures,
        ),
        (
            "l7d_tap_connections",
            "Connections that were tapped",
            status.tapped_total,
        ),
        (
            "l7d_tap_gaps",
            "Gaps in what the tap was to read",
            status.tap_gaps,
        ),
        (
            "l7d_would_deny",
            "What audited policies would have denied",
            status.would_deny,
        ),
    ]
    .into_iter()
}
