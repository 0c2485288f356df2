//! The agent's loop: kernel records, heartbeat, policy files, interfaces, signals.

use std::path::PathBuf;
use std::time::Duration;

use l7d_ebpf::records::STATE_ESTABLISHED;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::learn::Learning;
use super::{Agent, Error};
use crate::datapath::{HEARTBEAT_PERIOD, Ring, decode};
use crate::record::{Place, Sink as _};

/// Kernel records handled before anything else gets its turn.
const BATCH: usize = 512;
/// How often interfaces and the wall clock are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(500);
/// Editors write a file in several steps; this long after the last of them it is read.
const SETTLE: Duration = Duration::from_millis(100);

/// Folders that are watched, and word of their changes.
pub(super) struct Files {
    _watcher: RecommendedWatcher,
    changes: mpsc::Receiver<()>,
}

/// Runs until told to stop.
pub(super) async fn run(
    agent: &mut Agent,
    mut ring: Ring,
    mut files: Files,
    mut learnings: mpsc::Receiver<Learning>,
) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Error::Runtime)?;
    let mut heartbeat = interval(HEARTBEAT_PERIOD);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut housekeeping = interval(HOUSEKEEPING);
    housekeeping.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            _ = heartbeat.tick() => agent.datapath.beat()?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => agent.reload()?,
            Some(()) = files.changes.recv() => {
                tokio::time::sleep(SETTLE).await;
                while files.changes.try_recv().is_ok() {}
                agent.reload()?;
            }
            Some(first) = learnings.recv() => agent.learn(first, &mut learnings)?,
            _ = housekeeping.tick() => agent.keep_house(&mut ring)?,
            read = ring.read(BATCH, |bytes| agent.handle(bytes)) => {
                read.map_err(Error::Runtime)?;
            }
        }
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
    fn handle(&self, bytes: &[u8]) {
        match decode::decode(bytes) {
            Ok(packet) => {
                let record = self.namer.name(&packet);
                // A connection that is judged again, since any policy changed, is denied once.
                if packet.state != STATE_ESTABLISHED {
                    self.world.would_deny().note(&record);
                }
                self.ring.record(&record);
            }
            Err(error) => {
                tracing::debug!(%error, "a kernel record cannot be read");
                self.ledger.lose(Place::Decode, 1);
            }
        }
    }

    fn keep_house(&mut self, ring: &mut Ring) -> Result<(), Error> {
        if self.world.has_new_file() {
            self.reload()?;
        }
        if self.world.has_new_addresses() {
            self.world.compile();
            self.apply_world()?;
            tracing::info!("this host's addresses have changed");
        }
        self.follow_interfaces();
        self.forget_aged_names()?;
        self.namer.refresh_clock();
        self.ledger.lose(Place::KernelRing, ring.lost());
        self.publish_status();
        Ok(())
    }
}

/// Where the cgroup v2 hierarchy is mounted.
pub(super) fn unified_cgroup() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let is_unified = filesystem.split(' ').next() == Some("cgroup2");
        is_unified
            .then(|| mount.split(' ').nth(4).map(PathBuf::from))
            .flatten()
    })
}
