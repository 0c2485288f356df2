//! The figures that people read, and which of them are bad. This is also the map's JSON form
//! (docs/map.md), which `--diff` reads again.

use serde::{Deserialize, Serialize};

use super::graph::Graph;
use super::node::{Node, NodeKind};
use super::{Fault, Protocol};
use crate::clock::Timestamp;

/// Version of the JSON form.
pub const FORMAT: u32 = 1;

/// A map, in figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Version of this form.
    pub l7d_map: u32,
    /// Time of the first flow, in nanoseconds since 1970; as text in JSON, since not all readers have
    /// whole numbers of that size.
    #[serde(with = "nanos")]
    pub first: u64,
    /// Time of the last flow.
    #[serde(with = "nanos")]
    pub last: u64,
    /// The time that rates are of.
    pub seconds: f64,
    /// Flows that were read.
    pub flows: u64,
    /// Events that were lost on the way here: figures may lack them.
    pub lost: u64,
    /// Flows whose nodes found no room of their own.
    pub folded: u64,
    /// Nodes, sorted.
    pub nodes: Vec<NodeFigures>,
    /// What they ask of each other, sorted.
    pub edges: Vec<EdgeFigures>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFigures {
    /// By which edges name it.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Empty outside of any.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it is asked for.
    pub asked: Load,
    /// How it serves.
    pub state: State,
}

/// Requests, or connections where no requests are seen.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Load {
    /// What is counted.
    pub unit: Unit,
    /// How many.
    pub count: u64,
    /// Of them, those that failed or did not go on.
    pub failed: u64,
    /// In a second.
    pub rate: f64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Flows, where nothing better is known.
    #[default]
    Flows,
    /// Connections.
    Connections,
    /// Requests and queries.
    Requests,
}

/// What one node asks of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeFigures {
    /// Who asks.
    pub client: String,
    /// Who is asked.
    pub server: String,
    /// How much.
    pub load: Load,
    /// How it goes.
    pub state: State,
    /// Whether nothing at all gets through.
    pub is_cut: bool,
    /// Failed or dropped, of a hundred.
    pub failed_percent: f64,
    /// Packets and requests that were dropped.
    pub drops: u64,
    /// Answers that tell of a failure, and requests without an answer.
    pub errors: u64,
    /// Answers that say that the request was wrong.
    pub rejected: u64,
    /// What audited policies would have denied.
    pub audited: u64,
    /// Half of the answers took no longer, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50_us: Option<u64>,
    /// 99 of 100 took no longer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99_us: Option<u64>,
    /// Connections that were begun.
    pub connections: u64,
    /// Connections that were refused, reset or not answered.
    pub failed_connections: u64,
    /// Bytes of connections that have ended, from the client and from the server.
    pub bytes: [u64; 2],
    /// Segments that were sent again.
    pub retransmits: u64,
    /// Protocols and ports, the most used first.
    pub ports: Vec<PortFigures>,
    /// Why things failed, the most frequent first.
    pub reasons: Vec<ReasonFigures>,
    /// What was asked for, the most frequent first.
    pub operations: Vec<OperationFigures>,
    /// Which pods, those that failed most first.
    pub pods: Vec<PodFigures>,
    /// Policies that allowed it.
    pub allowed_by: Vec<String>,
    /// When it was first seen.
    #[serde(with = "nanos")]
    pub first: u64,
    /// When it was last seen.
    #[serde(with = "nanos")]
    pub last: u64,
}

/// A protocol and a port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortFigures {
    /// The protocol.
    pub protocol: Protocol,
    /// The server's port.
    pub port: u16,
    /// Flows of it.
    pub flows: u64,
}

/// Why something did not get through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReasonFigures {
    /// What kind of failure.
    pub fault: Fault,
    /// In words.
    pub text: String,
    /// Policies or rules that decided.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub by: String,
    /// How often it was told.
    pub count: u64,
    /// When last.
    #[serde(with = "nanos")]
    pub last: u64,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationFigures {
    /// Method and path template, method of gRPC, or name.
    pub operation: String,
    /// How often.
    pub calls: u64,
    /// Of them, those that failed or were not let through.
    pub failed: u64,
    /// Of them, those that were wrong.
    pub rejected: u64,
    /// Half of the answers took no longer, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50_us: Option<u64>,
    /// 99 of 100 took no longer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99_us: Option<u64>,
}

/// A pair of pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodFigures {
    /// Pod or address.
    pub client: String,
    /// Pod or address.
    pub server: String,
    /// Flows between them.
    pub flows: u64,
    /// Those that tell of a failure.
    pub failed: u64,
}

/// How something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing to tell.
    #[default]
    Good,
    /// Some of it is worth a look.
    Notable,
    /// It fails.
    Failing,
}

impl Overview {
    /// The figures of a graph, whose rates are of so many seconds: by default those from its first to
    /// its last flow.
    pub fn new(graph: &Graph, seconds: Option<f64>) -> Self {
        let seconds = seconds.unwrap_or_else(|| spanned(graph.first, graph.last));
        let mut nodes: Vec<&Node> = graph.edges.keys().flat_map(|(a, b)| [a, b]).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let edges: Vec<EdgeFigures> = graph
            .edges
            .iter()
            .map(|(pair, edge)| EdgeFigures::new(pair, edge, seconds))
            .collect();
        let nodes = nodes
            .into_iter()
            .map(|node| NodeFigures::new(node, &edges, seconds))
            .collect();
        Self {
            l7d_map: FORMAT,
            first: graph.first.0,
            last: graph.last.0,
            seconds,
            flows: graph.flows,
            lost: 0,
            folded: graph.folded,
            nodes,
            edges,
        }
    }

    /// The node that edges call so.
    pub fn node(&self, id: &str) -> Option<&NodeFigures> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Edges that fail, the worst first.
    pub fn failing(&self) -> Vec<&EdgeFigures> {
        let mut failing: Vec<&EdgeFigures> = self
            .edges
            .iter()
            .filter(|edge| edge.state == State::Failing)
            .collect();
        failing.sort_by_key(|edge| (!edge.is_cut, std::cmp::Reverse(edge.load.failed)));
        failing
    }
}

/// At least a second: rates of less mean nothing.
pub(super) fn spanned(first: Timestamp, last: Timestamp) -> f64 {
    (float(last.0.saturating_sub(first.0)) / 1e9).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

impl Node {
    /// By which edges name it: names of different kinds may be the same.
    pub fn id(&self) -> String {
        let kind = match self.kind {
            NodeKind::Workload => "workload",
            NodeKind::Namespace => "namespace",
            NodeKind::Service => "service",
            NodeKind::Name => "name",
            NodeKind::Address => "address",
            NodeKind::Entity => "entity",
            NodeKind::Others => "others",
        };
        format!("{kind}:{}", self.shown())
    }
}

/// Times as text.
mod nanos {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands out references"
    )]
    pub(super) fn serialize<S: Serializer>(nanos: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let time = i128::from(*nanos);
        match jiff::Timestamp::from_nanosecond(time) {
            Ok(time) => serializer.collect_str(&time),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        u64::try_from(time.as_nanosecond()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::figures::rounded;
    use crate::map::graph::tests::{answer, sighting};
    use crate::map::{Outcome, Reason, What};

    fn reason(fault: Fault, text: &str, by: &str) -> Reason {
        Reason {
            fault,
            text: text.to_owned(),
            by: by.to_owned(),
        }
    }

    fn failed(code: u32) -> What {
        What::Answer {
            operation: "GET /cart".to_owned(),
            latency_ns: 40_000_000,
            outcome: Outcome::Failed(reason(Fault::Error, &format!("HTTP {code}"), "")),
        }
    }

    fn overview(whats: &[What]) -> Overview {
        let mut graph = Graph::new();
        for what in whats {
            graph.add(&sighting("shop/web", "shop/cart", what.clone()));
        }
        Overview::new(&graph, Some(10.0))
    }

    fn edge(whats: &[What]) -> EdgeFigures {
        overview(whats).edges.swap_remove(0)
    }

    #[test]
    fn what_goes_well_is_good() {
        let edge = edge(&[What::Request, answer(3), What::Request, answer(5)]);
        assert_eq!(edge.state, State::Good);
        assert_eq!((edge.load.count, edge.load.unit), (2, Unit::Requests));
        assert!((edge.load.rate - 0.2).abs() < 1e-9);
        assert_eq!(edge.p99_us.unwrap().abs_diff(5000) / 400, 0);
        assert_eq!(edge.protocol(), "HTTP :8080");
    }

    #[test]
    fn errors_of_one_in_a_hundred_are_failing_and_of_fewer_are_notable() {
        let mut whats = vec![answer(1); 99];
        whats.push(failed(503));
        assert_eq!(edge(&whats).state, State::Failing);
        whats.extend(vec![answer(1); 100]);
        let edge = edge(&whats);
        assert_eq!(edge.state, State::Notable);
        assert_eq!(edge.reasons[0].text, "HTTP 503");
        assert_eq!(
            (edge.operations[0].failed, edge.operations[1].failed),
            (1, 0)
        );
    }

    #[test]
    fn a_connection_that_only_drops_is_cut() {
        let drop = What::Dropped {
            reason: reason(Fault::Denied, "Policy denied", "shop/web-egress"),
            is_verdict: false,
        };
        let edge = edge(&[drop.clone(), drop]);
        assert!(edge.is_cut);
        assert_eq!(
            (edge.drops, edge.load.failed, edge.state),
            (2, 2, State::Failing)
        );
        assert_eq!(edge.reasons[0].by, "shop/web-egress");
    }

    #[test]
    fn a_node_is_as_well_as_it_serves() {
        let map = overview(&[answer(1), failed(500)]);
        let states: Vec<_> = map
            .nodes
            .iter()
            .map(|node| (node.name.as_str(), node.state))
            .collect();
        assert_eq!(states, [("cart", State::Failing), ("web", State::Good)]);
        assert_eq!(map.failing().len(), 1);
    }

    #[test]
    fn the_json_form_is_read_again_as_it_was_written() {
        let map = overview(&[What::Request, answer(7), failed(502)]);
        let text = serde_json::to_string(&map).unwrap();
        assert!(text.contains(r#""first":"1970-01-01T00:00:01Z""#), "{text}");
        let read: Overview = serde_json::from_str(&text).unwrap();
        assert_eq!(read, map);
    }

    #[test]
    fn figures_have_four_digits() {
        for (number, shown) in [
            (0.0, 0.0),
            (12.345_67, 12.35),
            (0.001_234_56, 0.001_235),
            (123_456.0, 123_500.0),
        ] {
            assert!((rounded(number) - shown).abs() < 1e-9, "{number}");
        }
    }
}
