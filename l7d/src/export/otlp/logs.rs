//! A flow as a log record.

use super::batch::{Batch, owner};
use super::wire::{Attributes, Wire};
use super::{View, attributes};
use crate::clock::Timestamp;
use crate::flow::view::summary;
use crate::record::{Event, Record, Verdict};

/// Severities (data model of logs, "Severity Fields").
const INFO: (u64, &str) = (9, "INFO");
const WARN: (u64, &str) = (13, "WARN");
const ERROR: (u64, &str) = (17, "ERROR");

/// Adds a flow.
pub(super) fn add(batch: &mut Batch, record: &Record, view: &View, now: Timestamp) {
    batch.add(owner(record), view, |log| {
        let severity = match record.verdict {
            Verdict::Forwarded | Verdict::Redirected => INFO,
            Verdict::Dropped | Verdict::Audit => WARN,
            Verdict::Error => ERROR,
        };
        let summary = summary(record);
        head(log, record.time, now, severity, &summary);
        let mut out = Attributes {
            wire: log,
            field: 6,
            prefix: "",
        };
        attributes::of_flow(record, view, &mut out);
        if let Some(trace) = record.http().and_then(|http| http.trace) {
            log.fixed32(8, trace.flags.into());
            log.bytes(9, &trace.trace);
            log.bytes(10, &trace.span);
        }
        log.bytes(12, name(record).as_bytes());
    });
    batch.flows += 1;
}

/// Adds that flows are missing.
pub(super) fn add_loss(batch: &mut Batch, lost: u64, source: &str, view: &View) {
    let now = Timestamp::now();
    batch.add(None, view, |log| {
        let told = format!("{lost} flows were lost");
        head(log, now, now, WARN, &told);
        let mut out = Attributes {
            wire: log,
            field: 6,
            prefix: "l7d.",
        };
        out.number("lost.count", lost);
        out.text("lost.source", source.as_bytes());
        log.bytes(12, b"l7d.lost");
    });
}

fn head(
    log: &mut Wire,
    time: Timestamp,
    now: Timestamp,
    (severity, word): (u64, &str),
    body: &str,
) {
    log.fixed64(1, time.0);
    log.number(2, severity);
    log.bytes(3, word.as_bytes());
    log.message(5, |value| value.bytes(1, body.as_bytes()));
    log.fixed64(11, now.0);
}

/// What kind of flow it is: the event's name.
fn name(record: &Record) -> &'static str {
    match &record.event {
        Event::Trace(_) => "l7d.flow.trace",
        Event::End(_) => "l7d.flow.end",
        Event::Drop { .. } => "l7d.flow.drop",
        Event::PolicyVerdict { .. } => "l7d.flow.policy_verdict",
        Event::Dns(_) => "l7d.flow.dns",
        Event::Http(_) => "l7d.flow.http",
        Event::Opaque(_) => "l7d.flow.opaque",
    }
}
