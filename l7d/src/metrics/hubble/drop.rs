//! `drop`.

use std::sync::Arc;

use super::{Plugin, context, counter, words};
use crate::config::{Contexts, HubbleMetric};
use crate::flow::view::drop_reason_name;
use crate::metrics::Budget;
use crate::metrics::count::Count;
use crate::metrics::family::{AnyFamily, Family, Label, Moment};
use crate::metrics::key::Key;
use crate::record::{Record, Verdict};

pub(super) struct Drops {
    contexts: Contexts,
    drops: Family<Count>,
}

impl Drops {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        let contexts = metric.contexts.clone();
        let behind = [Label::few("reason"), Label::few("protocol")];
        Self {
            drops: counter(
                "hubble_drop",
                "Number of drops",
                (&[], &contexts, &behind),
                budget,
            ),
            contexts,
        }
    }
}

impl Plugin for Drops {
    fn note(&self, record: &Record, moment: &Moment) {
        if record.verdict != Verdict::Dropped {
            return;
        }
        let write = |key: &mut Key| {
            context::write(&self.contexts, record, key);
            key.push(drop_reason_name(words::drop_reason(record)));
            key.push(words::protocol(record));
        };
        self.drops.with(moment, write, Count::one);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.drops);
    }
}
