//! `port-distribution`.

use std::sync::Arc;

use super::{Plugin, context, counter, words};
use crate::config::{Contexts, HubbleMetric};
use crate::metrics::Budget;
use crate::metrics::count::Count;
use crate::metrics::family::{AnyFamily, Family, Label, Moment};
use crate::metrics::key::Key;
use crate::record::Record;

pub(super) struct Ports {
    contexts: Contexts,
    ports: Family<Count>,
}

impl Ports {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        let contexts = metric.contexts.clone();
        let before = [Label::few("protocol"), Label::open("port")];
        Self {
            ports: counter(
                "hubble_port_distribution",
                "Numbers of packets distributed by destination port",
                (&before, &contexts, &[]),
                budget,
            ),
            contexts,
        }
    }
}

impl Plugin for Ports {
    fn note(&self, record: &Record, moment: &Moment) {
        let is_asking = record.reply == Some(false);
        if !is_asking || !words::is_passed(record) || !words::has_l4(record) {
            return;
        }
        let write = |key: &mut Key| {
            key.push(words::protocol(record));
            if record.l4.has_ports() {
                key.push_shown(record.destination.addr.port());
            } else {
                key.push("0");
            }
            context::write(&self.contexts, record, key);
        };
        self.ports.with(moment, write, Count::one);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.ports);
    }
}
