//! `policy`.

use std::sync::Arc;

use super::{Plugin, context, counter};
use crate::config::{Contexts, HubbleMetric};
use crate::metrics::Budget;
use crate::metrics::count::Count;
use crate::metrics::family::{AnyFamily, Family, Label, Moment};
use crate::metrics::key::Key;
use crate::record::{Direction, Event, IdentityNumber, Record, Verdict};

pub(super) struct Verdicts {
    contexts: Contexts,
    verdicts: Family<Count>,
}

impl Verdicts {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        let contexts = metric.contexts.clone();
        let before = ["direction", "match", "action"].map(Label::few);
        Self {
            verdicts: counter(
                "hubble_policy_verdicts",
                "Total number of network policy verdicts",
                (&before, &contexts, &[]),
                budget,
            ),
            contexts,
        }
    }
}

impl Plugin for Verdicts {
    fn note(&self, record: &Record, moment: &Moment) {
        let matched = match &record.event {
            Event::PolicyVerdict { .. } if record.source.identity == IdentityNumber::HOST => return,
            Event::PolicyVerdict { match_type, .. } => matched(*match_type),
            Event::Http(_) => "l7/http",
            Event::Dns(_) => "l7/dns",
            Event::Drop { .. } | Event::End(_) | Event::Opaque(_) | Event::Trace(_) => return,
        };
        let write = |key: &mut Key| {
            key.push(match record.direction {
                Direction::Egress => "egress",
                Direction::Ingress => "ingress",
                Direction::Unknown => "traffic_direction_unknown",
            });
            key.push(matched);
            key.push(match record.verdict {
                Verdict::Forwarded => "forwarded",
                Verdict::Dropped => "dropped",
                Verdict::Error => "error",
                Verdict::Audit => "audit",
                Verdict::Redirected => "redirected",
            });
            context::write(&self.contexts, record, key);
        };
        self.verdicts.with(moment, write, Count::one);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.verdicts);
    }
}

/// How a rule matched.
fn matched(number: u8) -> &'static str {
    match number {
        0 => "none",
        1 => "l3-only",
        2 => "l3-l4",
        3 => "l4-only",
        4 => "all",
        5 => "l3-proto",
        6 => "proto-only",
        _ => "unknown",
    }
}
