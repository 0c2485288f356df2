//! `dns`.

use std::sync::Arc;

use super::{Plugin, context, counter};
use crate::config::{Contexts, HubbleMetric, Switch};
use crate::metrics::Budget;
use crate::metrics::count::Count;
use crate::metrics::family::{AnyFamily, Family, Label, Moment};
use crate::metrics::key::Key;
use crate::record::{self, Outcome, Record, Span, Verdict};

pub(super) struct Dns {
    contexts: Contexts,
    has_query: bool,
    ignores_aaaa: bool,
    queries: Family<Count>,
    responses: Family<Count>,
    types: Family<Count>,
}

impl Dns {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        let has_query = metric.has(Switch::Query);
        let with_query = |mut labels: Vec<Label>| {
            labels.extend(has_query.then_some(Label::open("query")));
            labels
        };
        let of_message = with_query(vec![
            Label::few("rcode"),
            Label::open("qtypes"),
            Label::open("ips_returned"),
        ]);
        let of_type = with_query(vec![Label::open("type"), Label::open("qtypes")]);
        let contexts = &metric.contexts;
        let counter =
            |name, help, behind: &[Label]| counter(name, help, (&[], contexts, behind), budget);
        Self {
            queries: counter(
                "hubble_dns_queries",
                "Number of DNS queries observed",
                &of_message,
            ),
            responses: counter(
                "hubble_dns_responses",
                "Number of DNS responses observed",
                &of_message,
            ),
            types: counter(
                "hubble_dns_response_types",
                "Number of DNS records in responses, by type",
                &of_type,
            ),
            contexts: contexts.clone(),
            has_query,
            ignores_aaaa: metric.has(Switch::IgnoreAaaa),
        }
    }

    fn write_query(&self, record: &Record, dns: &record::Dns, key: &mut Key) {
        if self.has_query {
            key.push_bytes(record.text(dns.query));
        }
    }

    fn note_message(
        &self,
        of: (&Record, &record::Dns),
        rcode: &str,
        family: &Family<Count>,
        moment: &Moment,
    ) {
        let (record, dns) = of;
        let write = |key: &mut Key| {
            context::write(&self.contexts, record, key);
            key.push(rcode);
            push_joined(record, dns.query_types, key);
            key.push_shown(lines(record, dns.addresses).count());
            self.write_query(record, dns, key);
        };
        family.with(moment, write, Count::one);
    }

    fn note_types(&self, record: &Record, dns: &record::Dns, moment: &Moment) {
        for kind in lines(record, dns.record_types) {
            let write = |key: &mut Key| {
                context::write(&self.contexts, record, key);
                key.push_bytes(kind);
                push_joined(record, dns.query_types, key);
                self.write_query(record, dns, key);
            };
            self.types.with(moment, write, Count::one);
        }
    }
}

impl Plugin for Dns {
    fn note(&self, record: &Record, moment: &Moment) {
        let Some(dns) = record.dns() else { return };
        if self.ignores_aaaa && record.text(dns.query_types).trim_ascii() == b"AAAA" {
            return;
        }
        if record.verdict == Verdict::Dropped {
            self.note_message((record, dns), "Policy denied", &self.queries, moment);
        } else if !dns.is_response {
            self.note_message((record, dns), "", &self.queries, moment);
        } else if dns.outcome != Outcome::NoResponse {
            // Hubble has no flow of an answer that never came.
            self.note_message((record, dns), rcode(dns.rcode), &self.responses, moment);
            self.note_types(record, dns, moment);
        }
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.queries);
        visit(&self.responses);
        visit(&self.types);
    }
}

/// Lines of a span.
fn lines(record: &Record, span: Span) -> impl Iterator<Item = &[u8]> {
    let lines = record.text(span).split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty())
}

fn push_joined(record: &Record, span: Span, key: &mut Key) {
    key.push_with(|text| {
        for (at, line) in lines(record, span).enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(std::str::from_utf8(line).unwrap_or_default());
        }
    });
}

/// What this metric calls a code (RFC 1035 §4.1.1 and later ones); others have no name.
fn rcode(code: u16) -> &'static str {
    match code {
        0 => "No Error",
        1 => "Format Error",
        2 => "Server Failure",
        3 => "Non-Existent Domain",
        4 => "Not Implemented",
        5 => "Query Refused",
        6 => "Name Exists when it should not",
        7 => "RR Set Exists when it should not",
        8 => "RR Set that should exist does not",
        9 => "Not Authorized",
        10 => "Name not contained in zone",
        11 => "DSO-TYPE Not Implemented",
        16 => "Bad OPT Version",
        17 => "Key not recognized",
        18 => "Signature out of time window",
        19 => "Bad TKEY Mode",
        20 => "Duplicate key name",
        21 => "Algorithm not supported",
        22 => "Bad Truncation",
        23 => "Bad/missing Server Cookie",
        _ => "",
    }
}
