//! A watch that runs.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Begins, TURN, Watch, event};
use crate::answer::Cut;
use crate::asked::Form;
use crate::faults::Misbehaviour;
use crate::kinds::EVENTS;
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::store::Stored;
use crate::{events, form};

/// Why a watch has ended.
enum End {
    /// It was closed, by either side.
    Closed,
    /// It is cut off.
    Cut,
    /// Silence, until the client closes it.
    Silent,
}

/// A watch that runs.
pub(super) struct Telling {
    watch: Watch,
    shared: Arc<Shared>,
    sender: mpsc::Sender<Result<Bytes, Cut>>,
    /// Events so far.
    told: usize,
    affliction: Option<(Misbehaviour, usize)>,
    /// A table's columns are told once.
    has_columns: bool,
}

impl Telling {
    pub(super) const fn new(
        watch: Watch,
        shared: Arc<Shared>,
        sender: mpsc::Sender<Result<Bytes, Cut>>,
    ) -> Self {
        Self {
            watch,
            shared,
            sender,
            told: 0,
            affliction: None,
            has_columns: false,
        }
    }

    pub(super) async fn run(mut self) {
        let end = match self.begin().await {
            Ok(()) => self.follow().await,
            Err(end) => end,
        };
        match end {
            End::Closed => {}
            End::Cut => {
                let _gone = self.sender.send(Err(Cut)).await;
            }
            End::Silent => self.sender.closed().await,
        }
    }

    async fn begin(&mut self) -> Result<(), End> {
        let objects = {
            let store = self.shared.store();
            let page = match self.watch.begins {
                Begins::Silent => None,
                Begins::WithObjects | Begins::WithObjectsAndMark => {
                    store.list(&self.watch.scope, None, None).ok()
                }
            };
            if page.is_some() || self.watch.position == 0 {
                self.watch.position = store.revision();
            }
            page.map(|page| page.items).unwrap_or_default()
        };
        for (_, object) in &objects {
            self.tell("ADDED", object).await?;
        }
        if self.watch.begins == Begins::WithObjectsAndMark {
            let annotations = json!({ "k8s.io/initial-events-end": "true" });
            self.bookmark(Some(annotations)).await?;
        }
        Ok(())
    }

    async fn follow(&mut self) -> End {
        let ends = Instant::now() + self.watch.lasts;
        let mut changed = self.shared.changed();
        let mut bookmarks = tokio::time::interval(self.shared.bookmarks());
        bookmarks.reset();
        loop {
            drop(changed.borrow_and_update());
            if let Err(end) = self.tell_changes().await {
                return end;
            }
            tokio::select! {
                _changed = changed.changed() => {}
                () = self.sender.closed() => return End::Closed,
                () = tokio::time::sleep_until(ends) => {
                    // What came last may be of others, and the client is to know that it has missed nothing.
                    return match self.mark().await {
                        Ok(()) => End::Closed,
                        Err(end) => end,
                    };
                }
                _tick = bookmarks.tick() => {
                    if let Err(end) = self.mark().await {
                        return end;
                    }
                }
            }
        }
    }

    async fn mark(&mut self) -> Result<(), End> {
        if self.watch.has_bookmarks {
            self.bookmark(None).await?;
        }
        Ok(())
    }

    /// Tells what there is to tell.
    async fn tell_changes(&mut self) -> Result<(), End> {
        loop {
            self.suffer().await?;
            let (changes, is_served) = {
                let store = self.shared.store();
                (
                    store.changes(self.watch.position, TURN),
                    store.serves(&self.watch.scope.storage),
                )
            };
            let changes = match changes {
                Ok(changes) => changes,
                Err(refusal) => return self.refuse(&refusal).await,
            };
            if changes.is_empty() {
                return if is_served { Ok(()) } else { Err(End::Closed) };
            }
            for change in changes {
                // A server that went back to a former version tells nothing until it is there again.
                self.watch.position = self.watch.position.max(change.revision);
                if let Some((kind, object)) = event(&self.watch.scope, &change) {
                    self.tell(kind, &object).await?;
                }
            }
        }
    }

    async fn refuse(&mut self, refusal: &Refusal) -> Result<(), End> {
        let line = format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", refusal.status());
        self.send(line.into()).await?;
        Err(End::Closed)
    }

    async fn tell(&mut self, kind: &str, object: &Stored) -> Result<(), End> {
        self.suffer().await?;
        let shown = self.shown(object);
        let mut line = Vec::with_capacity(shown.len() + 40);
        line.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        line.extend_from_slice(&shown);
        line.extend_from_slice(b"}\n");
        if matches!(self.affliction, Some((Misbehaviour::BreakWatch(_), 0))) {
            line.truncate(line.len() / 2);
            self.send(line.into()).await?;
            return Err(End::Cut);
        }
        self.send(line.into()).await?;
        self.told += 1;
        if let Some((_, left)) = &mut self.affliction {
            *left = left.saturating_sub(1);
        }
        Ok(())
    }

    async fn send(&mut self, line: Bytes) -> Result<(), End> {
        self.sender
            .send(Ok(line))
            .await
            .map_err(|_closed| End::Closed)
    }

    fn shown(&mut self, object: &Stored) -> Bytes {
        let Watch {
            resource,
            version,
            form,
            ..
        } = &self.watch;
        let api_version = resource.api_version(version);
        if *form == Form::Whole && (&*resource.storage != EVENTS || resource.group.is_empty()) {
            return object.whole(&api_version, &resource.kind);
        }
        let mut value: Value =
            serde_json::from_slice(&object.whole(&api_version, &resource.kind)).unwrap_or_default();
        match form {
            Form::Whole => events::to_newer(&mut value),
            Form::Metadata => value = form::metadata(&value),
            Form::Table => {
                let has_columns = std::mem::replace(&mut self.has_columns, true);
                value = form::table(resource, version, &[value], &json!({}), !has_columns);
            }
        }
        value.to_string().into()
    }

    async fn bookmark(&mut self, annotations: Option<Value>) -> Result<(), End> {
        self.suffer().await?;
        let Watch {
            resource,
            version,
            position,
            form,
            ..
        } = &self.watch;
        let mut object = json!({
            "apiVersion": resource.api_version(version),
            "kind": resource.kind,
            "metadata": { "creationTimestamp": null, "resourceVersion": position.to_string() },
        });
        if let Some(annotations) = annotations {
            crate::place::set(&mut object, &["metadata", "annotations"], annotations);
        }
        match form {
            Form::Whole => {}
            Form::Metadata => object = form::metadata(&object),
            Form::Table => {
                let list = json!({ "resourceVersion": position.to_string() });
                object = form::table(resource, version, &[object], &list, false);
            }
        }
        let line = format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n");
        self.send(line.into()).await
    }

    /// Does what is to go wrong by now.
    async fn suffer(&mut self) -> Result<(), End> {
        if self.affliction.is_none() {
            let found = self.shared.faults.of_watch(&self.watch.resource.plural);
            self.affliction = found.map(|what| {
                let events = what.events();
                (what, events)
            });
        }
        let Some((what, 0)) = &self.affliction else {
            return Ok(());
        };
        match what {
            Misbehaviour::CloseWatch(_) => Err(End::Closed),
            Misbehaviour::SilenceWatch(_) => Err(End::Silent),
            Misbehaviour::Expire(_) => {
                let refusal = self.shared.store().too_old(self.watch.position);
                self.refuse(&refusal).await
            }
            Misbehaviour::GarbleWatch(_) => {
                self.affliction = None;
                self.send(Bytes::from_static(
                    b"{\"type\":\"MODIFIED\",\"object\":{\"meta\n",
                ))
                .await
            }
            _ => Ok(()),
        }
    }
}
