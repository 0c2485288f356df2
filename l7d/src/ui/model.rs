//! What is kept of what a server tells.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parsers::template::Templates;
use proto::flow::Flow;
use proto::observer::ServerStatusResponse;
use proto::relay::NodeStatusEvent;
use serde::Serialize;

use super::flows::Flows;
use crate::clock::Timestamp;
use crate::map::overview::EdgeFigures;
use crate::map::{By, Graph, Node, NodeKind, Overview, Reader, Timeline};

/// Longest window that is kept in short parts; a longer one is of everything.
const SHORT: Duration = Duration::from_mins(15);
/// Most nodes that are told of as unavailable.
const NODES_TOLD: usize = 8;

/// Most namespaces that can be chosen.
const NAMESPACES: usize = 500;

/// What is kept.
#[derive(Debug)]
pub(super) struct Model {
    reader: Reader,
    latest: Timeline,
    all: Timeline,
    pub(super) flows: Flows,
    pub(super) health: Health,
    /// Namespaces that have been seen.
    pub(super) namespaces: BTreeSet<String>,
}

/// How the server is, as the page tells.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Health {
    /// What it is called.
    pub(super) server: String,
    /// Its version.
    pub(super) version: String,
    /// Whether it is connected.
    pub(super) is_connected: bool,
    /// Why not.
    pub(super) error: String,
    /// Flows that came.
    pub(super) flows: u64,
    /// Events that were lost on the way.
    pub(super) lost: u64,
    /// Nodes that it is connected to, where it is a relay.
    pub(super) nodes: Option<u32>,
    /// Nodes that it cannot reach.
    pub(super) unavailable: Vec<String>,
}

/// Which part of the map is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// The latest seconds; all where none are given.
    pub(super) seconds: Option<u64>,
    /// Whether nodes are namespaces.
    pub(super) by_namespace: bool,
    /// Only this namespace and whom it talks to.
    pub(super) namespace: Option<String>,
    /// Only this node and whom it talks to.
    pub(super) node: Option<String>,
}

impl Model {
    pub(super) fn new(server: String, templates: Templates) -> Self {
        Self {
            reader: Reader::new(By::Workload, templates),
            latest: Timeline::latest(),
            all: Timeline::all(),
            flows: Flows::default(),
            namespaces: BTreeSet::new(),
            health: Health {
                server,
                error: "not connected yet".to_owned(),
                ..Health::default()
            },
        }
    }

    /// Takes a flow; its time.
    pub(super) fn take(&mut self, flow: &Flow) -> Timestamp {
        self.health.flows += 1;
        let Some(seen) = self.reader.read(flow) else {
            let time = flow.time.unwrap_or_default();
            let seconds = u64::try_from(time.seconds).unwrap_or(0);
            let nanos = u64::try_from(time.nanos).unwrap_or(0);
            return Timestamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
        };
        for namespace in [&seen.client.namespace, &seen.server.namespace] {
            let is_new = !namespace.is_empty() && !self.namespaces.contains(namespace);
            if is_new && self.namespaces.len() < NAMESPACES {
                self.namespaces.insert(namespace.clone());
            }
        }
        self.latest.add(&seen);
        self.all.add(&seen);
        let nodes = (seen.client.id().into(), seen.server.id().into());
        self.flows.keep(flow, &seen, nodes);
        seen.time
    }

    pub(super) fn lose(&mut self, count: u64) {
        self.health.lost += count;
    }

    pub(super) fn connected(&mut self) {
        self.health.is_connected = true;
        self.health.error.clear();
    }

    pub(super) fn disconnected(&mut self, error: String) {
        self.health.is_connected = false;
        self.health.error = error;
    }

    pub(super) fn status(&mut self, status: &ServerStatusResponse) {
        self.health.version.clone_from(&status.version);
        self.health.nodes = status.num_connected_nodes.map(|nodes| nodes.value);
        let names = status.unavailable_nodes.iter().take(NODES_TOLD);
        self.health.unavailable = names.cloned().collect();
    }

    /// What a relay says of its nodes.
    pub(super) fn nodes(&mut self, event: &NodeStatusEvent) {
        use proto::relay::NodeState;
        let unavailable = &mut self.health.unavailable;
        unavailable.retain(|node| !event.node_names.contains(node));
        if matches!(
            event.state_change(),
            NodeState::NodeError | NodeState::NodeUnavailable
        ) {
            unavailable.extend(event.node_names.iter().cloned());
            unavailable.truncate(NODES_TOLD);
        }
    }

    /// Whether what is told happened long ago.
    pub(super) fn is_recording(&self) -> bool {
        self.all.is_recording(Timestamp::now())
    }

    fn timeline(&self, part: &Part) -> (&Timeline, Option<Duration>) {
        let length = part.seconds.map(Duration::from_secs);
        match length {
            Some(length) if length <= SHORT => (&self.latest, Some(length)),
            length => (&self.all, length),
        }
    }

    /// Since when a part is.
    pub(super) fn start(&self, part: &Part) -> Timestamp {
        let (timeline, length) = self.timeline(part);
        timeline.window(Timestamp::now(), length).0
    }

    /// The map of a part.
    pub(super) fn overview(&self, part: &Part) -> Overview {
        let (timeline, length) = self.timeline(part);
        let (start, seconds) = timeline.window(Timestamp::now(), length);
        let graph = part.graph(&timeline.since(start));
        let mut map = Overview::new(&graph, Some(seconds));
        map.lost = self.health.lost;
        map
    }

    /// What is known of one pair of nodes in a part.
    pub(super) fn edge(&self, part: &Part, client: &str, server: &str) -> Option<EdgeFigures> {
        let (timeline, length) = self.timeline(part);
        let (start, seconds) = timeline.window(Timestamp::now(), length);
        let is_meant = |one: &Node, other: &Node| one.id() == client && other.id() == server;
        let graph = part.grouped(&timeline.since(start));
        let graph = graph
            .regrouped(|one, other| is_meant(one, other).then(|| (one.clone(), other.clone())));
        Overview::new(&graph, Some(seconds)).edges.pop()
    }

    /// What happened when, and how long each of it is, in seconds.
    pub(super) fn bars(
        &self,
        part: &Part,
        pair: Option<(&str, &str)>,
    ) -> (Vec<crate::map::timeline::Bar>, u64) {
        let (timeline, length) = self.timeline(part);
        let (start, _) = timeline.window(Timestamp::now(), length);
        let bars = timeline.bars(start, |client, server| {
            let Some((client, server)) = part.group(client, server) else {
                return false;
            };
            pair.is_none_or(|(one, other)| client.id() == one && server.id() == other)
        });
        (bars, timeline.width().as_secs())
    }
}

impl Part {
    fn graph(&self, graph: &Graph) -> Graph {
        graph.regrouped(|client, server| self.group(client, server))
    }

    fn grouped(&self, graph: &Graph) -> Graph {
        graph.regrouped(|client, server| Some((self.named(client), self.named(server))))
    }

    /// The pair that stands for two nodes; none where they are not meant.
    fn group(&self, client: &Node, server: &Node) -> Option<(Node, Node)> {
        let is_within = |node: &Node| {
            let namespace = self.namespace.as_ref();
            namespace.is_none_or(|wanted| node.namespace == *wanted)
        };
        if !is_within(client) && !is_within(server) {
            return None;
        }
        let pair = (self.named(client), self.named(server));
        let is_meant = self
            .node
            .as_ref()
            .is_none_or(|id| pair.0.id() == *id || pair.1.id() == *id);
        is_meant.then_some(pair)
    }

    fn named(&self, node: &Node) -> Node {
        if self.by_namespace && !node.namespace.is_empty() {
            return Node {
                namespace: String::new(),
                name: node.namespace.clone(),
                kind: NodeKind::Namespace,
            };
        }
        node.clone()
    }
}

/// A model that several look at.
pub(super) type Shared = Arc<parking_lot::Mutex<Model>>;
