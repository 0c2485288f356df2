//! Hubble's metrics, under its names, with its labels and options.
//!
//! Which there are can change while records come: what stays as it was goes on counting, what is no
//! longer wanted is gone, what has other labels begins anew.
//!
//! | file | metrics |
//! |---|---|
//! | [`dns`] | queries, answers |
//! | [`mod@drop`] | drops |
//! | [`flow`] | flows |
//! | [`http`] | requests, responses, how long they took |
//! | [`icmp`] | messages of ICMP |
//! | [`policy`] | verdicts of policies |
//! | [`ports`] | ports of servers |
//! | [`tcp`] | flags of TCP |
//! | [`world`] | flows that leave the cluster |
//!
//! [`context`] writes labels of ends, [`words`] knows what Hubble calls what a record tells.

mod context;
mod dns;
mod drop;
mod flow;
mod http;
mod icmp;
mod policy;
mod ports;
mod tcp;
mod words;
mod world;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::Budget;
use super::count::Count;
use super::family::{AnyFamily, Family, Label, Moment, Shape};
use crate::config::{Contexts, HubbleMetric, HubblePlugin};
use crate::flow::filter::Filters;
use crate::record::Record;

/// A metric that is wanted, and which flows count.
#[derive(Debug)]
pub struct Wanted {
    /// The metric.
    pub metric: HubbleMetric,
    /// Its filters, ready to be asked.
    pub filters: Filters,
}

/// What counts flows.
trait Plugin: Send + Sync {
    /// Counts what a record tells.
    fn note(&self, record: &Record, moment: &Moment);

    /// Shows all families.
    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily));
}

/// A metric, and what counts for it.
struct Running {
    wanted: Wanted,
    /// Shared with the former one where that had other filters alone.
    plugin: Arc<dyn Plugin>,
}

/// All metrics that are wanted.
pub(super) struct Metrics {
    budget: Arc<Budget>,
    running: ArcSwap<Vec<Running>>,
    changing: Mutex<()>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// None yet.
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            running: ArcSwap::default(),
            changing: Mutex::default(),
        }
    }

    /// Takes over what is wanted now.
    pub(super) fn set(&self, wanted: Vec<Wanted>) {
        let _changing = self.changing.lock();
        let running = self.running.load();
        let next = wanted.into_iter().map(|wanted| {
            let metric = &wanted.metric;
            let same = running.iter().find(|known| known.counts_like(metric));
            let plugin = match same {
                Some(known) => Arc::clone(&known.plugin),
                None => make(metric, &self.budget),
            };
            Running { wanted, plugin }
        });
        self.running.store(Arc::new(next.collect()));
    }

    /// Counts what a record tells.
    pub(super) fn note(&self, record: &Record, moment: &Moment) {
        for metric in self.running.load().iter() {
            if metric.wanted.filters.is_empty() || metric.wanted.filters.pass(record) {
                metric.plugin.note(record, moment);
            }
        }
    }

    /// Shows all families.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        for metric in self.running.load().iter() {
            metric.plugin.each(visit);
        }
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut result = Ok(());
        self.each(&mut |family| {
            if result.is_ok() {
                result = family.write(&mut encoder);
            }
        });
        result
    }
}

impl Running {
    /// Whether another one has the same series.
    fn counts_like(&self, other: &HubbleMetric) -> bool {
        let HubbleMetric {
            plugin,
            contexts,
            switches,
            include: _,
            exclude: _,
        } = &self.wanted.metric;
        (plugin, contexts, switches) == (&other.plugin, &other.contexts, &other.switches)
    }
}

fn make(metric: &HubbleMetric, budget: &Arc<Budget>) -> Arc<dyn Plugin> {
    match metric.plugin {
        HubblePlugin::Dns => Arc::new(dns::Dns::new(metric, budget)),
        HubblePlugin::Drop => Arc::new(drop::Drops::new(metric, budget)),
        HubblePlugin::Flow => Arc::new(flow::Flows::new(metric, budget)),
        HubblePlugin::FlowsToWorld => Arc::new(world::ToWorld::new(metric, budget)),
        HubblePlugin::Http => Arc::new(http::Http::new(metric, budget)),
        HubblePlugin::HttpV2 => Arc::new(http::HttpV2::new(metric, budget)),
        HubblePlugin::Icmp => Arc::new(icmp::Icmp::new(metric, budget)),
        HubblePlugin::Policy => Arc::new(policy::Verdicts::new(metric, budget)),
        HubblePlugin::PortDistribution => Arc::new(ports::Ports::new(metric, budget)),
        HubblePlugin::Tcp => Arc::new(tcp::Flags::new(metric, budget)),
    }
}

/// A counter with these labels before and behind those of the ends.
fn counter(
    name: &'static str,
    help: &'static str,
    (before, contexts, behind): (&[Label], &Contexts, &[Label]),
    budget: &Arc<Budget>,
) -> Family<Count> {
    let shape = Shape {
        name,
        help,
        unit: None,
        labels: labels(before, contexts, behind),
    };
    Family::new(shape, budget, 1, Count::default)
}

fn labels(before: &[Label], contexts: &Contexts, behind: &[Label]) -> Vec<Label> {
    let ends = context::labels(contexts);
    let before = before.iter().copied();
    before.chain(ends).chain(behind.iter().copied()).collect()
}
