//! Where the pods of an application are, for who connects to them: other than for an inventory, pods with
//! their node's addresses count as well.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::mpsc;

use super::access::Access;
use super::api::Api;
use super::board::Entry;
use super::follow::{Follower, Told};
use super::reduce::Reduce;
use super::resource::Resource;
use super::{Error, Timeouts};
use crate::config;

const QUEUE: usize = 64;

/// Which pods are sought.
#[derive(Debug, Clone)]
pub struct Sought {
    /// Where the API is.
    pub access: config::Kubernetes,
    /// Their namespace; default: our own pod's, or that of the kubeconfig's context.
    pub namespace: Option<String>,
    /// A selector of labels, as `kubectl -l` takes it.
    pub labels: String,
    /// How long things take.
    pub timeouts: Timeouts,
}

/// A pod and where it can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its first address.
    pub ip: IpAddr,
    /// Whether it says to be ready, and is not about to end.
    pub is_ready: bool,
}

/// One step of what is told of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceUpdate {
    /// All are told from the beginning.
    Begins,
    /// All have been told: others are gone.
    Ends,
    /// One that is new, or elsewhere, or ready now.
    Applied(Place),
    /// One that is gone, or nowhere yet.
    Gone(String),
}

/// Pods that are followed; dropping it ends that.
#[derive(Debug)]
pub struct Places {
    /// What is told of them.
    pub updates: mpsc::Receiver<PlaceUpdate>,
    entry: Arc<Entry>,
}

impl Places {
    /// Begins to follow pods; the server need not be there yet. To be called within a runtime.
    ///
    /// # Errors
    /// What no waiting mends.
    pub fn follow(sought: Sought) -> Result<Self, Error> {
        let found = Access::new(&sought.access, &sought.timeouts)?;
        let namespace = sought.namespace.unwrap_or(found.namespace);
        let entry = Arc::new(Entry::new());
        let (sender, updates) = mpsc::channel(QUEUE);
        let follower = Follower {
            api: Api {
                client: found.client,
                timeouts: sought.timeouts,
            },
            resource: Resource::pods_in(&namespace, sought.labels),
            name: "agents' pods",
            optional: None,
            reduce: ToPlaces,
            updates: sender,
            told: Told::Single(Arc::clone(&entry)),
        };
        tokio::spawn(follower.run());
        Ok(Self { updates, entry })
    }

    /// Whether changes are told as they come.
    pub fn is_following(&self) -> bool {
        self.entry.is_following()
    }
}

struct ToPlaces;

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(rename = "podIP")]
    ip: String,
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

impl Reduce for ToPlaces {
    type Update = PlaceUpdate;

    fn begins(&mut self) -> Option<PlaceUpdate> {
        Some(PlaceUpdate::Begins)
    }

    fn ends(&mut self) -> Option<PlaceUpdate> {
        Some(PlaceUpdate::Ends)
    }

    fn object(&mut self, json: &str) -> Result<Option<PlaceUpdate>, String> {
        let pod: Pod = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let Pod {
            metadata,
            spec,
            status,
        } = pod;
        if status.ip.is_empty() || spec.node_name.is_empty() {
            return Ok(Some(PlaceUpdate::Gone(metadata.name)));
        }
        let ip = status.ip.parse::<IpAddr>();
        let ip = ip.map_err(|error| format!("status.podIP: `{}`: {error}", status.ip))?;
        let mut conditions = status.conditions.iter();
        let says_ready = conditions.any(|one| one.r#type == "Ready" && one.status == "True");
        Ok(Some(PlaceUpdate::Applied(Place {
            name: metadata.name,
            node: spec.node_name,
            ip,
            is_ready: says_ready && metadata.deletion_timestamp.is_none(),
        })))
    }

    fn gone(&mut self, _namespace: &str, name: &str) -> Option<PlaceUpdate> {
        Some(PlaceUpdate::Gone(name.to_owned()))
    }
}
