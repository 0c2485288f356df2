//! Follows one kind of objects: lists them, then watches what changes, and begins anew where that is
//! the only way. What was told stays true as far as anybody knows; nothing is told as gone while the
//! server is away.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::api::Api;
use super::board::{Board, Entry, State, count};
use super::failure::Failure;
use super::lines::Lines;
use super::presence::{Look, Presence};
use super::reduce::Reduce;
use super::resource::Resource;
use super::wire::{Event, Metadata, Named, Page, Status};
use crate::backoff::{Backoff, within};
use crate::host::cluster::Kind;

/// Objects in a page of a list: some megabytes of pods.
const PAGE: usize = 500;
/// A page of larger objects is asked for again with fewer of them.
const PAGE_BYTES_MAX: usize = 32 << 20;
/// An event: etcd keeps no object of more than 1.5 MiB.
const EVENT_BYTES_MAX: usize = 4 << 20;
/// A watch that lasted for so long was a good one.
const GOOD: Duration = Duration::from_secs(1);
/// So many failures one after another, and everything is asked for again.
const TRIES: u32 = 3;
/// A server may end a watch a little before its time.
const EARLY: Duration = Duration::from_secs(2);

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
    pub(crate) found: watch::Receiver<Presence>,
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

    /// Tells of all objects, page by page.
    async fn list(&mut self, position: &mut Position) -> Result<(), Ended> {
        count(&self.told.entry().lists);
        let mut resume = String::new();
        let mut limit = PAGE;
        let mut objects = 0;
        let mut has_begun = false;
        let mut tries = 0;
        loop {
            let page = self.page(&resume, limit).await;
            let text = match page {
                Ok(Some(text)) => text,
                Ok(None) if limit > 1 => {
                    limit /= 4;
                    limit = limit.max(1);
                    continue;
                }
                Ok(None) => {
                    let message = format!("an object of more than {PAGE_BYTES_MAX} bytes");
                    return Err(Failure::Unreadable(message).into());
                }
                // The page can be asked for again: what was read of the list so far is not lost.
                Err(failure) if !resume.is_empty() && failure.keeps_version() && tries < TRIES => {
                    tries += 1;
                    self.rest(position, failure).await?;
                    continue;
                }
                Err(failure) => return Err(failure.into()),
            };
            tries = 0;
            let page: Page<'_> = serde_json::from_slice(&text)
                .map_err(|error| Failure::Unreadable(error.to_string()))?;
            if !has_begun {
                has_begun = true;
                self.answers(State::Listing);
                let begins = self.reduce.begins();
                self.tell(begins).await?;
            }
            for object in page.items.iter().flatten() {
                self.take(object).await?;
                objects += 1;
            }
            if page.metadata.r#continue.is_empty() {
                position.version = Some(page.metadata.resource_version.into_owned());
                break;
            }
            resume = page.metadata.r#continue.into_owned();
        }
        self.told.entry().objects.store(objects, Ordering::Relaxed);
        let ends = self.reduce.ends();
        self.tell(ends).await?;
        self.told.entry().is_told.store(true, Ordering::Relaxed);
        self.answers(State::Following);
        Ok(())
    }

    async fn page(&self, resume: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.resource.page(limit, resume);
        self.api.read(&path, PAGE_BYTES_MAX).await
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

    /// Goes on from a version that is known.
    async fn resume(&mut self, position: &mut Position, version: String) -> Result<(), Ended> {
        position.version = Some(version.clone());
        if self.told.entry().is_away() || position.failures > 0 {
            self.probe(&version).await?;
        }
        let (least, most) = self.api.timeouts.watch;
        let lasts = within(least, most);
        let began = Instant::now();
        let ended = self.watch(position, &version, lasts).await;
        let took = began.elapsed();
        if took >= GOOD.min(least) {
            position.failures = 0;
            position.backoff.reset();
        }
        ended?;
        if took + EARLY < lasts {
            // A server that stops says so like this, and so may one that is back from a backup.
            position.failures += 1;
            sleep(position.backoff.pause()).await;
        }
        Ok(())
    }

    /// A server that went back to a backup would tell nothing until it has reached the version that it was
    /// at, and what it told of in between is no more.
    async fn probe(&self, version: &str) -> Result<(), Failure> {
        let text = self
            .api
            .read(&self.resource.probe(), PAGE_BYTES_MAX)
            .await?;
        let text = text.unwrap_or_default();
        let page: Page<'_> = serde_json::from_slice(&text)
            .map_err(|error| Failure::Unreadable(error.to_string()))?;
        let now = page.metadata.resource_version.parse::<u128>();
        match (now, version.parse::<u128>()) {
            (Ok(now), Ok(known)) if now < known => Err(Failure::WentBack),
            _ => Ok(()),
        }
    }

    /// Tells what changes behind a version, until the server ends it.
    async fn watch(
        &mut self,
        position: &mut Position,
        version: &str,
        lasts: Duration,
    ) -> Result<(), Ended> {
        count(&self.told.entry().watches);
        let deadline = Instant::now() + lasts + self.api.timeouts.grace;
        let mut pieces = self.api.open(&self.resource.watch(version, lasts)).await?;
        self.answers(State::Following);
        let mut lines = Lines::new(EVENT_BYTES_MAX);
        let mut is_first = true;
        loop {
            let piece = tokio::select! {
                piece = pieces.next(deadline) => piece?,
                () = self.updates.closed() => return Err(Ended::Closed),
            };
            let Some(piece) = piece else {
                return Ok(());
            };
            lines.push(&piece);
            loop {
                let line = match lines.next() {
                    Ok(Some(line)) => line,
                    Ok(None) => break,
                    Err(error) => {
                        count(&self.told.entry().malformed);
                        tracing::error!("{}: {error}: they are listed again", self.name);
                        return Err(Failure::Unreadable(error.to_string()).into());
                    }
                };
                let version = self.event(line).await?;
                position.version = Some(version);
                if std::mem::take(&mut is_first) {
                    position.failures = 0;
                    position.backoff.reset();
                }
            }
        }
    }

    /// Tells of a change; its version.
    async fn event(&mut self, line: &[u8]) -> Result<String, Ended> {
        let unreadable = |error: serde_json::Error| Failure::Unreadable(error.to_string());
        let event: Event<'_> = serde_json::from_slice(line).map_err(unreadable)?;
        if event.r#type == "ERROR" {
            let status: Status = serde_json::from_str(event.object.get()).map_err(unreadable)?;
            return Err(Failure::of_status(status, None).into());
        }
        let named: Named<'_> = serde_json::from_str(event.object.get()).map_err(unreadable)?;
        let metadata = &named.metadata;
        let entry = self.told.entry();
        match &*event.r#type {
            "BOOKMARK" => {}
            "ADDED" | "MODIFIED" => {
                count(&entry.events);
                if event.r#type == "ADDED" {
                    count(&entry.objects);
                }
                self.take(event.object).await?;
            }
            "DELETED" => {
                count(&entry.events);
                entry.forget();
                let gone = self.reduce.gone(&metadata.namespace, &metadata.name);
                self.tell(gone).await?;
            }
            other => {
                return Err(Failure::Unreadable(format!("an event `{other}`")).into());
            }
        }
        Ok(metadata.resource_version.clone().into_owned())
    }
}

/// Failures that say nothing of the version.
const fn is_of_path(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Connection(_) | Failure::Silent(_) | Failure::Busy { .. }
    )
}
