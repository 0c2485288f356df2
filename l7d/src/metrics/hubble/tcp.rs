//! `tcp`.

use std::sync::Arc;

use super::{Plugin, context, counter, words};
use crate::config::{Contexts, HubbleMetric};
use crate::metrics::Budget;
use crate::metrics::count::Count;
use crate::metrics::family::{AnyFamily, Family, Label, Moment};
use crate::metrics::key::Key;
use crate::record::{L4, Record};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

pub(super) struct Flags {
    contexts: Contexts,
    flags: Family<Count>,
}

impl Flags {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        let contexts = metric.contexts.clone();
        let before = [Label::few("flag"), Label::few("family")];
        Self {
            flags: counter(
                "hubble_tcp_flags",
                "TCP flag occurrences",
                (&before, &contexts, &[]),
                budget,
            ),
            contexts,
        }
    }
}

impl Plugin for Flags {
    fn note(&self, record: &Record, moment: &Moment) {
        let L4::Tcp { flags } = record.l4 else { return };
        if !words::is_passed(record) {
            return;
        }
        let is_answer = flags & ACK != 0;
        for (bit, name) in [
            (FIN, "FIN"),
            (SYN, if is_answer { "SYN-ACK" } else { "SYN" }),
            (RST, "RST"),
        ] {
            if flags & bit == 0 {
                continue;
            }
            let write = |key: &mut Key| {
                key.push(name);
                key.push(words::family(record));
                context::write(&self.contexts, record, key);
            };
            self.flags.with(moment, write, Count::one);
        }
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.flags);
    }
}
