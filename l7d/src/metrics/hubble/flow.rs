//! `flow`.

use std::sync::Arc;

use super::{Plugin, context, counter, words};
use crate::config::{Contexts, HubbleMetric};
use crate::metrics::Budget;
use crate::metrics::count::Count;
use crate::metrics::family::{AnyFamily, Family, Label, Moment};
use crate::metrics::key::Key;
use crate::record::Record;

pub(super) struct Flows {
    contexts: Contexts,
    flows: Family<Count>,
}

impl Flows {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        let contexts = metric.contexts.clone();
        let before = ["protocol", "type", "subtype", "verdict"].map(Label::few);
        Self {
            flows: counter(
                "hubble_flows_processed",
                "Total number of flows processed",
                (&before, &contexts, &[]),
                budget,
            ),
            contexts,
        }
    }
}

impl Plugin for Flows {
    fn note(&self, record: &Record, moment: &Moment) {
        let write = |key: &mut Key| {
            let (kind, part) = words::kind(record);
            key.push(words::protocol(record));
            key.push(kind);
            key.push(part);
            key.push(words::verdict(record));
            context::write(&self.contexts, record, key);
        };
        self.flows.with(moment, write, Count::one);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.flows);
    }
}
