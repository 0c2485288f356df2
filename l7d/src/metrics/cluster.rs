//! How the agent follows its cluster.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Sources;
use crate::server::{ClusterStatus, KindRow, StateStatus};

/// What is read of a cluster; nothing where none is followed.
#[derive(Debug)]
pub(super) struct Cluster(pub(super) Sources);

impl Collector for Cluster {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(status) = (self.0.status)().cluster else {
            return Ok(());
        };
        encode_kinds(&mut encoder, &status)?;
        let family = encoder.encode_descriptor(
            "l7d_kubernetes_policies_in_force",
            "Whether the cluster's policies are in force: not before everything has been told once",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(status.in_force)).encode(family)?;
        encode_writes(&mut encoder, &status)?;
        encode_state(&mut encoder, &status.state)
    }
}

/// A name, what it means, and whose value it is.
type Counter = (&'static str, &'static str, fn(&KindRow) -> u64);

const COUNTERS: [Counter; 6] = [
    ("l7d_kubernetes_lists", "Lists begun", |row| row.lists),
    ("l7d_kubernetes_watches", "Watches begun", |row| row.watches),
    (
        "l7d_kubernetes_changes",
        "Changes that watches told",
        |row| row.changes,
    ),
    (
        "l7d_kubernetes_expired",
        "Times that the API no longer had what had changed since (410)",
        |row| row.expired,
    ),
    (
        "l7d_kubernetes_failures",
        "Requests to the API that failed",
        |row| row.failures,
    ),
    (
        "l7d_kubernetes_malformed",
        "Objects that could not be read, and were left out",
        |row| row.malformed,
    ),
];

fn encode_kinds(encoder: &mut DescriptorEncoder<'_>, status: &ClusterStatus) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "l7d_kubernetes_objects",
        "Objects of the cluster that are known",
        None,
        MetricType::Gauge,
    )?;
    for row in &status.kinds {
        let objects = i64::try_from(row.objects).unwrap_or(i64::MAX);
        let labels = [("kind", row.kind.as_str())];
        ConstGauge::new(objects).encode(family.encode_family(&labels)?)?;
    }
    let mut family = encoder.encode_descriptor(
        "l7d_kubernetes_away",
        "Whether the API does not tell of them: what was known last holds",
        None,
        MetricType::Gauge,
    )?;
    for row in &status.kinds {
        let labels = [("kind", row.kind.as_str())];
        let is_away = i64::from(row.state == "away");
        ConstGauge::new(is_away).encode(family.encode_family(&labels)?)?;
    }
    for (name, help, of) in COUNTERS {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for row in &status.kinds {
            let labels = [("kind", row.kind.as_str())];
            ConstCounter::new(of(row)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_writes(encoder: &mut DescriptorEncoder<'_>, status: &ClusterStatus) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "l7d_kubernetes_writes",
        "What was written to the API about policies",
        None,
        MetricType::Counter,
    )?;
    for (what, count) in [
        ("status", status.statuses_written),
        ("event", status.events_written),
        ("not_taken", status.writes_failed),
    ] {
        let labels = [("what", what)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_state(encoder: &mut DescriptorEncoder<'_>, state: &StateStatus) -> fmt::Result {
    let age = state.age_seconds.unwrap_or_default();
    for (name, help, value) in [
        (
            "l7d_kubernetes_state_in_force",
            "Whether what is in force was kept on disk: the API has not told everything since the start",
            u64::from(state.is_in_force),
        ),
        (
            "l7d_kubernetes_state_age_seconds",
            "How old the oldest file is that is kept of the cluster",
            age,
        ),
        (
            "l7d_kubernetes_state_unanswered_seconds",
            "For how long the disk has not answered; 0 where it answers",
            state.unanswered_seconds,
        ),
    ] {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(family)?;
    }
    let aside = state.set_aside.len() as u64;
    for (name, help, count) in [
        (
            "l7d_kubernetes_state_saves",
            "Files written of what is known of the cluster",
            state.saves,
        ),
        (
            "l7d_kubernetes_state_failures",
            "Files that could not be written",
            state.failures,
        ),
        (
            "l7d_kubernetes_state_set_aside",
            "Files that were of no use at the start",
            aside,
        ),
    ] {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(family)?;
    }
    Ok(())
}
