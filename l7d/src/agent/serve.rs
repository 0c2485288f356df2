//! The start of everything, in its order, and its end.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::admit::{Directory, Kernel, KernelTables};
use super::apply::World;
use super::changes::Changes;
use super::events::{self, Incoming, Signals};
use super::fd_store::Left;
use super::kubernetes::{self, Followed};
use super::learn::LEARNINGS;
use super::losses::{Counters, Watchman};
use super::memory::Account;
use super::predecessor::Predecessor;
use super::rights::Confinement;
use super::settings::{datapath_settings, proxy_settings, sharing, tap_settings};
use super::source::Source;
use super::successor::{Door, End};
use super::{
    Agent, Error, Manner, WhenReplaced, announce, exports, flows, interfaces, metrics,
    refuse_unusable, state_file, tell,
};
use crate::config::{Config, KernelFeature};
use crate::datapath::features::Features;
use crate::datapath::{self, Beats, Datapath, host_network};
use crate::flow::FlowRing;
use crate::flow::ingest::Namer;
use crate::flow::view::NodeView;
use crate::metrics::Counting;
use crate::nat::Translations;
use crate::policy::WouldDeny;
use crate::proxy::{self, Belongings, Family};
use crate::record::{Ledger, Record, Sink};
use crate::tap;

/// Reads what is configured, and begins to follow the cluster where that is.
async fn know(
    source: Source,
    config: Config,
    confinement: Arc<Confinement>,
) -> Result<(World, Option<Followed>), Error> {
    let (mut world, report) = World::read(source, config)?;
    world.confinement = confinement;
    for warning in refuse_unusable(report)?.errors {
        tracing::warn!("{warning}");
    }
    let mut cluster = kubernetes::follow(world.config(), world.cluster.outcomes())?;
    if let Some(cluster) = &mut cluster {
        world.begin_to_know(cluster).await;
    }
    Ok((world, cluster))
}

pub(super) async fn serve(
    source: Source,
    config: Config,
    manner: Manner,
    confinement: Arc<Confinement>,
) -> Result<(), Error> {
    let left = find_left(&config);
    let (mut world, cluster) = know(source, config, confinement).await?;
    let (follower, updates) = cluster.unzip();
    let config = world.config().clone();
    let features = Features::probe(&config.datapath.without)?;
    // Not before everything is known: the former one does nothing else from here on.
    let former = Predecessor::find(&config)?;
    let ledger = Arc::new(Ledger::default());
    let node = Arc::new(flows::node_view(&config));
    let ring = Arc::new(flows::ring(&config.flows, &node, Arc::clone(&ledger))?);
    let (belongings, beats) = take_over((former.as_ref(), left), &mut world, &ring)?;
    let takes_over = belongings.is_some();
    let exports = exports::start(&config, &ring, &node)?;
    let kernel = Kernel::default();
    let (learner, learnings) = mpsc::channel(LEARNINGS);
    let counting = counting(&config, &ring, &node)?;
    let sink = way_in(counting.as_ref(), &ring);
    let translations = Arc::new(translations(&features, &world));
    let settings = proxy::Settings {
        sharing: sharing(&features),
        ..proxy_settings(&config, &world, &translations)
    };
    let directory = Directory::new(&world, kernel.clone(), learner);
    let proxy_parts = ProxyParts::new(settings, directory, Counted::before(&sink, &world));
    let proxy = proxy_parts.start(belongings.unwrap_or_default())?;
    let network = host_network::HostNetwork::set_up(&config.datapath, &state_file(&config))?;
    let datapath::Started {
        datapath,
        ring: kernel_ring,
        tap_ring,
        ends,
    } = start_datapath(&config, &features, &network, proxy.port(), takes_over)?;
    let segments = Arc::clone(tap_ring.counts());
    let tap = tap_settings(&config, &world, &translations);
    let (tapped, identities) = (Arc::clone(&sink), world.identities().clone());
    let tap =
        tap::start(tap_ring, tap, tapped, identities, Arc::clone(&ledger)).map_err(Error::Tap)?;
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
        account: Account::open(),
        proxy,
        is_held_up: false,
        proxy_parts,
        tap,
        changes: Changes::default(),
        shared_status: Arc::default(),
        peers: watch::Sender::default(),
        follower,
    };
    agent.connect(&kernel)?;
    drop(beats);
    let mut incoming = Incoming {
        ring: kernel_ring,
        ends,
        learnings,
        updates,
    };
    if let Some(former) = former {
        agent.dismiss(former, &mut incoming.ring).await?;
    }
    run_until_told(agent, &config, incoming, manner).await
}

fn start_datapath(
    config: &Config,
    features: &Features,
    network: &host_network::HostNetwork,
    proxy_port: u16,
    takes_over: bool,
) -> Result<datapath::Started, datapath::Error> {
    Datapath::start(&datapath::Settings {
        takes_over,
        absent: features.absent().clone(),
        ..datapath_settings(config, network.portal_index(), proxy_port)
    })
}

/// Takes everything that a running agent has, and what it has learnt meanwhile; or what one that was
/// restarted has left, for which this one beats: one that runs does so itself.
fn take_over(
    (former, left): (Option<&Predecessor>, Option<(Left, Option<Beats>)>),
    world: &mut World,
    ring: &FlowRing,
) -> Result<(Option<Belongings>, Option<Beats>), Error> {
    let Some(former) = former else {
        let taken = left.and_then(|(left, beats)| Some((take_left(left)?, beats)));
        let (belongings, beats) = taken.unzip();
        return Ok((belongings, beats.flatten()));
    };
    let belongings = former.take(world.config(), ring)?;
    tracing::info!(
        connections = belongings.connections(),
        flows = ring.len(),
        "taken over from the agent that runs"
    );
    let config = world.config().clone();
    world.learnt.catch_up(&config);
    world.compile();
    Ok((Some(belongings), None))
}

/// First of all, since what comes next may take its time: who connects waits for a beat.
fn find_left(config: &Config) -> Option<(Left, Option<Beats>)> {
    let left = Left::find()?;
    Some((left, Beats::begin(&config.datapath.pin_dir)))
}

fn take_left(left: Left) -> Option<Belongings> {
    let taken = left.take();
    let taken = taken.inspect_err(|error| {
        tracing::error!(%error, "connections that a former agent has left are cut");
    });
    let belongings = taken.ok()?;
    tell(&format!(
        "going on with {} connections of the agent before the restart",
        belongings.connections()
    ));
    Some(belongings)
}

/// What the proxy is started with, now or once more.
pub(super) struct ProxyParts {
    settings: proxy::Settings,
    directory: Arc<dyn proxy::Directory>,
    sink: Arc<dyn Sink>,
}

impl ProxyParts {
    fn new(settings: proxy::Settings, directory: Directory, sink: Arc<dyn Sink>) -> Self {
        Self {
            settings,
            directory: Arc::new(directory),
            sink,
        }
    }

    fn start(&self, belongings: Belongings) -> Result<proxy::Proxy, proxy::Error> {
        proxy::start(&self.settings, &self.directory, &self.sink, belongings)
    }
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
    manner: Manner,
) -> Result<(), Error> {
    let (stop, stopped) = watch::channel(false);
    let served = agent.listeners(config, stopped).start()?;
    let files = events::watch_files(&agent)?;
    let door = Door::open(config)?;
    agent.world.confinement.filter_system_calls(config);
    agent.publish_status();
    let mut signals = Signals::heed()?;
    tell("ready");
    announce::ready(manner.is_awaited);
    let mut end = events::run(&mut agent, incoming, files, &door, &mut signals).await;
    stop.send_replace(true);
    if served.join().is_err() {
        tracing::error!("the thread of the API had panicked");
    }
    let is_replaced = matches!(end, Ok(End::Replaced(..)));
    if let Ok(End::Replaced(link, past)) = &mut end
        && let Err(error) = past.give(link).and_then(|()| link.make_way())
    {
        tracing::warn!(%error, "the successor is gone");
    }
    agent.proxy.stop();
    agent.tap.stop();
    agent.exports.stop();
    if is_replaced {
        agent.world.leave_state();
    } else {
        agent.world.learnt.save();
        agent.world.finish_state();
    }
    end?;
    if is_replaced && manner.when_replaced == WhenReplaced::Wait {
        tell("replaced; waiting to be ended");
        events::wait_to_be_ended(&mut signals).await;
    }
    Ok(())
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
pub(super) fn raise_descriptor_limit() {
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

impl Agent {
    /// Goes on with what a successor could not take.
    pub(super) fn take_back(&mut self, belongings: Belongings) -> Result<(), Error> {
        let former = std::mem::replace(&mut self.proxy, self.proxy_parts.start(belongings)?);
        std::thread::spawn(|| former.stop());
        self.connect_proxy()
    }

    /// Gives the kernel the proxy's sockets.
    fn connect_proxy(&mut self) -> Result<(), Error> {
        if let Some(v4) = self.proxy.listener(Family::V4) {
            let v6 = self.proxy.listener(Family::V6);
            self.datapath.set_listeners(&v4, v6.as_ref())?;
        }
        Ok(self.datapath.set_datagram_sockets(self.proxy.datagrams())?)
    }

    /// Fills the maps and hooks the interfaces. The heartbeat comes first, so that the first
    /// packet that is redirected finds a proxy.
    fn connect(&mut self, kernel: &Kernel) -> Result<(), Error> {
        self.connect_proxy()?;
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
}
