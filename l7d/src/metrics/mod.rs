//! Metrics, for Prometheus and whoever reads `OpenMetrics`.
//!
//! What records tell is counted where they are written, before any queue ([`Counting`]); what others
//! count is asked for at each scrape. Families with labels of endpoints share one [`Budget`]: beyond it
//! everything goes to one series of others, and the ledger tells how much did.
//!
//! | file | families |
//! |---|---|
//! | [`hubble`] | Hubble's own |
//! | [`retina`] | Retina's own, where they are wanted |
//! | [`requests`] | requests by path template, with the status of gRPC |
//! | [`ledger`] | what was seen, delivered, filtered and lost; rings, maps and clients |
//! | [`tcp`] | how TCP connections fare, by pairs of endpoints |
//! | [`drops`] | dropped packets and requests, by reason |
//! | [`agent`] | endpoints, policies, the proxy, the tap, names |
//! | [`calls`] | calls of the API |
//! | [`process`] | the agent itself |
//!
//! [`listener`] serves them. Values of labels are written into memory that is used again ([`key`]) and
//! looked up without a lock ([`table`]); a [`family`] has series of its own while there is room, and
//! one of others.

mod agent;
mod budget;
mod calls;
mod classic;
mod cluster;
mod count;
mod drops;
mod exemplar;
mod exposition;
mod family;
mod histogram;
mod hubble;
mod key;
mod ledger;
mod listener;
mod pair;
mod pods;
mod process;
mod reception;
mod requests;
mod retina;
mod routes;
mod table;
mod tcp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;

pub use budget::Budget;
pub use calls::{Calls, CallsLayer};
pub use exposition::Exposition;
pub use hubble::Wanted;
pub use listener::{Error, serve};
pub use pods::Pod;

use crate::clock::Monotonic;
use crate::config;
use crate::datapath::Drops as KernelDrops;
use crate::flow::FlowRing;
use crate::record::{Record, Sink};
use crate::server::AgentStatus;
use family::{AnyFamily, Moment};

/// What is read at a scrape.
#[derive(Clone)]
pub struct Sources {
    /// The flow ring, its clients, and the ledger.
    pub ring: Arc<FlowRing>,
    /// What the agent says of itself.
    pub status: Arc<dyn Fn() -> AgentStatus + Send + Sync>,
    /// What the kernel dropped, where that is seen.
    pub kernel_drops: Option<Arc<KernelDrops>>,
    /// Calls of the API.
    pub calls: Arc<Calls>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// How often series are looked through, as a part of the time after which they are idle.
const SWEEPS: u64 = 20;

/// Counts what records tell, and hands them on. It never waits, and in the usual case neither locks
/// nor allocates.
pub struct Counting {
    hubble: Arc<hubble::Metrics>,
    retina: Arc<retina::Metrics>,
    requests: Arc<requests::Requests>,
    tcp: Arc<tcp::Connections>,
    drops: Arc<drops::Drops>,
    budget: Arc<Budget>,
    swept: AtomicU64,
    pods: Mutex<pods::Pods>,
    sink: Arc<dyn Sink>,
}

impl Counting {
    /// Counts what goes to `sink`.
    pub fn new(settings: &config::Metrics, ring: &FlowRing, sink: Arc<dyn Sink>) -> Self {
        let budget = Arc::new(Budget::new(settings, Arc::clone(ring.ledger())));
        Self {
            hubble: Arc::new(hubble::Metrics::new(Arc::clone(&budget))),
            retina: Arc::new(retina::Metrics::new(Arc::clone(&budget))),
            requests: Arc::new(requests::Requests::new(settings, &budget)),
            tcp: Arc::new(tcp::Connections::new(settings.labels, &budget)),
            drops: Arc::new(drops::Drops::new()),
            budget,
            swept: AtomicU64::new(0),
            pods: Mutex::default(),
            sink,
        }
    }

    /// Takes over other bounds, templates of paths and Hubble's metrics, while records come.
    pub fn set(&self, settings: &config::Metrics, hubble: Vec<Wanted>) {
        self.budget.set(settings);
        self.requests.set_templates(&settings.paths);
        self.hubble.set(hubble);
        self.retina.set(&settings.retina);
    }

    /// Everything there is to scrape.
    pub fn registry(&self, sources: &Sources) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ledger::Ledger(sources.clone())));
        registry.register_collector(Box::new(agent::Agent(sources.clone())));
        registry.register_collector(Box::new(cluster::Cluster(sources.clone())));
        registry.register_collector(Box::new(Arc::clone(&sources.calls)));
        registry.register_collector(Box::new(process::Process));
        registry.register_collector(Box::new(Arc::clone(&self.hubble)));
        registry.register_collector(Box::new(retina::Scraped {
            metrics: Arc::clone(&self.retina),
            sources: sources.clone(),
        }));
        registry.register_collector(Box::new(Arc::clone(&self.requests)));
        registry.register_collector(Box::new(Arc::clone(&self.tcp)));
        registry.register_collector(Box::new(drops::Collector {
            told: Arc::clone(&self.drops),
            kernel: sources.kernel_drops.clone(),
        }));
        registry.register_collector(Box::new(Arc::clone(&self.budget)));
        registry
    }

    /// Pods have come (true) or gone: a minute after one has gone, its series go.
    pub fn note_pods(&self, pods: impl IntoIterator<Item = (Pod, bool)>) {
        let now = Monotonic::recent();
        let mut known = self.pods.lock();
        for (pod, is_there) in pods {
            known.note(pod, is_there, now);
        }
    }

    /// Drops series that nothing was added to for long, and those of pods that have gone; call it now and
    /// then.
    pub fn sweep(&self) {
        let now = Monotonic::recent();
        for (namespace, name) in self.pods.lock().take_due(now) {
            self.forget_pod(&namespace, &name);
        }
        let idle = self.budget.idle_ns();
        let swept = Monotonic(self.swept.load(Ordering::Relaxed));
        if now.nanos_since(swept) < idle / SWEEPS {
            return;
        }
        self.swept.store(now.0, Ordering::Relaxed);
        let before = now.0.saturating_sub(idle);
        self.each(&mut |family| family.sweep(before));
        self.tcp.sweep(before);
        self.requests.sweep_routes(before);
    }

    /// Drops series of a pod, whichever labels tell of it.
    fn forget_pod(&self, namespace: &str, name: &str) {
        let whole = format!("{namespace}/{name}");
        for wanted in [
            &[("source", whole.as_str())][..],
            &[("destination", whole.as_str())],
            &[("source_namespace", namespace), ("source_pod", name)],
            &[
                ("destination_namespace", namespace),
                ("destination_pod", name),
            ],
        ] {
            self.each(&mut |family| family.forget(wanted));
            self.tcp.forget(wanted);
        }
    }

    /// Whether something found no room for series of its own.
    pub fn is_full(&self) -> bool {
        self.budget.is_exceeded()
    }

    /// How many measurements went to the series of others so far.
    pub fn folded(&self) -> u64 {
        self.budget.folded()
    }

    fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        self.hubble.each(visit);
        self.retina.each(visit);
        self.requests.each(visit);
    }
}

impl Sink for Counting {
    fn record(&self, record: &Record) {
        let moment = Moment::new(Monotonic::recent().0);
        self.hubble.note(record, &moment);
        self.retina.note(record, &moment);
        self.requests.note(record, &moment);
        self.tcp.note(record, &moment);
        self.drops.note(record, &moment);
        moment.tell(&self.budget);
        self.sink.record(record);
    }
}

#[cfg(test)]
mod tests;
