//! `icmp`.

use std::sync::Arc;

use super::{Plugin, context, counter, words};
use crate::config::{Contexts, HubbleMetric};
use crate::flow::view::icmp;
use crate::metrics::Budget;
use crate::metrics::count::Count;
use crate::metrics::family::{AnyFamily, Family, Label, Moment};
use crate::metrics::key::Key;
use crate::record::{L4, Record};

pub(super) struct Icmp {
    contexts: Contexts,
    messages: Family<Count>,
}

impl Icmp {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        let contexts = metric.contexts.clone();
        let before = [Label::few("family"), Label::open("type")];
        Self {
            messages: counter(
                "hubble_icmp",
                "Number of ICMP messages",
                (&before, &contexts, &[]),
                budget,
            ),
            contexts,
        }
    }
}

impl Plugin for Icmp {
    fn note(&self, record: &Record, moment: &Moment) {
        let name = match record.l4 {
            L4::Icmp4 { kind, code } => icmp::v4(kind, code),
            L4::Icmp6 { kind, code } => icmp::v6(kind, code),
            L4::Tcp { .. } | L4::Udp | L4::Sctp | L4::Other(_) => return,
        };
        let write = |key: &mut Key| {
            key.push(words::family(record));
            key.push_shown(name);
            context::write(&self.contexts, record, key);
        };
        self.messages.with(moment, write, Count::one);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.messages);
    }
}
