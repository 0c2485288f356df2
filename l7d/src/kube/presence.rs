//! Which of Cilium's resources there are: none need be, and they may come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::api::Api;
use super::failure::Failure;
use super::resource::plural_of_cilium;
use super::wire::Resources;
use crate::backoff::Backoff;
use crate::host::cluster::Kind;

/// Some dozen resources.
const ANSWER_MAX: usize = 1 << 20;
/// Where CIDR groups were before they came to the version of the others.
const VERSIONS: [&str; 2] = ["v2", "v2alpha1"];
const KINDS: [Kind; 3] = [
    Kind::CiliumNetworkPolicy,
    Kind::CiliumClusterwideNetworkPolicy,
    Kind::CiliumCidrGroup,
];

/// What the server said last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It could not be asked.
    Failed(Failure),
    /// These are there, by their versions.
    Found(BTreeMap<Kind, &'static str>),
}

/// Asks which there are, as long as one is missing.
#[derive(Clone)]
pub(crate) struct Look {
    found: watch::Sender<Presence>,
    /// One that was there is not.
    missed: Arc<Notify>,
}

impl Look {
    pub(crate) fn new() -> Self {
        Self {
            found: watch::Sender::default(),
            missed: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Presence> {
        self.found.subscribe()
    }

    /// One that should be there is not.
    pub(crate) fn missing(&self, kind: Kind) {
        self.found.send_if_modified(|presence| match presence {
            Presence::Found(found) => found.remove(&kind).is_some(),
            Presence::Unknown | Presence::Failed(_) => false,
        });
        self.missed.notify_one();
    }

    /// Asks for ever.
    pub(crate) async fn run(self, api: Api) {
        let timeouts = api.timeouts.clone();
        let mut backoff = Backoff::new(timeouts.first_retry, timeouts.retry);
        // When the last one has come, or gone.
        let mut changed: Option<Instant> = None;
        loop {
            match look(&api).await {
                Ok(found) => {
                    backoff.reset();
                    let is_whole = found.len() == KINDS.len();
                    let presence = Presence::Found(found);
                    let former = self.found.send_replace(presence.clone());
                    if matches!(former, Presence::Found(_)) && former != presence {
                        changed = Some(Instant::now());
                    }
                    if is_whole {
                        self.missed.notified().await;
                        changed = Some(Instant::now());
                        sleep(timeouts.coming).await;
                        continue;
                    }
                    let is_recent = changed.is_some_and(|at| at.elapsed() < timeouts.absent);
                    let pause = if is_recent {
                        timeouts.coming
                    } else {
                        timeouts.absent
                    };
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.missed.notified() => {
                            changed = Some(Instant::now());
                            sleep(timeouts.coming).await;
                        }
                    }
                }
                Err(failure) => {
                    let pause = failure.retry().unwrap_or_default().max(backoff.pause());
                    self.found.send_replace(Presence::Failed(failure));
                    sleep(pause).await;
                }
            }
        }
    }
}

/// Asks once: with one request where there is nothing, with a second one where only a group of prefixes is
/// missing in the first version.
async fn look(api: &Api) -> Result<BTreeMap<Kind, &'static str>, Failure> {
    let mut found = BTreeMap::new();
    for version in VERSIONS {
        let path = format!("/apis/cilium.io/{version}");
        let text = match api.read(&path, ANSWER_MAX).await {
            Ok(text) => text.unwrap_or_default(),
            Err(Failure::Missing) => return Ok(found),
            Err(failure) => return Err(failure),
        };
        let served: Resources<'_> = serde_json::from_slice(&text)
            .map_err(|error| Failure::Unreadable(error.to_string()))?;
        for kind in KINDS {
            let plural = plural_of_cilium(kind).unwrap_or_default();
            if served.resources.iter().any(|served| served.name == plural) {
                found.entry(kind).or_insert(version);
            }
        }
        if found.contains_key(&Kind::CiliumCidrGroup) {
            break;
        }
    }
    Ok(found)
}
