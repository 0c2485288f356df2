//! The agent: the only place that builds everything and connects it.
//!
//! Start order, each step undone by `--cleanup`: configuration and policies (a fault ends it here,
//! before anything is touched), the node's network, kernel programs, the proxy, the API. Then one
//! loop (`events`) keeps all of it true.

mod admit;
mod apply;
mod beside;
mod changes;
mod cluster;
mod events;
mod exports;
mod flows;
mod interfaces;
pub mod kernel;
mod kubernetes;
mod learn;
mod listeners;
mod losses;
mod metrics;
mod peers;
mod reload;
mod rights;
mod source;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use parsers::dns::Rcode;
use tokio::sync::{mpsc, watch};

use crate::config::{Config, ConfigError, DnsRefusal, KernelFeature, Transport};
use crate::datapath::features::{self, Features};
use crate::datapath::{self, Datapath, host_network};
use crate::export::Exports;
use crate::flow::FlowRing;
use crate::flow::ingest::Namer;
use crate::flow::view::NodeView;
use crate::metrics::{self as served, CallsLayer, Counting};
use crate::nat::Translations;
use crate::netfilter;
use crate::policy::{LoadReport, WouldDeny};
use crate::proxy::{self, Family, Sharing};
use crate::record::{Ledger, Record, Sink};
use crate::server;
use crate::session::Redaction;
use crate::tap;

use admit::{Directory, Kernel, KernelTables};
use apply::World;
use changes::Changes;
use events::Incoming;
use kubernetes::Followed;
use learn::LEARNINGS;
use listeners::Listeners;
use losses::{Counters, Watchman};
pub use source::Overrides;
use source::Source;

/// What the agent is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Run until told to stop.
    Run,
    /// Read everything, say what is wrong, start nothing.
    Check,
    /// Remove everything that an agent left on this node.
    Cleanup,
}

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Policies cannot be used, and there are no former ones to keep.
    #[error("{}", .0.join("\n"))]
    Policies(Vec<String>),
    /// Endpoints cannot be used.
    #[error(transparent)]
    Host(#[from] crate::host::Error),
    /// The kernel side does not work.
    #[error(transparent)]
    Datapath(#[from] datapath::Error),
    /// The kernel lacks what nothing replaces.
    #[error(transparent)]
    Kernel(#[from] features::Unfit),
    /// The node's network cannot be changed.
    #[error(transparent)]
    HostNetwork(#[from] host_network::Error),
    /// The proxy cannot start.
    #[error(transparent)]
    Proxy(#[from] proxy::Error),
    /// Metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] served::Error),
    /// The API cannot be served.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// The runtime cannot start.
    #[error("the agent's runtime: {0}")]
    Runtime(std::io::Error),
    /// The tap cannot be read.
    #[error("the tap's thread: {0}")]
    Tap(std::io::Error),
    /// The cluster cannot be followed.
    #[error(transparent)]
    Kubernetes(#[from] crate::kube::Error),
    /// A filter of flows cannot be used.
    #[error("configuration: {0}")]
    Flows(String),
    /// Files cannot be watched.
    #[error("policy files cannot be watched: {0}")]
    Watch(#[from] notify::Error),
}

/// Runs a task.
///
/// # Errors
/// Why it could not be done.
pub fn run(config: Option<&PathBuf>, overrides: Overrides, task: &Task) -> Result<(), Error> {
    let source = Source::new(config.cloned(), overrides);
    let config = source.read()?;
    match task {
        Task::Run => {
            raise_descriptor_limit();
            rights::lessen();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Error::Runtime)?;
            runtime.block_on(serve(source, config))
        }
        Task::Check => check(source, config),
        Task::Cleanup => cleanup(&config),
    }
}

fn check(source: Source, config: Config) -> Result<(), Error> {
    let (world, report) = World::read(source, config)?;
    let report = refuse_unusable(report)?;
    let node = Arc::new(flows::node_view(world.config()));
    flows::wanted(&world.config().flows, &node)?;
    exports::specs(world.config(), &node)?;
    metrics::wanted(&world.config().metrics, &node)?;
    for warning in report.errors.iter().chain(world.warnings()) {
        tell(warning);
    }
    tell(&format!(
        "the configuration is good: {} endpoints, {} policies",
        world.config().endpoints.len(),
        world.policies()
    ));
    Ok(())
}

/// A policy that never was good has nothing to fall back to: starting without it would leave open
/// what it closes.
fn refuse_unusable(report: LoadReport) -> Result<LoadReport, Error> {
    if report.unusable.is_empty() && (report.errors.is_empty() || report.changed) {
        Ok(report)
    } else {
        Err(Error::Policies(report.errors))
    }
}

fn cleanup(config: &Config) -> Result<(), Error> {
    let mut removed = datapath::cleanup(&config.datapath.pin_dir)?;
    removed.extend(netfilter::cleanup());
    removed.extend(host_network::cleanup(
        &config.datapath,
        &state_file(config),
    )?);
    if removed.is_empty() {
        tell("nothing of an agent is on this node");
    }
    for what in removed {
        tell(&format!("removed {what}"));
    }
    Ok(())
}

fn state_file(config: &Config) -> PathBuf {
    config.runtime_dir.join("host-network.json")
}

/// Says something to whoever started the agent.
#[expect(
    clippy::print_stderr,
    reason = "what the user sees at a terminal, beside the log"
)]
fn tell(text: &str) {
    eprintln!("l7d: {text}");
}

/// Everything that the running agent is made of.
struct Agent {
    world: World,
    features: Features,
    network: host_network::HostNetwork,
    /// Where endpoints' interfaces are looked for.
    finder: interfaces::Finder,
    datapath: Datapath,
    /// Version of the compiled policy that the kernel has.
    applied_version: Option<u64>,
    namer: Namer,
    translations: Arc<Translations>,
    /// Where records go: to the ring, past whoever counts them.
    sink: Arc<dyn Sink>,
    /// Transport protocols whose socket hooks are attached.
    socket_hooks: BTreeSet<Transport>,
    node: Arc<NodeView>,
    ring: Arc<FlowRing>,
    exports: Exports,
    /// Asks netfilter for its rules, where that is wanted.
    netfilter: Option<netfilter::Tracer>,
    counting: Option<Arc<Counting>>,
    ledger: Arc<Ledger>,
    watchman: Watchman,
    proxy: proxy::Proxy,
    tap: tap::Handle,
    changes: Changes,
    shared_status: Arc<parking_lot::Mutex<server::AgentStatus>>,
    /// Agents of the cluster, for who asks.
    peers: watch::Sender<Arc<server::Peers>>,
    /// Who follows the cluster, where one is configured.
    follower: Option<kubernetes::Follower>,
}

/// Counts what audited policies would have denied of what the proxy sees, before any reader may be
/// late.
struct Counted {
    would_deny: Arc<WouldDeny>,
    sink: Arc<dyn Sink>,
}

impl Counted {
    fn before(sink: &Arc<dyn Sink>, world: &World) -> Arc<dyn Sink> {
        Arc::new(Self {
            would_deny: Arc::clone(world.would_deny()),
            sink: Arc::clone(sink),
        })
    }
}

impl Sink for Counted {
    fn record(&self, record: &Record) {
        self.would_deny.note(record);
        self.sink.record(record);
    }
}

/// Each proxied connection has two sockets: as many as the system lets us.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// Reads what is configured, and begins to follow the cluster where that is.
async fn know(source: Source, config: Config) -> Result<(World, Option<Followed>), Error> {
    let (mut world, report) = World::read(source, config)?;
    for warning in refuse_unusable(report)?.errors {
        tracing::warn!("{warning}");
    }
    let mut cluster = kubernetes::follow(world.config(), world.cluster.outcomes())?;
    if let Some(cluster) = &mut cluster {
        world.wait_for_cluster(cluster).await;
    }
    Ok((world, cluster))
}

async fn serve(source: Source, config: Config) -> Result<(), Error> {
    let (world, cluster) = know(source, config).await?;
    let (follower, updates) = cluster.unzip();
    let config = world.config().clone();
    let features = Features::probe(&config.datapath.without)?;
    let ledger = Arc::new(Ledger::default());
    let node = Arc::new(flows::node_view(&config));
    let ring = Arc::new(flows::ring(&config.flows, &node, Arc::clone(&ledger))?);
    let exports = exports::start(&config, &ring, &node)?;
    let kernel = Kernel::default();
    let (learner, learnings) = mpsc::channel(LEARNINGS);
    let directory: Arc<dyn proxy::Directory> =
        Arc::new(Directory::new(&world, kernel.clone(), learner));
    let counting = counting(&config, &ring, &node)?;
    let sink = way_in(counting.as_ref(), &ring);
    let counted = Counted::before(&sink, &world);
    let translations = Arc::new(translations(&features, &world));
    let settings = proxy::Settings {
        sharing: sharing(&features),
        ..proxy_settings(&config, &world, &translations)
    };
    let proxy = proxy::start(&settings, &directory, &counted)?;
    let network = host_network::HostNetwork::set_up(&config.datapath, &state_file(&config))?;
    let settings = datapath::Settings {
        absent: features.absent().clone(),
        ..datapath_settings(&config, network.portal_index(), proxy.port())
    };
    let datapath::Started {
        datapath,
        ring: kernel_ring,
        tap_ring,
        ends,
    } = Datapath::start(&settings)?;
    let segments = Arc::clone(tap_ring.counts());
    let tap = tap::start(
        tap_ring,
        tap_settings(&config, &world, &translations),
        Arc::clone(&sink),
        world.identities().clone(),
        Arc::clone(&ledger),
    )
    .map_err(Error::Tap)?;
    let counters = counters((&kernel_ring, segments), &datapath, &proxy, &tap);
    let watchman = Watchman::begin(counters, &ledger);
    let mut agent = Agent {
        namer: namer(&world),
        world,
        features,
        network,
        finder: interfaces::Finder::open(),
        datapath,
        applied_version: None,
        translations,
        sink,
        socket_hooks: BTreeSet::new(),
        node,
        ring,
        exports,
        netfilter: None,
        counting,
        ledger,
        watchman,
        proxy,
        tap,
        changes: Changes::default(),
        shared_status: Arc::default(),
        peers: watch::Sender::default(),
        follower,
    };
    agent.connect(&kernel)?;
    let incoming = Incoming {
        ring: kernel_ring,
        ends,
        learnings,
        updates,
    };
    run_until_told(agent, &config, incoming).await
}

/// What is counted where something may be lost.
fn counters(
    (ring, segments): (&datapath::Ring, Arc<datapath::RingCounts>),
    datapath: &Datapath,
    proxy: &proxy::Proxy,
    tap: &tap::Handle,
) -> Counters {
    Counters {
        records: Arc::clone(ring.counts()),
        segments,
        connections: Arc::clone(datapath.connection_counts()),
        drops: datapath.drops().ok().cloned(),
        proxy: Arc::clone(proxy.stats()),
        tap: Arc::clone(tap.stats()),
    }
}

async fn run_until_told(
    mut agent: Agent,
    config: &Config,
    incoming: Incoming,
) -> Result<(), Error> {
    let (stop, stopped) = watch::channel(false);
    agent.listeners(config, stopped).start()?;
    let files = events::watch_files(&agent)?;
    tell("ready");
    let end = events::run(&mut agent, incoming, files).await;
    stop.send_replace(true);
    agent.proxy.stop();
    agent.tap.stop();
    agent.exports.stop();
    agent.world.learnt.save();
    end
}

/// Netfilter is asked where it can be, and may be.
fn translations(features: &Features, world: &World) -> Translations {
    if features.absent().contains(&KernelFeature::ConntrackNetlink) {
        Translations::default()
    } else {
        Translations::start(world.identities().clone())
    }
}

fn namer(world: &World) -> Namer {
    Namer::new(
        world.identities().clone(),
        Arc::clone(world.live()),
        Arc::clone(world.names()),
    )
}

/// Who counts what goes to the ring, where anybody can ask for metrics.
fn counting(
    config: &Config,
    ring: &Arc<FlowRing>,
    node: &Arc<NodeView>,
) -> Result<Option<Arc<Counting>>, Error> {
    if config.metrics.listen.is_none() {
        return Ok(None);
    }
    let sink = Arc::clone(ring) as Arc<dyn Sink>;
    let counting = Counting::new(&config.metrics, ring, sink);
    counting.set(&config.metrics, metrics::wanted(&config.metrics, node)?);
    Ok(Some(Arc::new(counting)))
}

/// Where records go: to the ring, past who counts them.
fn way_in(counting: Option<&Arc<Counting>>, ring: &Arc<FlowRing>) -> Arc<dyn Sink> {
    match counting {
        Some(counting) => Arc::clone(counting) as Arc<_>,
        None => Arc::clone(ring) as Arc<_>,
    }
}

fn limits(config: &Config) -> parsers::Limits {
    parsers::Limits {
        head_bytes: config.proxy.head_bytes,
        headers: config.proxy.headers,
        ..parsers::Limits::default()
    }
}

fn datapath_settings(config: &Config, portal: u32, proxy_port: u16) -> datapath::Settings {
    datapath::Settings {
        pin_dir: config.datapath.pin_dir.clone(),
        marks: config.datapath.marks,
        portal,
        proxy_port,
        ring_bytes: config.datapath.ring_bytes,
        policy_entries: config.datapath.policy_entries,
        ipcache_entries: config.datapath.ipcache_entries,
        connections: config.datapath.connections,
        aggregation: config.flows.aggregation,
        tap: config.tap,
        on_proxy_down: config.datapath.on_proxy_down,
        drop_records: config.drops.records_per_second,
        absent: config.datapath.without.clone(),
    }
}

fn tap_settings(config: &Config, world: &World, translations: &Arc<Translations>) -> tap::Settings {
    tap::Settings {
        limits: limits(config),
        reassembly: tap::REASSEMBLY,
        connections: config.tap.connections,
        redaction: Redaction::new(&config.flows.redact),
        names: Arc::clone(world.names()),
        translations: Arc::clone(translations),
        measures: Arc::default(),
    }
}

/// How the proxy's workers come to their connections on this kernel.
fn sharing(features: &Features) -> Sharing {
    if features.absent().contains(&KernelFeature::ReuseportAssign) {
        Sharing::One
    } else {
        Sharing::Group
    }
}

fn proxy_settings(
    config: &Config,
    world: &World,
    translations: &Arc<Translations>,
) -> proxy::Settings {
    proxy::Settings {
        workers: config.proxy.workers,
        sharing: Sharing::Group,
        limits: limits(config),
        head_timeout: config.proxy.head_timeout,
        drain: config.proxy.drain,
        connections_per_endpoint: config.proxy.connections_per_endpoint,
        marks: config.datapath.marks,
        dns_refusal: match config.dns.refusal {
            DnsRefusal::Refused => Rcode::REFUSED,
            DnsRefusal::NameError => Rcode::NXDOMAIN,
        },
        redaction: Redaction::new(&config.flows.redact),
        names: Arc::clone(world.names()),
        translations: Arc::clone(translations),
    }
}

impl Agent {
    /// Fills the maps and hooks the interfaces. The heartbeat comes first, so that the first
    /// packet that is redirected finds a proxy.
    fn connect(&mut self, kernel: &Kernel) -> Result<(), Error> {
        if let Some(v4) = self.proxy.listener(Family::V4) {
            let v6 = self.proxy.listener(Family::V6);
            self.datapath.set_listeners(&v4, v6.as_ref())?;
        }
        self.datapath.set_datagram_sockets(self.proxy.datagrams())?;
        kernel.set(KernelTables {
            originals: self.datapath.originals()?,
            connections: self.datapath.connections()?,
        });
        self.datapath.beat()?;
        let portal = self.network.portal().to_owned();
        self.datapath
            .attach_portal(&portal, self.network.portal_index())?;
        self.apply_world()?;
        self.apply_ports()?;
        self.follow_interfaces();
        self.ask_netfilter();
        self.datapath.retire_former();
        self.changes.tell_start(self.ring.started());
        self.tell_changes();
        self.publish_nodes();
        self.publish_status();
        Ok(())
    }

    /// Tells who listens of other agents, and flows of this node, where something has changed.
    fn publish_nodes(&self) {
        let labels = flows::labels(self.world.inventory.own_node());
        self.node.labels.set(labels);
        let own = apply::host_addresses();
        let peers = peers::peers(self.world.config(), &self.world.inventory, &own);
        self.peers.send_if_modified(|known| {
            let has_changed = **known != peers;
            if has_changed {
                *known = Arc::new(peers);
            }
            has_changed
        });
    }

    /// What others may ask of it.
    fn listeners(&self, config: &Config, stop: watch::Receiver<bool>) -> Listeners {
        let sources = self.sources();
        let exposition = self.counting.as_ref().map(|counting| {
            let mut registry = counting.registry(&served::Sources {
                ring: Arc::clone(&self.ring),
                status: Arc::clone(&sources.status),
                kernel_drops: self.datapath.drops().ok().cloned(),
                calls: Arc::clone(&sources.calls.0),
            });
            registry.register_collector(self.exports.board().collector());
            served::Exposition::new(registry)
        });
        let listen = config.metrics.listen.clone();
        Listeners {
            api: config.api.clone(),
            metrics: listen.zip(exposition.map(Arc::new)),
            sources,
            stop,
        }
    }

    fn sources(&self) -> server::Sources {
        let status = Arc::clone(&self.shared_status);
        let names = self.world.name_lister();
        let would_deny = Arc::clone(self.world.would_deny());
        let counted = Arc::clone(&would_deny);
        let ring = Arc::clone(&self.ring);
        let exports = Arc::clone(self.exports.board());
        server::Sources {
            calls: CallsLayer::default(),
            ring: Arc::clone(&self.ring),
            events: Arc::clone(self.changes.events()),
            node: Arc::clone(&self.node),
            status: Arc::new(move || {
                let (audited, would_deny) = counted.totals();
                let status = server::AgentStatus {
                    audited,
                    would_deny,
                    exports: exports.list().iter().map(server::ExportRow::of).collect(),
                    ..status.lock().clone()
                };
                status.with_flows(&ring)
            }),
            names: Arc::new(move || names.list()),
            audits: Arc::new(move || would_deny.list()),
            peers: self.peers.subscribe(),
        }
    }
}
