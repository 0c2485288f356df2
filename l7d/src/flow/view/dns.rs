//! The DNS part of a flow.

use proto::flow::{self as pb, L7FlowType, Layer7, layer7};

use crate::record::{Dns, Observer, Outcome, Record, Span};

/// Who saw it, in the words of Hubble's `observation_source`; for captures it has none.
fn source(observer: Observer) -> &'static str {
    match observer {
        Observer::Capture => "capture",
        Observer::Kernel | Observer::Proxy => "proxy",
    }
}

/// The word in front of the question: clients print `Proxy` of what a proxy saw, else `Query`.
fn word(observer: Observer) -> &'static str {
    match observer {
        Observer::Capture => "Query",
        Observer::Kernel | Observer::Proxy => "Proxy",
    }
}

pub(super) fn layer7(record: &Record, dns: &Dns) -> Layer7 {
    let kind = if dns.is_response {
        L7FlowType::Response
    } else {
        L7FlowType::Request
    };
    Layer7 {
        r#type: kind.into(),
        latency_ns: dns.latency_ns,
        record: Some(layer7::Record::Dns(pb::Dns {
            query: text(record, dns.query),
            ips: lines(record, dns.addresses),
            ttl: if dns.is_response { dns.ttl } else { 0 },
            cnames: lines(record, dns.canonical_names),
            observation_source: source(record.observer).to_owned(),
            rcode: dns.rcode.into(),
            qtypes: lines(record, dns.query_types),
            rrtypes: lines(record, dns.record_types),
        })),
    }
}

/// The line that Hubble has for it.
pub(super) fn summary(record: &Record, dns: &Dns) -> String {
    let query = text(record, dns.query);
    let types = lines(record, dns.query_types).join(",");
    if !dns.is_response {
        return format!("DNS Query {query} {types}");
    }
    let word = word(record.observer);
    if dns.outcome == Outcome::NoResponse {
        let millis = dns.latency_ns / 1_000_000;
        return format!("DNS no answer after {millis}ms ({word} {query} {types})");
    }
    let answer = if dns.rcode == 0 {
        let addresses = quoted("", &lines(record, dns.addresses));
        let names = quoted(" CNAMEs: ", &lines(record, dns.canonical_names));
        format!("{addresses}{names}")
    } else {
        format!("RCode: {}", parsers::dns::Rcode(dns.rcode).summary())
    };
    format!(
        "DNS Answer {answer} TTL: {} ({word} {query} {types})",
        dns.ttl
    )
}

fn quoted(before: &str, list: &[String]) -> String {
    if list.is_empty() {
        String::new()
    } else {
        format!("{before}\"{}\"", list.join(","))
    }
}

fn text(record: &Record, span: Span) -> String {
    String::from_utf8_lossy(record.text(span)).into_owned()
}

fn lines(record: &Record, span: Span) -> Vec<String> {
    text(record, span).lines().map(str::to_owned).collect()
}
