//! What a cluster tells is taken over at once, and put into force at a pace that leaves the node its CPU.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::apply::Step;
use super::{Agent, Error};
use crate::host::cluster::{Kind, Object, Outcomes, Update};
use crate::policy::PolicyObjects;

/// Updates taken over before anything else gets its turn.
const BATCH: usize = 256;
/// What is told together is put into force together.
const TOGETHER: Duration = Duration::from_millis(20);
/// Putting it into force takes a tenth of the time at most.
const REST: u32 = 9;
/// Looking for mistakes in policies a fiftieth.
const REST_FROM_LOOKING: u32 = 49;

/// The cluster, as far as it has been told.
pub(super) struct Cluster {
    /// Kinds of which everything has been told once.
    listed: BTreeSet<Kind>,
    is_whole: bool,
    /// When that was written which is in force until everything has been told.
    from_state: Option<SystemTime>,
    pace: Pace,
    /// When mistakes in policies may be looked for next, where there is anything to look at.
    look: Pace,
    outcomes: watch::Sender<Arc<Outcomes>>,
}

/// When something is to be done, and how much of the time it may take.
#[derive(Debug)]
struct Pace {
    due: Option<Instant>,
    /// Not before.
    rested: Instant,
    rest: u32,
}

impl Pace {
    fn new(rest: u32) -> Self {
        Self {
            due: None,
            rested: Instant::now(),
            rest,
        }
    }

    /// It is to be done within this time.
    fn want(&mut self, within: Duration) {
        let due = (Instant::now() + within).max(self.rested);
        self.due = Some(self.due.map_or(due, |former| former.min(due)));
    }

    /// Whether it is time.
    fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// It has been done, since then.
    fn rest_since(&mut self, began: Instant) {
        self.due = None;
        self.rested = Instant::now() + began.elapsed() * self.rest;
    }
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            listed: BTreeSet::new(),
            is_whole: false,
            from_state: None,
            pace: Pace::new(REST),
            look: Pace::new(REST_FROM_LOOKING),
            outcomes: watch::Sender::default(),
        }
    }

    /// What became of policies, as long as anybody writes it to them.
    pub(super) fn outcomes(&self) -> watch::Receiver<Arc<Outcomes>> {
        self.outcomes.subscribe()
    }

    /// Whether everything has been told once.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// What was kept on disk is in force until then.
    pub(super) fn begin_from_state(&mut self, written: SystemTime) {
        self.from_state = Some(written);
    }

    /// Whether what is in force was kept on disk.
    pub(super) fn is_from_state(&self) -> bool {
        self.from_state.is_some() && !self.is_whole
    }

    /// Whether the cluster's policies are in force, as they were told or kept.
    pub(super) fn is_in_force(&self) -> bool {
        self.is_whole || self.from_state.is_some()
    }

    /// Kinds that have not been told to their end.
    pub(super) fn awaited(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL
            .into_iter()
            .filter(|kind| !self.listed.contains(kind))
    }

    /// Notes the end of a list; true when it was the last one that was awaited.
    fn end_list(&mut self, kind: Kind) -> bool {
        self.listed.insert(kind);
        if self.is_whole || self.awaited().next().is_some() {
            return false;
        }
        self.is_whole = true;
        true
    }

    /// Waits until something is to be put into force.
    pub(super) async fn due(&self) {
        match self.pace.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

impl super::apply::World {
    /// Takes over an update; it is in force later.
    pub(super) fn follow(&mut self, update: Update) {
        self.state.note(&update);
        let node = &self.config.node;
        let within = match &update {
            Update::Applied(Object::Pod(pod)) if pod.node == *node => Duration::ZERO,
            Update::Applied(Object::Policy(_)) => Duration::ZERO,
            Update::Applied(_) | Update::Deleted(..) => TOGETHER,
            Update::ListBegins(_) => return self.take_update(update),
            Update::ListEnds(kind) => {
                if self.cluster.end_list(*kind) {
                    tracing::info!("the cluster is known: its policies are put into force");
                    self.store.set_waiting(false);
                    self.has_new_policies = true;
                }
                Duration::ZERO
            }
        };
        self.take_update(update);
        self.cluster.pace.want(within);
    }

    pub(super) fn take_update(&mut self, update: Update) {
        if PolicyObjects::concerns(&update) {
            self.has_new_policies |= self.store.follow(update);
        } else {
            self.inventory.apply(update);
        }
    }

    /// Looks for mistakes in policies and tells what became of each, if it is time.
    pub(super) fn look_at_policies(&mut self) {
        if !self.cluster.look.is_due() {
            return;
        }
        let began = Instant::now();
        self.examine();
        self.cluster.look.rest_since(began);
    }

    /// Mistakes in policies are to be looked for.
    pub(super) fn want_look(&mut self) {
        self.cluster.look.want(Duration::ZERO);
    }

    /// Tells who writes it to them what became of policies.
    pub(super) fn tell_outcomes(&self, outcomes: Outcomes) {
        self.cluster.outcomes.send_if_modified(|told| {
            let is_new = **told != outcomes;
            if is_new {
                *told = Arc::new(outcomes);
            }
            is_new
        });
    }

    /// What waits for the cluster.
    pub(super) fn awaited(&self) -> Option<String> {
        self.config.kubernetes.as_ref()?;
        let kinds: Vec<&str> = self.cluster.awaited().map(Kind::name).collect();
        let what = if self.cluster.is_from_state() {
            "the cluster's policies are in force as they were kept on disk"
        } else {
            "the cluster's policies are not in force yet"
        };
        let kinds = kinds.join(", ");
        (!kinds.is_empty()).then(|| format!("{what}: its API has not told all of {kinds}"))
    }
}

/// The next of what the cluster tells; never where none is asked.
pub(super) async fn next(updates: &mut Option<mpsc::Receiver<Update>>) -> Option<Update> {
    match updates {
        Some(updates) => updates.recv().await,
        None => std::future::pending().await,
    }
}

impl Agent {
    /// Takes over what the cluster tells, as much of it as is there.
    pub(super) fn follow_cluster(
        &mut self,
        first: Update,
        updates: &mut Option<mpsc::Receiver<Update>>,
    ) {
        self.world.follow(first);
        for _ in 1..BATCH {
            let next = updates.as_mut().map(mpsc::Receiver::try_recv);
            let Some(Ok(update)) = next else { return };
            self.world.follow(update);
        }
    }

    /// Puts into force what the cluster has told.
    pub(super) fn commit_cluster(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        let changed = self.world.inventory.take_changed();
        let step = self.world.compile_changed(changed);
        match step {
            Step::Nothing => {}
            Step::Addresses => self.apply_addresses()?,
            Step::All => self.apply_world()?,
        }
        if changed.local {
            self.follow_interfaces();
        }
        if changed.nodes {
            self.publish_nodes();
        }
        self.count_pods();
        self.world.cluster.pace.rest_since(began);
        tracing::debug!(?step, took = ?began.elapsed(), "the cluster's changes are in force");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_took_long_is_done_seldom() {
        let mut pace = Pace::new(9);
        pace.want(TOGETHER);
        assert!(!pace.is_due());
        tokio::time::advance(TOGETHER).await;
        assert!(pace.is_due());
        let began = Instant::now();
        tokio::time::advance(Duration::from_millis(100)).await;
        pace.rest_since(began);
        pace.want(Duration::ZERO);
        tokio::time::advance(Duration::from_millis(899)).await;
        assert!(!pace.is_due());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(pace.is_due());
    }

    #[test]
    fn policies_wait_for_every_list_and_for_each_once() {
        let mut cluster = Cluster::new();
        let (last, others) = Kind::ALL.split_last().expect("kinds");
        for kind in others {
            assert!(!cluster.end_list(*kind));
            assert!(!cluster.end_list(*kind));
        }
        assert_eq!(cluster.awaited().collect::<Vec<_>>(), [*last]);
        assert!(cluster.end_list(*last));
        assert!(!cluster.end_list(*last), "a later list is no beginning");
    }
}
