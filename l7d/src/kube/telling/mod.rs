//! Tells what became of policies: a condition in the status of Cilium's, and Events.
//!
//! Every agent has the same to say, and nobody is chosen to say it. Each waits for a random time, the longer
//! the more nodes there are, looks at what the object says by then, and writes only what is still missing. So
//! a change costs the server one write or a few, however many agents there are. An Event comes from whoever
//! wrote the status; `NetworkPolicies` have none, so that every agent tries to make the Event, and all but
//! the first find that it is there.

mod condition;
mod plan;
mod seen;
mod writes;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::api::Api;
use super::board::{Board, count};
use super::failure::Failure;
use crate::backoff::within;
use crate::clock::Timestamp;
use crate::host::cluster::{Kind, Outcome, Outcomes};
use plan::{Job, Plan};

pub(crate) use plan::has_status;
pub(crate) use seen::Seen;

/// Tells what became of policies.
pub(crate) struct Teller {
    pub(crate) api: Api,
    pub(crate) outcomes: watch::Receiver<Arc<Outcomes>>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) board: Arc<Board>,
    /// Our node's name.
    pub(crate) node: String,
}

impl Teller {
    /// Tells until nobody says any more what became of policies.
    pub(crate) async fn run(mut self) {
        let mut plan = Plan::default();
        let mut has_failed = false;
        let mut has_begun = false;
        loop {
            // While all that there is has not been told, nothing can be said of whom a policy selects.
            let next = if has_begun {
                plan.next_due()
            } else {
                Some(Instant::now() + self.api.timeouts.first_retry)
            };
            let due = async {
                match next {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.outcomes.changed() => if changed.is_err() {
                    return;
                },
                () = self.seen.changed.notified() => {}
                () = due => {}
            }
            has_begun = self.board.is_whole();
            if has_begun {
                let outcomes = Arc::clone(&self.outcomes.borrow_and_update());
                let said = |key: &plan::Key| self.seen.get(key);
                plan.update(&outcomes, said, Instant::now(), |outcome| {
                    self.wait(outcome)
                });
                if let Some(job) = plan.take_due(said, Instant::now()) {
                    self.write(&mut plan, &job, &mut has_failed).await;
                }
            }
            // What comes together is looked at together, and writes keep their distance.
            sleep(self.api.timeouts.telling.pace).await;
        }
    }

    /// How long to leave it to the others.
    fn wait(&self, outcome: &Outcome) -> Duration {
        let nodes = self.board.entry(Kind::Node).objects.load(Ordering::Relaxed);
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        let telling = &self.api.timeouts.telling;
        let settled = match outcome {
            // Its pods may be about to come.
            Outcome::SelectsNothing => telling.settle,
            Outcome::Accepted | Outcome::Refused(_) => Duration::ZERO,
        };
        settled + within(Duration::ZERO, telling.per_node.saturating_mul(nodes))
    }

    async fn write(&self, plan: &mut Plan, job: &Job, has_failed: &mut bool) {
        let now = Timestamp::now();
        let writes = &self.board.writes;
        let mut done = Ok(());
        if has_status(job.key.0) {
            done = self
                .api
                .write(writes::status(job, &now.to_rfc3339_micros()))
                .await;
            if done.is_ok() {
                count(&writes.statuses);
            }
        }
        let event = writes::event(job, &self.node, &now.to_rfc3339_micros());
        if let (Ok(()), Some(event)) = (&done, event) {
            done = self.api.write(event).await;
            if done.is_ok() {
                count(&writes.events);
            }
        }
        match done {
            Ok(()) => *has_failed = false,
            // It is gone, or another one, or has been told by another agent.
            Err(Failure::Missing | Failure::Refused { code: 409, .. }) => {}
            Err(failure) => {
                count(&writes.failures);
                let (kind, name) = &job.key;
                // Rights that are missing are missing for all of them.
                if std::mem::replace(has_failed, true) {
                    tracing::debug!("{kind} {name}: its status cannot be written: {failure}");
                } else {
                    tracing::warn!(
                        "{kind} {name}: its status cannot be written: {failure}; with \
                         kubernetes.status: false nothing is written"
                    );
                }
                plan.failed(job);
            }
        }
    }
}
