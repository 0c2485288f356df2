//! Requests by who asked whom for what: paths as templates, with the status of gRPC.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parsers::template::{Templates, path_of};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::Budget;
use super::count::Count;
use super::family::{AnyFamily, Family, Label, Moment, Shape};
use super::histogram::{Histogram, REQUESTS};
use super::key::Key;
use super::pair::{self, PairRef};
use super::routes::Routes;
use crate::config::{self, PairLabels};
use crate::record::{Http, HttpKind, Outcome, Record};

/// Answers to requests.
#[derive(Debug)]
pub(super) struct Requests {
    pairs: PairLabels,
    templates: ArcSwap<Templates>,
    routes: Routes,
    answers: Family<Count>,
    durations: Family<Histogram>,
    faults: Family<Count>,
}

thread_local! {
    /// Where a server and a template are written.
    static ROUTE: RefCell<Key> = RefCell::default();
}

impl Requests {
    pub(super) fn new(settings: &config::Metrics, budget: &Arc<Budget>) -> Self {
        let labels = |more: &[Label]| {
            let mut labels = pair::labels(settings.labels);
            labels.extend(more);
            labels
        };
        let of_time = [
            Label::few("protocol"),
            Label::open("method"),
            Label::open("path"),
        ];
        let of_count = [
            Label::few("status"),
            Label::open("grpc_status"),
            Label::few("outcome"),
        ];
        let counted = Shape {
            name: "l7d_requests",
            help: "Requests by path template and by what became of them",
            unit: None,
            labels: labels(&[&of_time[..], &of_count].concat()),
        };
        let timed = Shape {
            name: "l7d_request_duration",
            help: "Time from a request's head to its response's",
            unit: Some(Unit::Seconds),
            labels: labels(&of_time),
        };
        let faults = Shape {
            name: "l7d_parse_errors",
            help: "Messages that could not be read, or in two ways, by the rule that they break",
            unit: None,
            labels: vec![Label::few("protocol"), Label::open("rule")],
        };
        Self {
            pairs: settings.labels,
            templates: ArcSwap::from_pointee(settings.paths.clone()),
            routes: Routes::default(),
            answers: Family::new(counted, budget, 1, Count::default),
            durations: Family::new(timed, budget, REQUESTS.lines(), || {
                Histogram::new(&REQUESTS)
            }),
            faults: Family::new(faults, budget, 1, Count::default),
        }
    }

    /// Takes over other templates; series under former ones go when they are idle.
    pub(super) fn set_templates(&self, templates: &Templates) {
        if **self.templates.load() != *templates {
            self.templates.store(Arc::new(templates.clone()));
        }
    }

    /// Counts what a record tells.
    pub(super) fn note(&self, record: &Record, moment: &Moment) {
        self.note_fault(record, moment);
        let answer = record.http().filter(|http| http.kind == HttpKind::Response);
        let Some(http) = answer else { return };
        ROUTE.with_borrow_mut(|route| {
            let path = self.path(record, http, moment, route);
            let pair = PairRef::of(&record.destination, &record.source, self.pairs);
            let write = |key: &mut Key| {
                pair.write(key);
                key.push(if http.grpc.is_some() { "grpc" } else { "http" });
                key.push_bytes(record.text(http.method));
                key.push(path);
            };
            let write_count = |key: &mut Key| {
                write(key);
                key.push_shown(http.code);
                match http.grpc.and_then(|grpc| grpc.status) {
                    Some(status) => key.push_shown(status),
                    None => key.push(""),
                }
                key.push(http.outcome.as_str());
            };
            self.answers.with(moment, write_count, Count::one);
            let observe = |times: &Histogram| times.observe(http.latency_ns);
            self.durations.with(moment, write, observe);
        });
    }

    /// The template of a request's path, while it is one of those that its server has.
    fn path<'k>(
        &self,
        record: &Record,
        http: &Http,
        moment: &Moment,
        route: &'k mut Key,
    ) -> &'k str {
        if record.text(http.method) == b"CONNECT" {
            return "";
        }
        let url = String::from_utf8_lossy(record.text(http.url));
        let path = path_of(&url);
        let templates = self.templates.load();
        route.clear();
        route.push(record.source.namespace());
        route.push(pair::workload(&record.source));
        route.push_with(|text| templates.push_folded(path, text));
        let is_given = || templates.knows(path);
        self.routes.admit(route, moment.now(), http, is_given)
    }

    /// What could not be read.
    fn note_fault(&self, record: &Record, moment: &Moment) {
        let (protocol, detail) = match (record.http(), record.dns()) {
            (Some(http), _)
                if http.outcome == Outcome::ParseError && http.kind == HttpKind::Request =>
            {
                ("http", http.detail)
            }
            (_, Some(dns)) if dns.outcome == Outcome::ParseError => ("dns", dns.detail),
            _ => return,
        };
        let write = |key: &mut Key| {
            key.push(protocol);
            key.push_bytes(record.text(detail));
        };
        self.faults.with(moment, write, Count::one);
    }

    /// Shows all families.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        visit(&self.answers);
        visit(&self.durations);
        visit(&self.faults);
    }

    /// Forgets templates of which nothing was heard since that moment.
    pub(super) fn sweep_routes(&self, before: u64) {
        self.routes.sweep(before);
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.answers.encode(&mut encoder)?;
        self.durations.encode(&mut encoder)?;
        self.faults.encode(&mut encoder)
    }
}
