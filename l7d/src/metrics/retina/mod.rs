//! Metrics under Retina's names, with its labels: `networkobservability_…` of the node, and
//! `networkobservability_adv_…` of pods. Most of what only grows is a gauge there, and so it is here.
//!
//! | file | metrics |
//! |---|---|
//! | [`node`] | what the node forwards and drops |
//! | [`kernel`] | states and counters of TCP, IP, UDP and interfaces, as the kernel has them |
//! | [`pods`] | what pods send, receive, lose and look up |

mod kernel;
mod node;
mod pods;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::family::{AnyFamily, Moment};
use super::{Budget, Sources};
use crate::config;
use crate::record::{Direct, Direction, Endpoint, EndpointId, Event, KernelDrop, Party, Record};

/// What is wanted of Retina's metrics.
#[derive(Debug)]
struct Running {
    wanted: config::Retina,
    node: Option<node::Node>,
    pods: Vec<pods::Metric>,
}

/// Retina's metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    budget: Arc<Budget>,
    running: ArcSwapOption<Running>,
}

impl Metrics {
    /// None yet.
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            running: ArcSwapOption::empty(),
        }
    }

    /// Takes over what is wanted now; other ones begin anew.
    pub(super) fn set(&self, wanted: &config::Retina) {
        let running = self.running.load();
        if running
            .as_ref()
            .is_some_and(|running| running.wanted == *wanted)
        {
            return;
        }
        let pods = wanted
            .pods
            .iter()
            .map(|metric| pods::Metric::new(metric, wanted.has_remote_context, &self.budget));
        self.running.store(Some(Arc::new(Running {
            node: wanted.node.then(node::Node::new),
            pods: pods.collect(),
            wanted: wanted.clone(),
        })));
    }

    /// Counts what a record tells.
    pub(super) fn note(&self, record: &Record, moment: &Moment) {
        let running = self.running.load();
        let Some(running) = running.as_deref() else {
            return;
        };
        if running.node.is_none() && running.pods.is_empty() {
            return;
        }
        each_view(record, |view| {
            if let Some(node) = &running.node {
                node.note(&view, moment);
            }
            if running.counts(view.pod) {
                for metric in &running.pods {
                    metric.note(&view, moment);
                }
            }
        });
    }

    /// Shows all families.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        if let Some(running) = self.running.load().as_deref() {
            if let Some(node) = &running.node {
                node.each(visit);
            }
            for metric in &running.pods {
                metric.each(visit);
            }
        }
    }
}

impl Running {
    /// Whether pods of its namespace count.
    fn counts(&self, pod: Option<&Party>) -> bool {
        let namespace = pod.map_or("", Party::namespace);
        let has = |list: &[String]| list.iter().any(|name| name == namespace);
        (self.wanted.include.is_empty() || has(&self.wanted.include)) && !has(&self.wanted.exclude)
    }
}

/// Reads what the kernel and the ledger know at the scrape, too.
#[derive(Debug)]
pub(super) struct Scraped {
    pub(super) metrics: Arc<Metrics>,
    pub(super) sources: Sources,
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let running = self.metrics.running.load();
        let Some(running) = running.as_deref() else {
            return Ok(());
        };
        let mut result = Ok(());
        self.metrics.each(&mut |family| {
            if result.is_ok() {
                result = family.write(&mut encoder);
            }
        });
        result?;
        if running.node.is_some() {
            kernel::encode(&mut encoder)?;
            node::encode_losses(&mut encoder, &self.sources)?;
        }
        Ok(())
    }
}

/// A record from the view of one pod of this node, or of nobody's.
struct View<'r> {
    record: &'r Record,
    /// The pod.
    pod: Option<&'r Party>,
    direction: Direction,
    what: What<'r>,
}

/// What a pod sees.
enum What<'r> {
    /// Packets passed, so many and of so many bytes.
    Forwarded { packets: u64, bytes: u64 },
    /// A packet was dropped.
    Dropped(Option<&'r KernelDrop>),
    /// A message, or the end of a connection.
    Other,
}

fn is_local(party: &Party) -> bool {
    let known: Option<&Endpoint> = party.endpoint.as_deref();
    known.is_some_and(|endpoint| endpoint.id != EndpointId::default())
}

/// Shows a record from the view of each pod that it concerns.
fn each_view(record: &Record, mut show: impl FnMut(View<'_>)) {
    let (pod, direction) = match record.direction {
        Direction::Egress => (Some(&record.source), Direction::Egress),
        Direction::Ingress => (Some(&record.destination), Direction::Ingress),
        Direction::Unknown => (None, Direction::Unknown),
    };
    let mut view = |pod, direction, what| {
        show(View {
            record,
            pod,
            direction,
            what,
        });
    };
    match &record.event {
        Event::Trace(trace) => {
            let (packets, bytes) = (trace.packets, trace.bytes);
            view(pod, direction, What::Forwarded { packets, bytes });
        }
        Event::Drop { kernel, .. } => view(pod, direction, What::Dropped(kernel.as_deref())),
        Event::End(end) => {
            let untold = |direct: &Direct| What::Forwarded {
                packets: direct.untold_packets,
                bytes: direct.untold_bytes,
            };
            if is_local(&record.source) {
                view(Some(&record.source), Direction::Egress, untold(&end.sent));
                view(
                    Some(&record.source),
                    Direction::Ingress,
                    untold(&end.received),
                );
            }
            if is_local(&record.destination) {
                view(
                    Some(&record.destination),
                    Direction::Ingress,
                    untold(&end.sent),
                );
                view(
                    Some(&record.destination),
                    Direction::Egress,
                    untold(&end.received),
                );
            }
            view(pod, direction, What::Other);
        }
        Event::Dns(_) | Event::Http(_) | Event::Opaque(_) | Event::PolicyVerdict { .. } => {
            view(pod, direction, What::Other);
        }
    }
}

/// `ingress`, `egress`, `unknown`.
fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
        Direction::Unknown => "unknown",
    }
}

/// Retina's reason of a drop, where it has one; else Hubble's, or the kernel's own.
fn drop_reason<'r>(record: &'r Record, said: Option<&'r KernelDrop>) -> &'r str {
    let Some(said) = said else {
        return match &record.event {
            Event::Drop { reason, .. } => crate::flow::view::drop_reason_name(*reason),
            _ => "UNKNOWN_DROP",
        };
    };
    match &*said.reason {
        "NETFILTER_DROP" => "IPTABLE_RULE_DROP",
        _ if said.queue.is_some() => "TCP_ACCEPT_BASIC",
        other => other,
    }
}
