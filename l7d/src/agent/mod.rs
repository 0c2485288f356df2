//! The agent: the only place that builds everything and connects it.
//!
//! Start order, each step undone by `--cleanup`: configuration and policies (a fault ends it here,
//! before anything is touched), the node's network, kernel programs, the proxy, the API. Then one
//! loop (`events`) keeps all of it true.

mod admit;
mod announce;
mod apply;
mod beside;
mod changes;
mod cluster;
mod events;
mod exports;
mod fd_store;
mod flows;
mod interfaces;
pub mod kernel;
mod kubernetes;
mod learn;
mod listeners;
mod losses;
mod memory;
mod metrics;
mod past;
mod peers;
mod predecessor;
mod reload;
mod rights;
mod serve;
mod settings;
mod slices;
mod source;
mod state;
mod status;
mod successor;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{Config, ConfigError, Transport};
use crate::datapath::features::{self, Features};
use crate::datapath::{self, Datapath, host_network};
use crate::export::Exports;
use crate::flow::FlowRing;
use crate::flow::ingest::Namer;
use crate::flow::view::NodeView;
use crate::metrics::{self as served, Counting};
use crate::nat::Translations;
use crate::netfilter;
use crate::policy::LoadReport;
use crate::proxy;
use crate::record::{Ledger, Sink};
use crate::server;
use crate::tap;

use apply::World;
use changes::Changes;
pub(crate) use events::unified_cgroup;
use losses::Watchman;
pub(crate) use rights::landlock_version;
pub use source::Overrides;
use source::Source;

/// What an agent does that another has taken over from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum WhenReplaced {
    /// End
    #[default]
    Exit,
    /// Wait to be ended, for a supervisor that would start it again
    Wait,
}

/// How an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// What it does once another has taken over from it.
    pub when_replaced: WhenReplaced,
    /// Somebody waits at its standard input to hear that it is ready.
    pub is_awaited: bool,
}

/// What the agent is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Run until told to stop.
    Run(Manner),
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
    /// The agent that runs already cannot be taken over from.
    #[error("an agent runs here already, and cannot be taken over from by {}: {cause}; end it first", path.display())]
    Predecessor {
        /// The socket.
        path: PathBuf,
        /// Why.
        cause: proxy::LinkBroken,
    },
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
        Task::Run(manner) => {
            serve::raise_descriptor_limit();
            memory::keep_large_apart();
            slices::shorten();
            let confinement = rights::lessen(&config, source.file());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Error::Runtime)?;
            runtime.block_on(serve::serve(source, config, *manner, confinement))
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
    account: memory::Account,
    proxy: proxy::Proxy,
    /// One of its workers does not move.
    is_held_up: bool,
    /// What the proxy was started with.
    proxy_parts: serve::ProxyParts,
    tap: tap::Handle,
    changes: Changes,
    shared_status: Arc<parking_lot::Mutex<server::AgentStatus>>,
    /// Agents of the cluster, for who asks.
    peers: watch::Sender<Arc<server::Peers>>,
    /// Who follows the cluster, where one is configured.
    follower: Option<kubernetes::Follower>,
}
