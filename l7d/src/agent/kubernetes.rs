//! The cluster's API, followed by a thread of its own: reading lists must not hold up the kernel's
//! records.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::apply::World;
use super::{Error, tell};
use crate::config::Config;
use crate::host::cluster::{Outcomes, Update};
use crate::kube::{Board, Reading, Running, Settings, State, Timeouts};
use crate::server::{ClusterStatus, KindRow};

/// How often it is told what the start waits for.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// The thread that follows a cluster; it ends when this is dropped.
pub(super) struct Follower {
    board: Arc<Board>,
    _stop: oneshot::Sender<()>,
}

/// Who follows, and what the cluster tells.
pub(super) type Followed = (Follower, mpsc::Receiver<Update>);

/// Begins to follow the cluster, where one is configured.
pub(super) fn follow(
    config: &Config,
    outcomes: watch::Receiver<Arc<Outcomes>>,
) -> Result<Option<Followed>, Error> {
    let Some(access) = config.kubernetes.clone() else {
        return Ok(None);
    };
    let settings = Settings {
        access,
        node: config.node.clone(),
        timeouts: Timeouts::default(),
    };
    let (stop, stopped) = oneshot::channel();
    let (teller, started) = sync_channel(1);
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(cause) => {
                let _told = teller.send(Err(Error::Runtime(cause)));
                return;
            }
        };
        runtime.block_on(async {
            let running = crate::kube::start(settings, outcomes).map_err(Error::Kubernetes);
            // Whoever waits for it is still there.
            let _told = teller.send(running);
            let _end = stopped.await;
        });
    };
    let thread = std::thread::Builder::new().name("l7d-kube".to_owned());
    thread.spawn(serve).map_err(Error::Runtime)?;
    let gone = |_gone| Err(Error::Runtime(std::io::ErrorKind::BrokenPipe.into()));
    let Running { updates, board } = started.recv().unwrap_or_else(gone)?;
    let follower = Follower { board, _stop: stop };
    Ok(Some((follower, updates)))
}

impl World {
    /// Takes back what was kept of the cluster. Where the kernel has nothing of a former agent it is in force
    /// at once; where it has, the cluster is waited for.
    pub(super) async fn begin_to_know(&mut self, followed: &mut Followed) {
        let server = followed.0.board.server().to_owned();
        self.take_state(&server);
        if crate::datapath::has_former(&self.config().datapath.pin_dir) {
            self.wait_for_cluster(followed).await;
        } else {
            self.begin_from_state();
        }
    }

    /// Waits until the cluster has told everything once, as the kernel has what a former agent has put into
    /// force: what this one knows now would open what that one closes. Where something was kept of the
    /// cluster, it is not waited for long.
    async fn wait_for_cluster(&mut self, (follower, updates): &mut Followed) {
        let patience = self.config().kubernetes.as_ref().map(|of| of.patience);
        let is_enough = sleep(patience.unwrap_or_default());
        tokio::pin!(is_enough);
        let mut say = interval(SAY_AGAIN);
        say.set_missed_tick_behavior(MissedTickBehavior::Delay);
        say.reset();
        while let Some(awaited) = self.awaited() {
            tokio::select! {
                update = updates.recv() => match update {
                    Some(update) => self.follow(update),
                    None => return,
                },
                () = &mut is_enough, if self.state.found().is_some() => {
                    return self.begin_from_state();
                }
                _ = say.tick() => tell(&format!(
                    "waiting: {awaited}; the kernel enforces what the former agent has left{}",
                    troubles(&follower.board)
                )),
            }
        }
        self.compile();
    }
}

/// Why the API does not tell what is awaited.
fn troubles(board: &Board) -> String {
    let away = board.readings().into_iter().find_map(|reading| {
        let State::Away { why, .. } = reading.state else {
            return None;
        };
        Some(format!("; {} is away: {why}", board.server()))
    });
    away.unwrap_or_default()
}

impl Follower {
    /// How the cluster is followed, for `l7d status`.
    pub(super) fn status(&self, world: &World) -> ClusterStatus {
        let board = &self.board;
        let writes = board.writes();
        ClusterStatus {
            server: board.server().to_owned(),
            in_force: world.cluster.is_in_force(),
            kinds: board.readings().iter().map(row).collect(),
            statuses_written: writes.statuses,
            events_written: writes.events,
            writes_failed: writes.failures,
            state: world.state.status(world.cluster.is_from_state()),
        }
    }
}

fn row(reading: &Reading) -> KindRow {
    let (state, since, trouble) = match &reading.state {
        State::Listing => ("listing", None, String::new()),
        State::Following => ("following", None, String::new()),
        State::Absent => ("absent", None, String::new()),
        State::Away { since, why } => ("away", Some(*since), why.clone()),
    };
    KindRow {
        kind: reading.kind.name().to_owned(),
        state: state.to_owned(),
        objects: reading.objects,
        lists: reading.lists,
        watches: reading.watches,
        changes: reading.events,
        expired: reading.expired,
        failures: reading.failures,
        malformed: reading.malformed,
        since: since.map_or_else(String::new, to_seconds),
        trouble,
    }
}

/// RFC 3339, in whole seconds.
fn to_seconds(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    let second = jiff::Timestamp::from_second(time.as_second()).unwrap_or_default();
    second.to_string()
}
