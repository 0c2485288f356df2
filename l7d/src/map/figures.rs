//! The figures of a node and of an edge, from what was counted.

use super::Fault;
use super::edge::{Edge, Operation};
use super::node::Node;
use super::overview::{
    EdgeFigures, Load, NodeFigures, OperationFigures, PodFigures, PortFigures, ReasonFigures,
    State, Unit, float,
};

/// A pair of nodes fails if so many in a hundred of its requests do.
const FAILING_PERCENT: f64 = 1.0;
/// So many answers of 4xx in a hundred are worth a look.
const REJECTED_PERCENT: f64 = 10.0;

impl NodeFigures {
    pub(super) fn new(node: &Node, edges: &[EdgeFigures], seconds: f64) -> Self {
        let id = node.id();
        let mut asked = Load::default();
        let mut state = State::Good;
        for edge in edges.iter().filter(|edge| edge.server == id) {
            asked.unit = asked.unit.max(edge.load.unit);
            asked.count += edge.load.count;
            asked.failed += edge.load.failed;
            state = state.max(edge.state);
        }
        asked.rate = rounded(float(asked.count) / seconds);
        Self {
            id,
            kind: node.kind,
            namespace: node.namespace.clone(),
            name: node.name.clone(),
            asked,
            state,
        }
    }

    /// `namespace/name`, or the name alone.
    pub fn shown(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

impl EdgeFigures {
    pub(super) fn new((client, server): &(Node, Node), edge: &Edge, seconds: f64) -> Self {
        let counts = edge.counts();
        let drops = edge.drops();
        let (unit, asked) = match (counts.calls(), counts.connections()) {
            (0, 0) => (Unit::Flows, counts.flows),
            (0, connections) => (Unit::Connections, connections),
            (calls, _) => (Unit::Requests, calls),
        };
        // Of packets that were dropped nothing else is told: each is an attempt.
        let attempts = match unit {
            Unit::Flows => asked.max(drops),
            Unit::Connections => asked.max(drops + counts.failed_ends),
            Unit::Requests => asked,
        };
        let failed = (counts.failed + counts.failed_ends + drops).min(attempts);
        let failed = if unit == Unit::Requests {
            (counts.failed + drops).min(attempts)
        } else {
            failed
        };
        let percent = |part: u64| 100.0 * float(part) / float(attempts.max(1));
        let failed_percent = percent(failed);
        let troubles = failed + counts.failed_ends + edge.audited;
        let state = if drops > 0 || failed_percent >= FAILING_PERCENT {
            State::Failing
        } else if troubles > 0 || percent(counts.rejected) >= REJECTED_PERCENT {
            State::Notable
        } else {
            State::Good
        };
        Self {
            client: client.id(),
            server: server.id(),
            load: Load {
                unit,
                count: attempts,
                failed,
                rate: rounded(float(attempts) / seconds),
            },
            state,
            is_cut: failed > 0 && failed == attempts,
            failed_percent: rounded(failed_percent),
            drops,
            errors: counts.failed,
            rejected: counts.rejected,
            audited: edge.audited,
            p50_us: counts.latencies.quantile_us(50),
            p99_us: counts.latencies.quantile_us(99),
            connections: counts.connections(),
            failed_connections: counts.failed_ends,
            bytes: [counts.sent, counts.received],
            retransmits: counts.retransmits,
            ports: ports(edge),
            reasons: reasons(edge),
            operations: operations(edge),
            pods: pods(edge),
            allowed_by: edge.allowed_by.iter().cloned().collect(),
            first: edge.first.0,
            last: edge.last.0,
        }
    }

    /// What is spoken most, with its port: `HTTP :8080`.
    pub fn protocol(&self) -> String {
        let mut ports = self.ports.iter();
        let Some(first) = ports.next() else {
            return String::new();
        };
        let port = match first.port {
            0 => String::new(),
            port => format!(" :{port}"),
        };
        let more = ports.len();
        let more = if more > 0 {
            format!(" +{more}")
        } else {
            String::new()
        };
        format!("{}{port}{more}", first.protocol.name())
    }
}

fn ports(edge: &Edge) -> Vec<PortFigures> {
    let counted = edge
        .ports
        .iter()
        .map(|((protocol, port), flows)| PortFigures {
            protocol: *protocol,
            port: *port,
            flows: *flows,
        });
    let all: Vec<PortFigures> = counted.collect();
    // What carries messages that are read is not told beside them.
    let is_carrier = |one: &PortFigures| {
        let is_read = |other: &PortFigures| other.port == one.port && other.protocol.has_requests();
        !one.protocol.has_requests() && all.iter().any(is_read)
    };
    let mut shown: Vec<PortFigures> = all.iter().filter(|one| !is_carrier(one)).cloned().collect();
    shown.sort_by_key(|one| (!one.protocol.has_requests(), std::cmp::Reverse(one.flows)));
    shown
}

fn reasons(edge: &Edge) -> Vec<ReasonFigures> {
    let told = edge.reasons.iter().map(|(reason, told)| ReasonFigures {
        fault: reason.fault,
        text: reason.text.clone(),
        by: reason.by.clone(),
        count: told.count,
        last: told.last.0,
    });
    let mut reasons: Vec<ReasonFigures> = told.collect();
    reasons.sort_by_key(|reason| {
        let is_mild = matches!(reason.fault, Fault::Rejected | Fault::Audited);
        (is_mild, std::cmp::Reverse(reason.count))
    });
    reasons
}

fn operations(edge: &Edge) -> Vec<OperationFigures> {
    let figures = |name: &str, held: &Operation| OperationFigures {
        operation: name.to_owned(),
        calls: held.calls,
        failed: held.failed + held.refused,
        rejected: held.rejected,
        p50_us: held.latencies.quantile_us(50),
        p99_us: held.latencies.quantile_us(99),
    };
    let named = edge.operations.iter();
    let mut operations: Vec<_> = named.map(|(name, held)| figures(name, held)).collect();
    operations.sort_by_key(|one| (std::cmp::Reverse(one.failed), std::cmp::Reverse(one.calls)));
    if edge.operations.others.calls > 0 {
        operations.push(figures("others", &edge.operations.others));
    }
    operations
}

fn pods(edge: &Edge) -> Vec<PodFigures> {
    let pairs = edge.pods.iter();
    let mut pods: Vec<PodFigures> = pairs
        .map(|((client, server), pair)| PodFigures {
            client: client.clone(),
            server: server.clone(),
            flows: pair.seen,
            failed: pair.failed,
        })
        .collect();
    pods.sort_by_key(|pair| {
        (
            std::cmp::Reverse(pair.failed),
            std::cmp::Reverse(pair.flows),
        )
    });
    pods
}

/// To four digits: more is noise in a file that is compared.
pub(super) fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}
