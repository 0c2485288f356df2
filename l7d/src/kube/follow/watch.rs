//! Watches, from a version on.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::list::PAGE_BYTES_MAX;
use super::{Ended, Follower, Position};
use crate::backoff::within;
use crate::kube::board::{State, count};
use crate::kube::failure::Failure;
use crate::kube::lines::Lines;
use crate::kube::reduce::Reduce;
use crate::kube::wire::{Event, Named, Page, Status};

/// An event: etcd keeps no object of more than 1.5 MiB.
const EVENT_BYTES_MAX: usize = 4 << 20;
/// A watch that lasted for so long was a good one.
const GOOD: Duration = Duration::from_secs(1);
/// A server may end a watch a little before its time.
const EARLY: Duration = Duration::from_secs(2);

impl<R: Reduce> Follower<R> {
    /// Goes on from a version that is known.
    pub(super) async fn resume(
        &mut self,
        position: &mut Position,
        version: String,
    ) -> Result<(), Ended> {
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
