//! Connections to all agents: one each, kept open, tried again with growing pauses.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::connection::{Connection, Connector};
use super::source::Known;
use crate::backoff::Backoff;
use crate::server::{HEALTH_NAME, Peer};

/// Pauses between attempts to connect.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// An agent is asked this often whether it still answers; a connection to a machine that is cut off says
/// nothing by itself.
const PROBE: Duration = Duration::from_secs(10);
/// How long the answer may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that lived for so long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(10);

/// All agents that are known.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    /// By the names of their nodes.
    pub nodes: BTreeMap<String, Node>,
    /// Whether somebody would tell of others.
    pub is_current: bool,
}

/// An agent.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is.
    pub peer: Peer,
    /// How it is.
    pub state: State,
}

/// Whether an agent is there.
#[derive(Debug, Clone)]
pub enum State {
    /// The first attempt to connect has not ended.
    Connecting,
    /// It is.
    Ready(Connection),
    /// It is not, and why.
    Failed(Arc<str>),
}

impl Nodes {
    /// Whether agents are known, and of each if it is there.
    pub fn is_settled(&self) -> bool {
        let is_connecting = |node: &Node| matches!(node.state, State::Connecting);
        let has_some = self.is_current || !self.nodes.is_empty();
        has_some && !self.nodes.values().any(is_connecting)
    }

    /// Agents that are there, by the names of their nodes.
    pub fn ready(&self) -> impl Iterator<Item = (&String, &Connection)> {
        self.nodes
            .iter()
            .filter_map(|(name, node)| match &node.state {
                State::Ready(connection) => Some((name, connection)),
                State::Connecting | State::Failed(_) => None,
            })
    }

    /// Takes those that are being connected for those that are not there.
    pub(super) fn give_up_connecting(&mut self) {
        for node in self.nodes.values_mut() {
            if matches!(node.state, State::Connecting) {
                node.state = State::Failed("it is being connected".into());
            }
        }
    }
}

/// Keeps `nodes` true for as long as `known` is told.
pub async fn keep(
    connector: Arc<Connector>,
    mut known: watch::Receiver<Known>,
    nodes: watch::Sender<Arc<Nodes>>,
) {
    let mut keepers: BTreeMap<String, Keeper> = BTreeMap::new();
    known.mark_changed();
    while known.changed().await.is_ok() {
        let Known { peers, is_current } = known.borrow_and_update().clone();
        keepers.retain(|name, keeper| peers.get(name) == Some(&keeper.peer));
        let fresh = peers
            .iter()
            .filter(|(name, _)| !keepers.contains_key(*name));
        let fresh: Vec<_> = fresh
            .map(|(name, peer)| (name.clone(), peer.clone()))
            .collect();
        nodes.send_modify(|nodes| {
            let nodes = Arc::make_mut(nodes);
            nodes.is_current = is_current;
            nodes.nodes.retain(|name, _| keepers.contains_key(name));
            for (name, peer) in &fresh {
                let node = Node {
                    peer: peer.clone(),
                    state: State::Connecting,
                };
                nodes.nodes.insert(name.clone(), node);
            }
        });
        for (name, peer) in fresh {
            let keeper = Keeper::start(name.clone(), peer, &connector, &nodes);
            keepers.insert(name, keeper);
        }
    }
}

/// The task that keeps an agent connected, until this is dropped.
struct Keeper {
    peer: Peer,
    task: AbortHandle,
}

impl Keeper {
    fn start(
        name: String,
        peer: Peer,
        connector: &Arc<Connector>,
        nodes: &watch::Sender<Arc<Nodes>>,
    ) -> Self {
        let keeping = keep_one(name, peer.clone(), Arc::clone(connector), nodes.clone());
        let task = tokio::spawn(keeping).abort_handle();
        Self { peer, task }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_one(
    node: String,
    peer: Peer,
    connector: Arc<Connector>,
    nodes: watch::Sender<Arc<Nodes>>,
) {
    let set = |state: State| {
        nodes.send_modify(|nodes| {
            if let Some(node) = Arc::make_mut(nodes).nodes.get_mut(&node) {
                node.state = state;
            }
        });
    };
    let address = &peer.address;
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    let mut told = String::new();
    loop {
        let reason = match reach(&connector, &peer).await {
            Ok(connection) => {
                tracing::info!(%node, %address, "connected");
                told.clear();
                let since = Instant::now();
                set(State::Ready(connection.clone()));
                let reason = watch_over(&connection).await;
                connection.close();
                if since.elapsed() >= GOOD {
                    backoff.reset();
                }
                reason
            }
            Err(reason) => reason,
        };
        if reason != told {
            tracing::warn!(%node, %address, "not available: {reason}");
        }
        set(State::Failed(reason.as_str().into()));
        told = reason;
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// An agent that answers: it may accept connections and do nothing with them, or not like the relay's
/// certificate.
async fn reach(connector: &Connector, peer: &Peer) -> Result<Connection, String> {
    let connected = connector.connect(peer).await;
    let connection = connected.map_err(|error| error.to_string())?;
    probe(&connection).await?;
    Ok(connection)
}

/// Returns when a connection is of no use any more, and why.
async fn watch_over(connection: &Connection) -> String {
    loop {
        tokio::select! {
            () = connection.closed() => return "it has closed the connection".to_owned(),
            () = tokio::time::sleep(PROBE) => {}
        }
        if let Err(reason) = probe(connection).await {
            return reason;
        }
    }
}

/// Finds out whether an agent answers at all, whatever it says: not every one knows the question.
async fn probe(connection: &Connection) -> Result<(), String> {
    let mut client = HealthClient::with_origin(connection.clone(), Connection::origin());
    let request = HealthCheckRequest {
        service: HEALTH_NAME.to_owned(),
    };
    let asked = tokio::time::timeout(PROBE_TIMEOUT, client.check(request)).await;
    let Err(status) = asked.map_err(|_elapsed| "it does not answer".to_owned())? else {
        return Ok(());
    };
    let mut cause: Option<&dyn Error> = status.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    cause.map_or(Ok(()), |cause| Err(cause.to_string()))
}
