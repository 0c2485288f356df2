//! All nodes and what they ask of each other, within bounds.

use std::collections::{BTreeMap, BTreeSet};

use super::Sighting;
use super::edge::Edge;
use super::node::{Node, NodeKind};
use crate::clock::Timestamp;

/// Most nodes, and of these most that are names of DNS or addresses.
const NODES: usize = 512;
const STRANGERS: usize = 192;
/// Most pairs of nodes.
const EDGES: usize = 2048;

/// Who talks to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: BTreeSet<Node>,
    strangers: usize,
    pub(super) edges: BTreeMap<(Node, Node), Edge>,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// Flows that were counted.
    pub(super) flows: u64,
    /// Flows whose nodes or pair found no room of their own.
    pub(super) folded: u64,
}

impl Graph {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what a flow says.
    pub fn add(&mut self, seen: &Sighting) {
        self.flows += 1;
        self.first = match self.first {
            Timestamp(0) => seen.time,
            first => first.min(seen.time),
        };
        self.last = self.last.max(seen.time);
        let pair = (seen.client.clone(), seen.server.clone());
        self.edge(pair).add(seen);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.flows += other.flows;
        self.folded += other.folded;
        self.first = match (self.first, other.first) {
            (Timestamp(0), first) | (first, Timestamp(0)) => first,
            (one, another) => one.min(another),
        };
        self.last = self.last.max(other.last);
        for (pair, edge) in &other.edges {
            self.edge(pair.clone()).merge(edge);
        }
    }

    /// The same with other nodes; pairs for which there is none are left out.
    #[must_use]
    pub fn regrouped(&self, group: impl Fn(&Node, &Node) -> Option<(Node, Node)>) -> Self {
        let mut grouped = Self {
            flows: self.flows,
            folded: self.folded,
            first: self.first,
            last: self.last,
            ..Self::default()
        };
        for ((client, server), edge) in &self.edges {
            if let Some(pair) = group(client, server) {
                grouped.edge(pair).merge(edge);
            }
        }
        grouped
    }

    /// Pairs of nodes that are told apart.
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    fn edge(&mut self, pair: (Node, Node)) -> &mut Edge {
        let pair = if self.edges.contains_key(&pair) {
            pair
        } else {
            self.admitted(pair)
        };
        self.edges.entry(pair).or_default()
    }

    /// The pair that stands for a new one.
    fn admitted(&mut self, (client, server): (Node, Node)) -> (Node, Node) {
        let pair = (self.admit(client), self.admit(server));
        let is_others = |node: &Node| node.kind == NodeKind::Others;
        if is_others(&pair.0) || is_others(&pair.1) {
            self.folded += 1;
        }
        if self.edges.len() >= EDGES && !self.edges.contains_key(&pair) {
            self.folded += 1;
            return (Node::others(), Node::others());
        }
        pair
    }

    fn admit(&mut self, node: Node) -> Node {
        if self.nodes.contains(&node) {
            return node;
        }
        let is_stranger = matches!(node.kind, NodeKind::Name | NodeKind::Address);
        if self.nodes.len() >= NODES || (is_stranger && self.strangers >= STRANGERS) {
            return Node::others();
        }
        self.strangers += usize::from(is_stranger);
        self.nodes.insert(node.clone());
        node
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::map::edge::Side;
    use crate::map::{Outcome, Protocol, What};

    pub(in crate::map) fn node(shown: &str) -> Node {
        match shown.split_once('/') {
            Some((namespace, name)) => Node::new(namespace, name, NodeKind::Workload),
            None => Node::new("", shown, NodeKind::Entity),
        }
    }

    pub(in crate::map) fn sighting(client: &str, server: &str, what: What) -> Sighting {
        Sighting {
            time: Timestamp(1_000_000_000),
            client: node(client),
            server: node(server),
            pods: (client.to_owned(), server.to_owned()),
            protocol: Protocol::Http,
            port: 8080,
            side: Side::Ingress,
            what,
            audited: None,
            allowed_by: Vec::new(),
        }
    }

    pub(in crate::map) fn answer(latency_ms: u64) -> What {
        What::Answer {
            operation: "GET /".to_owned(),
            latency_ns: latency_ms * 1_000_000,
            outcome: Outcome::Good,
        }
    }

    #[test]
    fn what_both_ends_tell_is_counted_once() {
        let mut graph = Graph::new();
        for side in [Side::Egress, Side::Ingress, Side::Ingress] {
            for what in [What::Request, answer(3)] {
                graph.add(&Sighting {
                    side,
                    ..sighting("shop/web", "shop/cart", what)
                });
            }
        }
        let edge = graph.edges.values().next().unwrap();
        assert_eq!((graph.len(), edge.counts().calls()), (1, 2));
        assert_eq!(graph.flows, 6);
    }

    #[test]
    fn strangers_without_room_are_one_node() {
        let mut graph = Graph::new();
        for number in 0..2000 {
            let mut seen = sighting("shop/web", "x", What::Request);
            seen.server = Node::new("", &format!("h{number}.example"), NodeKind::Name);
            graph.add(&seen);
        }
        assert_eq!(graph.len(), STRANGERS + 1);
        let others = (node("shop/web"), Node::others());
        let calls = graph.edges.get(&others).unwrap().counts().calls();
        assert_eq!(calls, 2000 - STRANGERS as u64);
    }

    #[test]
    fn nothing_is_lost_where_pairs_have_no_room() {
        let mut graph = Graph::new();
        for client in 0..100 {
            for server in 0..100 {
                let (client, server) = (format!("a/c{client}"), format!("b/s{server}"));
                graph.add(&sighting(&client, &server, What::Request));
            }
        }
        assert!(graph.len() <= EDGES + 1, "{}", graph.len());
        let calls: u64 = graph.edges.values().map(|edge| edge.counts().calls()).sum();
        assert_eq!(calls, 10_000);
    }

    #[test]
    fn parts_merged_are_the_whole() {
        let mut whole = Graph::new();
        let mut parts = [Graph::new(), Graph::new()];
        for number in 0..50_u64 {
            let mut seen = sighting("shop/web", "shop/cart", answer(number));
            seen.time = Timestamp(1_000_000_000 + number);
            whole.add(&seen);
            parts[usize::from(number % 3 == 0)].add(&seen);
        }
        let [mut one, other] = parts;
        one.merge(&other);
        assert_eq!(one, whole);
    }

    #[test]
    fn namespaces_are_made_of_workloads() {
        let mut graph = Graph::new();
        graph.add(&sighting("shop/web", "shop/cart", What::Request));
        graph.add(&sighting("shop/web", "pay/api", What::Request));
        graph.add(&sighting("shop/cart", "pay/api", What::Request));
        let by_namespace = |node: &Node| node_of_namespace(node);
        let grouped = graph.regrouped(|a, b| Some((by_namespace(a), by_namespace(b))));
        assert_eq!(grouped.len(), 2);
        let none = graph.regrouped(|_, _| None);
        assert!(none.is_empty());
    }

    fn node_of_namespace(node: &Node) -> Node {
        Node::new("", &node.namespace, NodeKind::Namespace)
    }
}
