//! What a client is told of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use proto::observer::GetFlowsResponse;
use proto::observer::get_flows_response::ResponseTypes;
use proto::relay::{NodeState, NodeStatusEvent};
use tokio::time::Instant;

use super::pool::{Nodes, State};
use crate::clock::Timestamp;
use crate::flow::view::timestamp;

/// Errors that come within this time are told together where they say the same: a request that agents
/// refuse is refused by all of them.
const GATHER: Duration = Duration::from_secs(1);

/// What a client was told, and is to be told.
#[derive(Debug)]
pub(super) struct Telling {
    /// This relay's name.
    name: String,
    /// Of which nodes it was told that they are there, and that they are not.
    connected: BTreeSet<String>,
    unavailable: BTreeSet<String>,
    /// Errors by what they say, and when to tell them.
    errors: BTreeMap<String, BTreeSet<String>>,
    due: Option<Instant>,
}

impl Telling {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            connected: BTreeSet::new(),
            unavailable: BTreeSet::new(),
            errors: BTreeMap::new(),
            due: None,
        }
    }

    /// What the client does not know yet.
    pub(super) fn nodes(&mut self, nodes: &Nodes) -> Vec<Bytes> {
        let mut told = Vec::new();
        let mut tell = |state, names: Vec<String>| {
            if !names.is_empty() {
                told.push(self.event(state, names, String::new()));
            }
        };
        let all = self.connected.iter().chain(&self.unavailable);
        let gone: Vec<_> = all
            .filter(|name| !nodes.nodes.contains_key(*name))
            .cloned()
            .collect();
        let ready: BTreeSet<_> = nodes.ready().map(|(name, _)| name.clone()).collect();
        let failed = nodes
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node.state, State::Failed(_)));
        let failed: BTreeSet<_> = failed.map(|(name, _)| name.clone()).collect();
        tell(NodeState::NodeGone, gone);
        tell(
            NodeState::NodeConnected,
            ready.difference(&self.connected).cloned().collect(),
        );
        tell(
            NodeState::NodeUnavailable,
            failed.difference(&self.unavailable).cloned().collect(),
        );
        // Who connects again is neither, and was told to be one of both.
        let is_known = |name: &String| nodes.nodes.contains_key(name);
        self.connected
            .retain(|name| is_known(name) && !failed.contains(name));
        self.unavailable
            .retain(|name| is_known(name) && !ready.contains(name));
        self.connected.extend(ready);
        self.unavailable.extend(failed);
        told
    }

    /// A node has answered with an error.
    pub(super) fn error(&mut self, node: &str, message: &str) {
        let nodes = self.errors.entry(message.to_owned()).or_default();
        nodes.insert(node.to_owned());
        self.due.get_or_insert_with(|| Instant::now() + GATHER);
    }

    /// When errors are to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// All errors that were not told.
    pub(super) fn errors(&mut self) -> Vec<Bytes> {
        self.due = None;
        let errors = std::mem::take(&mut self.errors).into_iter();
        errors
            .map(|(message, nodes)| {
                self.event(NodeState::NodeError, nodes.into_iter().collect(), message)
            })
            .collect()
    }

    fn event(&self, state: NodeState, node_names: Vec<String>, message: String) -> Bytes {
        let event = NodeStatusEvent {
            state_change: state.into(),
            node_names,
            message,
        };
        let response = GetFlowsResponse {
            node_name: self.name.clone(),
            time: Some(timestamp(Timestamp::now())),
            response_types: Some(ResponseTypes::NodeStatus(event)),
        };
        response.encode_to_vec().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::pool::Node;

    fn nodes(told: &[(&str, State)]) -> Nodes {
        let node = |state: &State| Node {
            peer: crate::server::Peer::default(),
            state: state.clone(),
        };
        let each = told
            .iter()
            .map(|(name, state)| ((*name).to_owned(), node(state)));
        Nodes {
            nodes: each.collect(),
            is_current: true,
        }
    }

    fn shown(events: Vec<Bytes>) -> Vec<String> {
        let shown = |event: Bytes| {
            let response = GetFlowsResponse::decode(event).expect("a response");
            let Some(ResponseTypes::NodeStatus(event)) = response.response_types else {
                panic!("not of a node");
            };
            let state = event.state_change().as_str_name();
            format!("{state} {} {}", event.node_names.join(","), event.message)
        };
        events.into_iter().map(shown).collect()
    }

    #[test]
    fn a_client_is_told_what_it_does_not_know() {
        let failed = || State::Failed("gone".into());
        let mut telling = Telling::new("relay".to_owned());
        let told = telling.nodes(&nodes(&[
            ("a", failed()),
            ("b", failed()),
            ("c", State::Connecting),
        ]));
        assert_eq!(shown(told), ["NODE_UNAVAILABLE a,b "]);
        let same = [("a", State::Connecting), ("b", failed()), ("c", failed())];
        assert_eq!(shown(telling.nodes(&nodes(&same))), ["NODE_UNAVAILABLE c "]);
        assert_eq!(shown(telling.nodes(&nodes(&same[..2]))), ["NODE_GONE c "]);
        assert!(telling.nodes(&nodes(&same[..2])).is_empty());
    }

    #[test]
    fn errors_that_say_the_same_are_told_together() {
        let mut telling = Telling::new("relay".to_owned());
        assert_eq!(telling.due(), None);
        for (node, message) in [("b", "bad filter"), ("a", "bad filter"), ("c", "too late")] {
            telling.error(node, message);
        }
        assert!(telling.due().is_some());
        let errors = shown(telling.errors());
        assert_eq!(
            errors,
            ["NODE_ERROR a,b bad filter", "NODE_ERROR c too late"]
        );
        assert!(telling.errors().is_empty());
    }
}
