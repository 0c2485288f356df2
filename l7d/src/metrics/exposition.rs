//! Everything there is to scrape, as text, and how often it was asked for.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::{Registry, Unit};

use super::classic::classic;
use super::count::Count;
use super::family::{Family, Label, Moment, Shape};
use super::histogram::{Histogram, REQUESTS};
use super::key::Key;
use super::reception;
use crate::clock::Monotonic;
use crate::reception::Places;

/// Connections of scrapers at a time: some keep theirs open for the next scrape.
const SCRAPERS_MAX: usize = 64;

/// Forms of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `text/plain; version=0.0.4`.
    Classic,
    /// `OpenMetrics` 1.0.
    Open,
}

/// What is served.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
    scrapes: Arc<Scrapes>,
}

/// Answers to scrapers, by status.
#[derive(Debug)]
struct Scrapes {
    requests: Family<Count>,
    durations: Family<Histogram>,
    places: Arc<Places>,
}

impl Exposition {
    /// What is in a registry, and scrapes.
    pub fn new(mut registry: Registry) -> Self {
        let labels = || vec![Label::few("code")];
        let requests = Shape {
            name: "hubble_metrics_http_handler_requests",
            help: "Requests to the metrics endpoint, by status",
            unit: None,
            labels: labels(),
        };
        let durations = Shape {
            name: "hubble_metrics_http_handler_request_duration",
            help: "Time to answer them",
            unit: Some(Unit::Seconds),
            labels: labels(),
        };
        let scrapes = Arc::new(Scrapes {
            requests: Family::few(requests, Count::default),
            durations: Family::few(durations, || Histogram::new(&REQUESTS)),
            places: Places::new(SCRAPERS_MAX),
        });
        registry.register_collector(Box::new(Arc::clone(&scrapes)));
        Self { registry, scrapes }
    }

    /// Places of scrapers.
    pub(super) fn places(&self) -> &Arc<Places> {
        &self.scrapes.places
    }

    /// All metrics; nothing where one cannot be written.
    pub(super) fn text(&self, format: Format) -> Option<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry).ok()?;
        Some(match format {
            Format::Classic => classic(&text),
            Format::Open => text,
        })
    }

    /// Counts an answer.
    pub(super) fn note(&self, code: u16, began: Monotonic) {
        let now = Monotonic::now();
        let moment = Moment::new(now.0);
        let write = |key: &mut Key| key.push_shown(code);
        self.scrapes.requests.with(&moment, write, Count::one);
        let time = now.nanos_since(began);
        let observe = |times: &Histogram| times.observe(time);
        self.scrapes.durations.with(&moment, write, observe);
    }
}

impl Collector for Scrapes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.requests.encode(&mut encoder)?;
        self.durations.encode(&mut encoder)?;
        let refused = [("connection", &self.places)];
        reception::encode(&mut encoder, "l7d_metrics_refused", &refused)
    }
}
