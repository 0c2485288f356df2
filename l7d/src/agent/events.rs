//! The agent's loop: kernel records, heartbeat, policy files, interfaces, signals.

use std::path::PathBuf;
use std::time::Duration;

use l7d_ebpf::drops::DropRecord;
use l7d_ebpf::records::STATE_ESTABLISHED;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::learn::Learning;
use super::successor::{Door, End};
use super::{Agent, Error, cluster, interfaces};
use crate::datapath::decode::Decoded;
use crate::datapath::{Ended, Ends, HEARTBEAT_PERIOD, Ring, decode};
use crate::host::cluster::Update;
use crate::nat::Clients;
use crate::record::Place;

/// Kernel records handled before anything else gets its turn, here and on this core: some 0.1 ms.
const BATCH: usize = 16;
/// A worker that has not moved for so long is held up. With what the kernel programs wait for a beat, it
/// takes them little more than a second to notice.
const HELD_UP: Duration = Duration::from_millis(500);
/// How often interfaces and the wall clock are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(500);
/// Editors write a file in several steps; this long after the last of them it is read.
const SETTLE: Duration = Duration::from_millis(100);

/// Folders that are watched, and word of their changes.
pub(super) struct Files {
    _watcher: RecommendedWatcher,
    changes: mpsc::Receiver<()>,
}

/// What others tell the agent.
pub(super) struct Incoming {
    pub(super) ring: Ring,
    pub(super) ends: Ends,
    pub(super) learnings: mpsc::Receiver<Learning>,
    /// Of the cluster, where one is followed.
    pub(super) updates: Option<mpsc::Receiver<Update>>,
}

/// What an agent is told by signals.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// It is about to be ended, for another one to be started in its place.
    restart: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on none of them ends this process by itself.
    pub(super) fn heed() -> Result<Self, Error> {
        let heed = |kind| signal(kind).map_err(Error::Runtime);
        Ok(Self {
            terminate: heed(SignalKind::terminate())?,
            interrupt: heed(SignalKind::interrupt())?,
            restart: heed(SignalKind::user_defined2())?,
            hangup: heed(SignalKind::hangup())?,
        })
    }
}

/// Runs until told to stop.
pub(super) async fn run(
    agent: &mut Agent,
    incoming: Incoming,
    mut files: Files,
    door: &Door,
    signals: &mut Signals,
) -> Result<End, Error> {
    let Incoming {
        mut ring,
        mut ends,
        mut learnings,
        mut updates,
    } = incoming;
    let mut heartbeat = interval(HEARTBEAT_PERIOD);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut housekeeping = interval(HOUSEKEEPING);
    housekeeping.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut interfaces = interfaces::changes();
    loop {
        tokio::select! {
            biased;
            _ = heartbeat.tick() => agent.beat()?,
            // First: the manager terminates right after it has told why.
            _ = signals.restart.recv() => return agent.end_for_a_restart(&mut ring).await,
            _ = signals.terminate.recv() => return Ok(End::Stopped),
            _ = signals.interrupt.recv() => return Ok(End::Stopped),
            link = door.next() => {
                if let Some((link, past)) = agent.hand_over(link, &mut ring).await? {
                    return Ok(End::Replaced(link, past));
                }
            }
            _ = signals.hangup.recv() => agent.reload()?,
            Some(()) = files.changes.recv() => {
                tokio::time::sleep(SETTLE).await;
                while files.changes.try_recv().is_ok() {}
                agent.reload()?;
            }
            () = interfaces::changed(&mut interfaces) => {
                agent.finder.look_anew();
                agent.follow_interfaces();
                agent.follow_cilium()?;
            }
            Some(first) = cluster::next(&mut updates) => agent.follow_cluster(first, &mut updates),
            () = agent.world.cluster.due() => agent.commit_cluster()?,
            Some(first) = learnings.recv() => agent.learn(first, &mut learnings)?,
            _ = housekeeping.tick() => agent.keep_house()?,
            read = ring.read(BATCH, |bytes| agent.handle(bytes)) => {
                read.map_err(Error::Runtime)?;
                agent.tell_ends(&mut ends, BATCH);
                // Who wants this core has waited for a batch, not for a flood of records.
                std::thread::yield_now();
            }
            Some(ended) = ends.next() => {
                agent.tell_end(&ended);
                agent.tell_ends(&mut ends, BATCH);
                std::thread::yield_now();
            }
        }
    }
}

/// Returns when somebody ends this process.
pub(super) async fn wait_to_be_ended(signals: &mut Signals) {
    tokio::select! {
        _ = signals.terminate.recv() => {}
        _ = signals.interrupt.recv() => {}
        _ = signals.restart.recv() => {}
    }
}

/// Watches the folders of policies. What changed between their first reading and this moment is found
/// by reading once more.
pub(super) fn watch_files(agent: &Agent) -> Result<Files, Error> {
    let (teller, changes) = mpsc::channel(1);
    let look_again = teller.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // A full queue means that somebody will look anyway.
        if event.is_ok_and(|event| !event.kind.is_access()) && teller.try_send(()).is_err() {
            tracing::trace!("another change of files");
        }
    })?;
    for folder in agent.world.store().watched_folders() {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
    if look_again.try_send(()).is_err() {
        tracing::trace!("a change has come already");
    }
    Ok(Files {
        _watcher: watcher,
        changes,
    })
}

impl Agent {
    pub(super) fn handle(&self, bytes: &[u8]) {
        self.ledger.deliver(Place::KernelRing, 1);
        match decode::counted(&self.ledger, decode::decode(bytes)) {
            None => {}
            Some(Decoded::End(end)) => {
                if let Some(ended) = Ended::of(&end) {
                    self.tell_end(&ended);
                }
            }
            Some(Decoded::KernelDrop(packet)) => self.tell_drop(&packet),
            Some(Decoded::Packet(packet)) => {
                let mut record = self.namer.name(&packet);
                // A connection that is judged again, since any policy changed, is denied once.
                if packet.state != STATE_ESTABLISHED {
                    self.world.would_deny().note(&record);
                }
                self.tap.measures().note(&record);
                self.translations
                    .tell(&mut record, Clients::Named, &self.sink);
            }
        }
    }

    /// Tells of a packet that the kernel has dropped.
    fn tell_drop(&self, packet: &DropRecord) {
        // Without the programs there would be no record.
        let Ok(drops) = self.datapath.drops() else {
            return;
        };
        let (reason, said) = drops.explain(packet);
        let is_by_rule = said.is_by_netfilter();
        let mut record = self.namer.name_drop(packet, reason, said);
        match &self.netfilter {
            Some(tracer) if is_by_rule => tracer.tell(record),
            Some(_) | None => self
                .translations
                .tell(&mut record, Clients::Named, &self.sink),
        }
    }

    /// Tells of a connection that ended.
    fn tell_end(&self, ended: &Ended) {
        let mut record = self.namer.end(ended);
        self.translations
            .tell(&mut record, Clients::Named, &self.sink);
    }

    /// Tells of connections that have ended, at most so many. The ring goes first: it may overflow, while
    /// whoever finds ends waits.
    fn tell_ends(&self, ends: &mut Ends, most: usize) {
        for _ in 0..most {
            let Some(ended) = ends.next_now() else {
                return;
            };
            self.tell_end(&ended);
        }
    }

    /// Tells the kernel programs that the proxy is there, unless one of its workers is held up: whoever
    /// were sent to that one would wait for ever.
    fn beat(&mut self) -> Result<(), Error> {
        let still = self.proxy.still_for();
        let is_held_up = still > HELD_UP;
        if is_held_up != self.is_held_up {
            self.is_held_up = is_held_up;
            if is_held_up {
                tracing::error!(
                    ?still,
                    "a proxy worker is held up; redirected ports do as without a proxy until it moves"
                );
            } else {
                tracing::warn!("the proxy moves again");
            }
        }
        if is_held_up {
            return Ok(());
        }
        Ok(self.datapath.beat()?)
    }

    fn keep_house(&mut self) -> Result<(), Error> {
        if self.world.source.is_new() {
            self.reload()?;
        }
        if self.world.has_new_addresses() {
            self.world.compile();
            self.apply_world()?;
            tracing::info!("this host's addresses have changed");
        }
        self.follow_interfaces();
        self.forget_aged_names()?;
        self.keep_state();
        self.world.look_at_policies();
        self.tell_changes();
        self.node.interfaces.refresh();
        self.namer.refresh_clock();
        // Each of these asks the kernel for much; who wants this core does not wait for all of it.
        std::thread::yield_now();
        self.watchman.look(&self.ring);
        std::thread::yield_now();
        self.keep_budget()?;
        if let Some(counting) = &self.counting {
            counting.sweep();
        }
        std::thread::yield_now();
        self.publish_status();
        Ok(())
    }
}

/// Where the cgroup v2 hierarchy is mounted.
pub(crate) fn unified_cgroup() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let is_unified = filesystem.split(' ').next() == Some("cgroup2");
        is_unified
            .then(|| mount.split(' ').nth(4).map(PathBuf::from))
            .flatten()
    })
}
