//! Follows one kind of objects: lists them, then watches what changes, and begins anew where that is
//! the only way. What was told stays true as far as anybody knows; nothing is told as gone while the
//! server is away.

mod list;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use super::api::Api;
use super::board::{Board, Entry, State, count};
use super::failure::Failure;
use super::presence::{Look, Presence};
use super::reduce::Reduce;
use super::resource::Resource;
use super::wire::{Metadata, Named};
use crate::backoff::{Backoff, within};
use crate::host::cluster::Kind;

/// So many failures one after another, and everything is asked for again.
const TRIES: u32 = 3;

/// Nobody takes what is told any more.
#[derive(Debug)]
struct Closed;

/// Why a step of following has ended.
#[derive(Debug)]
enum Ended {
    Closed,
    Failed(Failure),
}

impl From<Closed> for Ended {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// How the following goes, for whoever looks.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// One of the kinds of a cluster.
    Kind(Arc<Board>, Kind),
    /// Something that is followed beside them.
    Single(Arc<Entry>),
}

impl Told {
    fn entry(&self) -> &Entry {
        match self {
            Self::Kind(board, kind) => board.entry(*kind),
            Self::Single(entry) => entry,
        }
    }
}

/// A resource that need not be there.
pub(crate) struct Optional {
    pub(crate) kind: Kind,
    pub(crate) look: Look,
    pub(crate) found: Receiver<Presence>,
}

/// Follows objects.
pub(crate) struct Follower<R: Reduce> {
    pub(crate) api: Api,
    pub(crate) resource: Resource,
    /// What it is called in messages.
    pub(crate) name: &'static str,
    pub(crate) optional: Option<Optional>,
    pub(crate) reduce: R,
    pub(crate) updates: mpsc::Sender<R::Update>,
    pub(crate) told: Told,
}

/// Where following stands.
struct Position {
    /// What is known is of this version; none where all is to be asked for.
    version: Option<String>,
    backoff: Backoff,
    /// Failures since something worked.
    failures: u32,
}

impl<R: Reduce> Follower<R> {
    /// Follows until nobody takes what is told.
    pub(crate) async fn run(mut self) {
        let Err(Closed) = self.follow().await;
        tracing::debug!("{} are not followed any more", self.name);
    }

    async fn follow(&mut self) -> Result<Infallible, Closed> {
        let timeouts = &self.api.timeouts;
        let mut position = Position {
            version: None,
            backoff: Backoff::new(timeouts.first_retry, timeouts.retry),
            failures: 0,
        };
        if self.optional.is_some() {
            self.await_presence().await?;
        }
        loop {
            let step = match position.version.take() {
                None => self.list(&mut position).await,
                Some(version) => self.resume(&mut position, version).await,
            };
            match step {
                Ok(()) => {}
                Err(Ended::Closed) => return Err(Closed),
                Err(Ended::Failed(Failure::Missing)) if self.optional.is_some() => {
                    position.version = None;
                    self.miss();
                    self.await_presence().await?;
                }
                Err(Ended::Failed(failure)) => self.rest(&mut position, failure).await?,
            }
        }
    }

    /// Waits behind a failure.
    async fn rest(&self, position: &mut Position, failure: Failure) -> Result<(), Closed> {
        position.failures += 1;
        if !failure.keeps_version()
            || position.failures.is_multiple_of(TRIES) && !is_of_path(&failure)
        {
            position.version = None;
        }
        let entry = self.told.entry();
        if let Failure::Gone(_) = failure {
            count(&entry.expired);
            tracing::debug!("{}: {failure}; they are listed again", self.name);
        } else {
            count(&entry.failures);
            if entry.away(&failure) {
                tracing::warn!(
                    "{}: {failure}; what is known stays in force until the API server can be asked",
                    self.name
                );
            }
        }
        let pause = position.backoff.pause();
        let pause = failure
            .retry()
            .map_or(pause, |retry| within(retry, retry + pause));
        tokio::select! {
            () = sleep(pause) => Ok(()),
            () = self.updates.closed() => Err(Closed),
        }
    }

    /// The server answers.
    fn answers(&self, state: State) {
        if self.told.entry().set(state) {
            tracing::info!("{}: the API server answers again", self.name);
        }
    }

    fn miss(&self) {
        if let Some(Optional { kind, look, .. }) = &self.optional {
            look.missing(*kind);
        }
    }

    /// Waits until the resource is there. While it is not, there are no objects.
    async fn await_presence(&mut self) -> Result<(), Closed> {
        let mut is_told = false;
        loop {
            let Some(Optional { kind, found, .. }) = &mut self.optional else {
                return Ok(());
            };
            let kind = *kind;
            let presence = found.borrow_and_update().clone();
            match presence {
                Presence::Unknown => {}
                Presence::Failed(failure) => {
                    count(&self.told.entry().failures);
                    if self.told.entry().away(&failure) {
                        tracing::warn!("{}: {failure}", self.name);
                    }
                }
                Presence::Found(found) => {
                    if let Some(version) = found.get(&kind) {
                        self.resource = Resource::of(kind, version);
                        return Ok(());
                    }
                    self.answers(State::Absent);
                    if !is_told {
                        is_told = true;
                        self.told.entry().objects.store(0, Ordering::Relaxed);
                        let begins = self.reduce.begins();
                        self.tell(begins).await?;
                        let ends = self.reduce.ends();
                        self.tell(ends).await?;
                        self.told.entry().is_told.store(true, Ordering::Relaxed);
                    }
                }
            }
            let Some(Optional { found, .. }) = &mut self.optional else {
                return Ok(());
            };
            tokio::select! {
                changed = found.changed() => changed.map_err(|_gone| Closed)?,
                () = self.updates.closed() => return Err(Closed),
            }
        }
    }

    async fn tell(&self, update: Option<R::Update>) -> Result<(), Closed> {
        match update {
            Some(update) => self.updates.send(update).await.map_err(|_gone| Closed),
            None => Ok(()),
        }
    }

    /// Tells of an object.
    async fn take(&mut self, object: &RawValue) -> Result<(), Closed> {
        let update = match self.reduce.object(object.get()) {
            Ok(update) => update,
            Err(why) => {
                count(&self.told.entry().malformed);
                let named: Named<'_> = serde_json::from_str(object.get()).unwrap_or_default();
                tracing::error!("{} {}: left out: {why}", self.name, named.path());
                let Metadata {
                    name, namespace, ..
                } = &named.metadata;
                self.reduce.gone(namespace, name)
            }
        };
        self.tell(update).await
    }
}

/// Failures that say nothing of the version.
const fn is_of_path(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Connection(_) | Failure::Silent(_) | Failure::Busy { .. }
    )
}
