//! `http` and `httpV2`.

use std::sync::Arc;

use prometheus_client::registry::Unit;

use super::{Plugin, context, labels, words};
use crate::config::{Contexts, HubbleMetric, Switch};
use crate::flow::view;
use crate::metrics::Budget;
use crate::metrics::exemplar::{self, Tally, Times};
use crate::metrics::family::{AnyFamily, Family, Label, Moment, Shape};
use crate::metrics::histogram::REQUESTS;
use crate::metrics::key::Key;
use crate::record::{self, HttpKind, Record};

/// Requests and responses, each as it was seen.
pub(super) struct Http {
    contexts: Contexts,
    requests: Family<Tally>,
    responses: Family<Tally>,
    durations: Family<Times>,
}

/// Responses, from the client's view.
pub(super) struct HttpV2 {
    contexts: Contexts,
    has_grpc: bool,
    requests: Family<Tally>,
    durations: Family<Times>,
}

fn tally(
    name: &'static str,
    help: &'static str,
    (metric, behind): (&HubbleMetric, &[Label]),
    budget: &Arc<Budget>,
) -> Family<Tally> {
    let shape = Shape {
        name,
        help,
        unit: None,
        labels: labels(&[], &metric.contexts, behind),
    };
    let make = if metric.has(Switch::Exemplars) {
        Tally::traced
    } else {
        Tally::plain
    };
    Family::new(shape, budget, 1, make)
}

fn durations(metric: &HubbleMetric, budget: &Arc<Budget>) -> Family<Times> {
    let behind = [Label::open("method"), Label::few("reporter")];
    let shape = Shape {
        name: "hubble_http_request_duration",
        help: "Quantiles of HTTP request duration in seconds",
        unit: Some(Unit::Seconds),
        labels: labels(&[], &metric.contexts, &behind),
    };
    let make = if metric.has(Switch::Exemplars) {
        Times::traced
    } else {
        Times::plain
    };
    Family::new(shape, budget, REQUESTS.lines(), make)
}

const METHOD: Label = Label::open("method");
const PROTOCOL: Label = Label::few("protocol");
const STATUS: Label = Label::few("status");
const REPORTER: Label = Label::few("reporter");

impl Http {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        Self {
            contexts: metric.contexts.clone(),
            requests: tally(
                "hubble_http_requests",
                "Count of HTTP requests by methods",
                (metric, &[METHOD, PROTOCOL, REPORTER]),
                budget,
            ),
            responses: tally(
                "hubble_http_responses",
                "Count of HTTP responses by methods and status codes",
                (metric, &[METHOD, PROTOCOL, STATUS, REPORTER]),
                budget,
            ),
            durations: durations(metric, budget),
        }
    }
}

impl Plugin for Http {
    fn note(&self, record: &Record, moment: &Moment) {
        let Some(http) = record.http() else { return };
        let write = |has_protocol: bool, has_status: bool| {
            move |key: &mut Key| {
                context::write(&self.contexts, record, key);
                key.push_bytes(record.text(http.method));
                if has_protocol {
                    key.push(view::protocol(http.version));
                }
                if has_status {
                    key.push_shown(http.code);
                }
                key.push(words::reporter(record));
            }
        };
        let trace = exemplar::of(http);
        match http.kind {
            HttpKind::Request => {
                let count = |count: &Tally| count.one(trace);
                self.requests.with(moment, write(true, false), count);
            }
            HttpKind::Response => {
                let count = |count: &Tally| count.one(trace);
                self.responses.with(moment, write(true, true), count);
                let observe = |times: &Times| times.observe(http.latency_ns, trace);
                self.durations.with(moment, write(false, false), observe);
            }
            HttpKind::Sample => {}
        }
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.requests);
        visit(&self.responses);
        visit(&self.durations);
    }
}

impl HttpV2 {
    pub(super) fn new(metric: &HubbleMetric, budget: &Arc<Budget>) -> Self {
        let has_grpc = metric.has(Switch::GrpcStatus);
        let mut behind = vec![METHOD, PROTOCOL, STATUS, REPORTER];
        behind.extend(has_grpc.then_some(Label::open("grpc_status")));
        Self {
            contexts: metric.contexts.clone(),
            has_grpc,
            requests: tally(
                "hubble_http_requests",
                "Count of HTTP requests by methods and status codes",
                (metric, &behind),
                budget,
            ),
            durations: durations(metric, budget),
        }
    }

    fn write_count(&self, record: &Record, http: &record::Http, key: &mut Key) {
        context::write_turned(&self.contexts, record, key);
        key.push_bytes(record.text(http.method));
        key.push(view::protocol(http.version));
        key.push_shown(http.code);
        key.push(words::reporter(record));
        if self.has_grpc {
            match http.grpc.and_then(|grpc| grpc.status) {
                Some(status) => key.push_shown(status),
                None => key.push(""),
            }
        }
    }
}

impl Plugin for HttpV2 {
    fn note(&self, record: &Record, moment: &Moment) {
        let response = record.http().filter(|http| http.kind == HttpKind::Response);
        let Some(http) = response else { return };
        let trace = exemplar::of(http);
        let write = |key: &mut Key| self.write_count(record, http, key);
        self.requests.with(moment, write, |count| count.one(trace));
        let write = |key: &mut Key| {
            context::write_turned(&self.contexts, record, key);
            key.push_bytes(record.text(http.method));
            key.push(words::reporter(record));
        };
        let observe = |times: &Times| times.observe(http.latency_ns, trace);
        self.durations.with(moment, write, observe);
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.requests);
        visit(&self.durations);
    }
}
