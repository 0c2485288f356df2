//! Follows a Kubernetes API server: what it tells of becomes [`Update`]s, one by one and in order, and what
//! became of policies is written back to them.
//!
//! | file | what it does |
//! |---|---|
//! | `access` | where the server is, and as whom it is asked |
//! | `api` | requests, bounded in time and size |
//! | `resource` | which requests are made for a kind |
//! | `follow` | list, watch, and what comes after every way in which these end |
//! | `presence` | which of Cilium's resources there are |
//! | `lines`, `wire`, `failure` | what the server sends; no I/O |
//! | `reduce` | objects → what is kept of them; no I/O |
//! | `telling` | what became of policies, written to them |
//! | `pods` | where the pods of one application are, for the relay |
//! | `board` | how all this goes, for whoever asks |
//!
//! Nothing of what is told is kept here. The queue of updates is bounded: who takes them late makes the
//! server wait, and where that takes too long, the server ends the watch and it is gone on with from the
//! version that was taken last.

mod access;
mod api;
mod board;
mod failure;
mod follow;
mod lines;
mod pods;
mod presence;
mod reduce;
mod resource;
mod telling;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::Timestamp;
use crate::config;
use crate::host::cluster::{Kind, Outcomes, Update};

pub use access::{Needed, needed};
pub use board::{Board, Reading, State, Writes};
pub use pods::{Place, PlaceUpdate, Places, Sought};

use access::Access;
use api::Api;
use follow::{Follower, Optional, Told};
use presence::Look;
use reduce::OfKind;
use resource::{Resource, plural_of_cilium};
use telling::{Seen, Teller};

/// A server's version is some lines.
const VERSION_MAX: usize = 64 << 10;
/// Updates on their way.
const QUEUE: usize = 512;

/// What to follow, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API is.
    pub access: config::Kubernetes,
    /// Our node's name.
    pub node: String,
    /// How long things take.
    pub timeouts: Timeouts,
}

/// How long things may take, and when they are tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// A connection.
    pub connect: Duration,
    /// Whether a connection is still there that says nothing.
    pub keepalive: Keepalive,
    /// From a request to the beginning of its answer: servers that are busy keep requests for a minute
    /// before they refuse them.
    pub answer: Duration,
    /// Between two pieces of an answer that is no watch.
    pub idle: Duration,
    /// How long a watch is asked to last, at least and at most: agents that began together shall not all
    /// come back together.
    pub watch: (Duration, Duration),
    /// What the server may take longer.
    pub grace: Duration,
    /// The first pause behind a failure.
    pub first_retry: Duration,
    /// The longest one.
    pub retry: Duration,
    /// Between two looks for resources that are absent.
    pub absent: Duration,
    /// The same while they come.
    pub coming: Duration,
    /// What became of policies.
    pub telling: Pauses,
}

/// When a connection that says nothing is asked whether it is still there: a watch may be silent for minutes,
/// and a server whose machine has gone says no farewell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keepalive {
    /// For the first time.
    pub first: Duration,
    /// Between two questions.
    pub interval: Duration,
    /// Questions without an answer.
    pub tries: u32,
}

/// When it is told what became of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pauses {
    /// Agents wait for a random time up to this one for each node of the cluster, so that about as many
    /// writes come to the server in a second, however large the cluster is.
    pub per_node: Duration,
    /// A policy that selects nothing may be there before its pods are.
    pub settle: Duration,
    /// Between two writes.
    pub pace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            keepalive: Keepalive {
                first: Duration::from_secs(20),
                interval: Duration::from_secs(5),
                tries: 3,
            },
            answer: Duration::from_secs(70),
            idle: Duration::from_secs(30),
            watch: (Duration::from_mins(5), Duration::from_mins(10)),
            grace: Duration::from_secs(15),
            first_retry: Duration::from_millis(800),
            retry: Duration::from_secs(30),
            absent: Duration::from_mins(1),
            coming: Duration::from_secs(2),
            telling: Pauses {
                per_node: Duration::from_millis(100),
                settle: Duration::from_secs(10),
                pace: Duration::from_millis(250),
            },
        }
    }
}

/// Why a cluster cannot be followed, whatever is waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of the configuration makes no sense.
    #[error("{}: {cause}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: Box<kube::config::KubeconfigError>,
    },
    /// Nobody says where the API server is.
    #[error(
        "nothing says where the API server is: no service account of a pod ({in_cluster}), and no \
         kubeconfig ({kubeconfig}); name a file as kubernetes.kubeconfig"
    )]
    Nowhere {
        /// Why there is no service account.
        in_cluster: String,
        /// Why there is no file.
        kubeconfig: Box<kube::config::KubeconfigError>,
    },
    /// The kubeconfig names a proxy.
    #[error("the kubeconfig names a proxy, {0}; the API server has to be reachable without one")]
    Proxy(String),
    /// Certificates, keys or credentials cannot be used.
    #[error("{server}: {cause}")]
    Unusable {
        /// The server.
        server: String,
        /// Why.
        cause: Box<kube::Error>,
    },
}

/// A cluster that is followed; dropping the updates ends it.
#[derive(Debug)]
pub struct Running {
    /// What the cluster tells.
    pub updates: mpsc::Receiver<Update>,
    /// How it goes.
    pub board: Arc<Board>,
}

/// Begins to follow; the server need not be there yet. To be called within a runtime.
///
/// # Errors
/// What no waiting mends.
pub fn start(
    settings: Settings,
    outcomes: watch::Receiver<Arc<Outcomes>>,
) -> Result<Running, Error> {
    let Settings {
        access,
        node,
        timeouts,
    } = settings;
    let found = Access::new(&access, &timeouts)?;
    let board = Arc::new(Board::new(found.server));
    let api = Api {
        client: found.client,
        timeouts,
    };
    let (sender, updates) = mpsc::channel(QUEUE);
    let look = Look::new();
    let seen = access.status.then(|| Arc::new(Seen::default()));
    for kind in Kind::ALL {
        let optional = plural_of_cilium(kind).map(|_| Optional {
            kind,
            look: look.clone(),
            found: look.subscribe(),
        });
        let follower = Follower {
            api: api.clone(),
            resource: Resource::of(kind, "v2"),
            name: kind.name(),
            optional,
            reduce: OfKind {
                kind,
                seen: seen.clone().filter(|_| telling::has_status(kind)),
                network_status: access.network_status,
            },
            updates: sender.clone(),
            told: Told::Kind(Arc::clone(&board), kind),
        };
        tokio::spawn(follower.run());
    }
    if let Some(seen) = seen {
        let teller = Teller {
            api: api.clone(),
            outcomes,
            seen,
            board: Arc::clone(&board),
            node,
        };
        until_closed(sender.clone(), teller.run());
    }
    until_closed(sender, look.run(api));
    Ok(Running { updates, board })
}

/// An API server that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it is, and its version where it tells.
    pub version: String,
    /// How many seconds its clock is ahead of this machine's, less than 0 where it is behind.
    pub ahead: Option<i64>,
}

/// The version of the API server, as it answers anybody who is let in.
///
/// # Errors
/// Why it does not, for people.
pub async fn version(access: &config::Kubernetes) -> Result<Server, String> {
    let timeouts = Timeouts {
        answer: Duration::from_secs(10),
        ..Timeouts::default()
    };
    let found = Access::new(access, &timeouts).map_err(|error| error.to_string())?;
    let server = found.server;
    let api = Api {
        client: found.client,
        timeouts,
    };
    let answer = api.read_with_date("/version", VERSION_MAX).await;
    let (answer, date) = answer.map_err(|failure| format!("{server}: {failure}"))?;
    let (now, _) = Timestamp::now().to_parts();
    let version: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
    let version = version
        .get("gitVersion")
        .and_then(serde_json::Value::as_str);
    let version = format!("{server} {}", version.unwrap_or_default());
    Ok(Server {
        version: version.trim_end().to_owned(),
        ahead: date.map(|date| date - now),
    })
}

/// Does something as long as anybody takes updates.
fn until_closed(updates: mpsc::Sender<Update>, doing: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(async move {
        tokio::select! {
            () = doing => {}
            () = updates.closed() => {}
        }
    });
}
