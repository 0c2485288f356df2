//! `flows-to-world`.

use std::sync::Arc;

use super::{Plugin, context, counter, words};
use crate::config::{Contexts, HubbleMetric, Switch};
use crate::metrics::Budget;
use crate::metrics::count::Count;
use crate::metrics::family::{AnyFamily, Family, Label, Moment};
use crate::metrics::key::Key;
use crate::record::{DropReason, L4, Record, Verdict};

/// Labels of who is outside.
const WORLD: [&str; 3] = [
    "reserved:world",
    "reserved:world-ipv4",
    "reserved:world-ipv6",
];
/// The flag that begins a connection.
const SYN: u8 = 0x02;

pub(super) struct ToWorld {
    contexts: Contexts,
    counts_any_drop: bool,
    has_port: bool,
    is_syn_only: bool,
    flows: Family<Count>,
}

impl ToWorld {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        let contexts = metric.contexts.clone();
        let has_port = metric.has(Switch::Port);
        let mut before = vec![Label::few("protocol"), Label::few("verdict")];
        before.extend(has_port.then_some(Label::open("port")));
        Self {
            flows: counter(
                "hubble_flows_to_world",
                "Total number of flows to reserved:world",
                (&before, &contexts, &[]),
                budget,
            ),
            contexts,
            counts_any_drop: metric.has(Switch::AnyDrop),
            has_port,
            is_syn_only: metric.has(Switch::SynOnly),
        }
    }

    fn counts(&self, record: &Record) -> bool {
        let is_world = |label: &String| WORLD.contains(&label.as_str());
        if !words::has_l4(record) || !record.destination.labels().iter().any(is_world) {
            return false;
        }
        let is_dropped = record.verdict == Verdict::Dropped;
        let is_reply = record.reply == Some(true);
        let is_by_policy = words::drop_reason(record) == DropReason::POLICY_DENIED;
        let begins = matches!(record.l4, L4::Tcp { flags } if flags & SYN != 0);
        (!is_dropped || self.counts_any_drop || is_by_policy)
            && (is_dropped || !is_reply)
            && (!self.is_syn_only || (begins && !is_reply))
    }
}

impl Plugin for ToWorld {
    fn note(&self, record: &Record, moment: &Moment) {
        if !self.counts(record) {
            return;
        }
        let write = |key: &mut Key| {
            key.push(words::protocol(record));
            key.push(words::verdict(record));
            if self.has_port && record.l4.has_ports() {
                key.push_shown(record.destination.addr.port());
            } else if self.has_port {
                key.push("");
            }
            context::write(&self.contexts, record, key);
        };
        self.flows.with(moment, write, Count::one);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.flows);
    }
}
