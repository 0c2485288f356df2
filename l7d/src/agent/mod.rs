//! The agent: the only place that builds everything and connects it.
//!
//! Start order, each step undone by `--cleanup`: configuration and policies (a fault ends it here,
//! before anything is touched), the node's network, kernel programs, the proxy, the API. Then one
//! loop (`events`) keeps all of it true.

mod admit;
mod apply;
mod events;
pub mod kernel;
mod learn;
mod reload;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use parsers::dns::Rcode;
use tokio::sync::{mpsc, watch};

use crate::config::{self, Config, ConfigError, DnsRefusal, Transport};
use crate::datapath::features::{self, Features};
use crate::datapath::{self, Datapath, host_network};
use crate::flow::FlowRing;
use crate::flow::ingest::Namer;
use crate::flow::view::NodeView;
use crate::policy::{LoadReport, WouldDeny};
use crate::proxy::{self, Family};
use crate::record::{Ledger, Record, Sink};
use crate::server;
use crate::session::Redaction;
use crate::tap;

use admit::{Directory, Originals};
use apply::World;
use learn::LEARNINGS;

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
    /// The API cannot be served.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// The runtime cannot start.
    #[error("the agent's runtime: {0}")]
    Runtime(std::io::Error),
    /// The tap cannot be read.
    #[error("the tap's thread: {0}")]
    Tap(std::io::Error),
    /// Files cannot be watched.
    #[error("policy files cannot be watched: {0}")]
    Watch(#[from] notify::Error),
}

/// Runs a task.
///
/// # Errors
/// Why it could not be done.
pub fn run(config: Option<&PathBuf>, task: &Task) -> Result<(), Error> {
    // The state before it is read: an edit in between is seen as one.
    let file = (config.cloned(), reload::Stamp::of(config));
    let config = match config {
        Some(path) => config::read_config_file(path)?,
        None => Config::default(),
    };
    match task {
        Task::Run => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Error::Runtime)?;
            runtime.block_on(serve(file, config))
        }
        Task::Check => check(file, config),
        Task::Cleanup => cleanup(&config),
    }
}

/// The configuration file and its state.
type File = (Option<PathBuf>, Option<reload::Stamp>);

fn check(file: File, config: Config) -> Result<(), Error> {
    let (world, report) = World::read(file, config)?;
    let report = refuse_unusable(report)?;
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
    datapath: Datapath,
    /// Version of the compiled policy that the kernel has.
    applied_version: Option<u64>,
    namer: Namer,
    /// Transport protocols whose socket hooks are attached.
    socket_hooks: BTreeSet<Transport>,
    ring: Arc<FlowRing>,
    ledger: Arc<Ledger>,
    proxy: proxy::Proxy,
    tap: tap::Handle,
    shared_status: Arc<parking_lot::Mutex<server::AgentStatus>>,
}

/// Counts what audited policies would have denied of what the proxy sees, before any reader may be
/// late.
struct Counted {
    would_deny: Arc<WouldDeny>,
    sink: Arc<dyn Sink>,
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

async fn serve(file: File, config: Config) -> Result<(), Error> {
    raise_descriptor_limit();
    let (world, report) = World::read(file, config)?;
    for warning in refuse_unusable(report)?.errors {
        tracing::warn!("{warning}");
    }
    let config = world.config().clone();
    let features = Features::probe()?;
    let ledger = Arc::new(Ledger::default());
    let ring = Arc::new(FlowRing::new(config.flows.ring, Arc::clone(&ledger)));
    let originals = Originals::default();
    let (learner, learnings) = mpsc::channel(LEARNINGS);
    let directory: Arc<dyn proxy::Directory> =
        Arc::new(Directory::new(&world, originals.clone(), learner));
    let sink: Arc<dyn Sink> = Arc::clone(&ring) as Arc<dyn Sink>;
    let counted: Arc<dyn Sink> = Arc::new(Counted {
        would_deny: Arc::clone(world.would_deny()),
        sink: Arc::clone(&sink),
    });
    let proxy = proxy::start(&proxy_settings(&config, &world), &directory, &counted)?;
    let network = host_network::HostNetwork::set_up(&config.datapath, &state_file(&config))?;
    let settings = datapath::Settings {
        pin_dir: config.datapath.pin_dir.clone(),
        marks: config.datapath.marks,
        portal: network.portal_index(),
        proxy_port: proxy.port(),
        ring_bytes: config.datapath.ring_bytes,
        policy_entries: config.datapath.policy_entries,
        ipcache_entries: config.datapath.ipcache_entries,
        tap: config.tap,
        on_proxy_down: config.datapath.on_proxy_down,
    };
    let (datapath, kernel_ring, tap_ring) = Datapath::start(&settings)?;
    let tap = tap::start(
        tap_ring,
        tap_settings(&config, &world),
        sink,
        world.identities().clone(),
        Arc::clone(&ledger),
    )
    .map_err(Error::Tap)?;
    let namer = Namer::new(
        world.identities().clone(),
        Arc::clone(world.live()),
        Arc::clone(world.names()),
    );
    let mut agent = Agent {
        world,
        features,
        network,
        datapath,
        applied_version: None,
        namer,
        socket_hooks: BTreeSet::new(),
        ring,
        ledger,
        proxy,
        tap,
        shared_status: Arc::default(),
    };
    agent.connect(&originals)?;
    let (stop, stopped) = watch::channel(false);
    server::start(&config.api, &agent.sources(&config), &stopped).await?;
    let files = events::watch_files(&agent)?;
    tell("ready");
    let end = events::run(&mut agent, kernel_ring, files, learnings).await;
    stop.send_replace(true);
    agent.proxy.stop();
    agent.tap.stop();
    agent.world.learnt.save();
    end
}

fn limits(config: &Config) -> parsers::Limits {
    parsers::Limits {
        head_bytes: config.proxy.head_bytes,
        headers: config.proxy.headers,
        ..parsers::Limits::default()
    }
}

fn tap_settings(config: &Config, world: &World) -> tap::Settings {
    tap::Settings {
        limits: limits(config),
        reassembly: tap::REASSEMBLY,
        connections: config.tap.connections,
        redaction: Redaction::new(&config.flows.redact),
        names: Arc::clone(world.names()),
    }
}

fn proxy_settings(config: &Config, world: &World) -> proxy::Settings {
    proxy::Settings {
        workers: config.proxy.workers,
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
    }
}

impl Agent {
    /// Fills the maps and hooks the interfaces. The heartbeat comes first, so that the first
    /// packet that is redirected finds a proxy.
    fn connect(&mut self, originals: &Originals) -> Result<(), Error> {
        if let Some(v4) = self.proxy.listener(Family::V4) {
            let v6 = self.proxy.listener(Family::V6);
            self.datapath.set_listeners(&v4, v6.as_ref())?;
        }
        self.datapath.set_datagram_sockets(self.proxy.datagrams())?;
        originals.set(self.datapath.originals()?);
        self.datapath.beat()?;
        let portal = self.network.portal().to_owned();
        self.datapath
            .attach_portal(&portal, self.network.portal_index())?;
        self.apply_world()?;
        self.apply_ports()?;
        self.follow_interfaces();
        self.datapath.retire_former();
        self.publish_status();
        Ok(())
    }

    fn sources(&self, config: &Config) -> server::Sources {
        let name = match config.cluster.as_str() {
            "" | "default" => config.node.clone(),
            cluster => format!("{cluster}/{}", config.node),
        };
        let seed = crate::clock::Timestamp::now().0;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let status = Arc::clone(&self.shared_status);
        let names = self.world.name_lister();
        let would_deny = Arc::clone(self.world.would_deny());
        let counted = Arc::clone(&would_deny);
        server::Sources {
            ring: Arc::clone(&self.ring),
            node: Arc::new(NodeView {
                name,
                version,
                seed,
            }),
            status: Arc::new(move || {
                let (audited, would_deny) = counted.totals();
                server::AgentStatus {
                    audited,
                    would_deny,
                    ..status.lock().clone()
                }
            }),
            names: Arc::new(move || names.list()),
            audits: Arc::new(move || would_deny.list()),
            address: config
                .api
                .tcp
                .as_ref()
                .map(|tcp| tcp.listen.to_string())
                .unwrap_or_default(),
        }
    }
}
