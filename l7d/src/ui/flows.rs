//! Which flows are kept: the latest, and for longer those that tell of a failure. Both are bounded in
//! number and bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message as _;
use proto::flow::Flow;

use crate::clock::Timestamp;
use crate::map::{Fault, Outcome, Protocol, Reason, Sighting, What};

/// The latest.
const LATEST: Bound = Bound {
    flows: 40_000,
    bytes: 24 << 20,
};
/// Those that tell of a failure.
const FAILURES: Bound = Bound {
    flows: 10_000,
    bytes: 8 << 20,
};
/// What a kept flow takes beside its message.
const OVERHEAD: usize = 160;

#[derive(Debug, Clone, Copy)]
struct Bound {
    flows: usize,
    bytes: usize,
}

/// A flow that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Rises from flow to flow.
    pub number: u64,
    /// When it was seen.
    pub time: Timestamp,
    /// The client's node in the map.
    pub client: Arc<str>,
    /// The server's.
    pub server: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// What failed, where something did.
    pub fault: Option<Fault>,
    /// What is spoken.
    pub protocol: Protocol,
    /// As it came.
    message: Box<[u8]>,
}

/// What kind of flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that went on: its answer will tell more.
    Request,
    /// An answer, or a request that did not go on.
    Exchange,
    /// The end of a connection, or a drop.
    Connection,
    /// A packet.
    Packet,
}

/// Which flows are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Which part of them.
    pub show: Show,
    /// Only of this client's node.
    pub client: Option<String>,
    /// Only of this server's node.
    pub server: Option<String>,
    /// Only of this namespace, at either end.
    pub namespace: Option<String>,
    /// Only of this node, whichever end it is.
    pub node: Option<String>,
    /// Only those that have all of these words, in any letters.
    pub words: Vec<String>,
    /// Only older ones than that.
    pub before: Option<u64>,
    /// Only those since.
    pub since: Timestamp,
    /// So many.
    pub limit: usize,
}

/// Which part of the flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// What failed.
    Failures,
    /// Requests with their answers, drops, ends of connections.
    #[default]
    Exchanges,
    /// Everything.
    All,
}

/// Flows.
#[derive(Debug, Default)]
pub struct Flows {
    latest: Ring,
    failures: Ring,
    next: u64,
}

#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Arc<Kept>>,
    bytes: usize,
}

impl Kept {
    /// The flow.
    pub fn flow(&self) -> Flow {
        // It was encoded here.
        Flow::decode(&*self.message).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.message.len() + OVERHEAD
    }
}

impl Flows {
    /// Keeps a flow.
    pub fn keep(&mut self, flow: &Flow, seen: &Sighting, nodes: (Arc<str>, Arc<str>)) {
        let (kind, fault) = sorted(seen);
        self.next += 1;
        let kept = Arc::new(Kept {
            number: self.next,
            time: seen.time,
            client: nodes.0,
            server: nodes.1,
            kind,
            fault,
            protocol: seen.protocol,
            message: flow.encode_to_vec().into_boxed_slice(),
        });
        if kept.is_failure() {
            self.failures.push(Arc::clone(&kept), FAILURES);
        }
        self.latest.push(kept, LATEST);
    }

    /// The number of the latest.
    pub fn end(&self) -> u64 {
        self.next
    }

    /// One of them.
    pub fn get(&self, number: u64) -> Option<Arc<Kept>> {
        let find = |ring: &Ring| {
            let at = ring.kept.binary_search_by_key(&number, |kept| kept.number);
            ring.kept.get(at.ok()?).cloned()
        };
        find(&self.latest).or_else(|| find(&self.failures))
    }

    /// Those that are asked for, the latest first, with their flows; and whether there are more.
    pub fn find(&self, query: &Query) -> (Vec<(Arc<Kept>, Flow)>, bool) {
        let ring = match query.show {
            Show::Failures => &self.failures,
            Show::Exchanges | Show::All => &self.latest,
        };
        let mut found = Vec::new();
        for kept in ring.kept.iter().rev() {
            if !query.has(kept) {
                continue;
            }
            let flow = kept.flow();
            if !query.has_words(&flow) {
                continue;
            }
            if found.len() >= query.limit {
                return (found, true);
            }
            found.push((Arc::clone(kept), flow));
        }
        (found, false)
    }
}

impl Kept {
    fn is_failure(&self) -> bool {
        self.fault.is_some_and(|fault| fault != Fault::Rejected)
    }
}

impl Ring {
    fn push(&mut self, kept: Arc<Kept>, bound: Bound) {
        self.bytes += kept.bytes();
        self.kept.push_back(kept);
        while self.kept.len() > bound.flows || self.bytes > bound.bytes {
            let Some(oldest) = self.kept.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes();
        }
    }
}

fn sorted(seen: &Sighting) -> (Kind, Option<Fault>) {
    let fault = |reason: &Reason| Some(reason.fault);
    let (kind, failed) = match &seen.what {
        What::Request => (Kind::Request, None),
        What::Answer { outcome, .. } => match outcome {
            Outcome::Good => (Kind::Exchange, None),
            Outcome::Rejected(reason) | Outcome::Failed(reason) => (Kind::Exchange, fault(reason)),
        },
        What::Refused { reason, .. } => (Kind::Exchange, fault(reason)),
        What::Passed { .. } => (Kind::Packet, None),
        What::Dropped { reason, .. } => (Kind::Connection, fault(reason)),
        What::Ended { failed, .. } => (Kind::Connection, failed.as_ref().and_then(fault)),
    };
    (kind, failed.or(seen.audited.as_ref().and_then(fault)))
}

/// How the map's nodes that are namespaces begin.
const NAMESPACE: &str = "namespace:";

/// Whether a node stands in the namespace that another one is.
fn is_within(wanted: &str, node: &str) -> bool {
    let wanted = wanted.strip_prefix(NAMESPACE);
    let namespace = node
        .split_once(':')
        .and_then(|(_, name)| name.split_once('/'));
    wanted.is_some() && wanted == namespace.map(|(namespace, _)| namespace)
}

impl Query {
    fn has(&self, kept: &Kept) -> bool {
        let is = |wanted: &Option<String>, node: &str| {
            let wanted = wanted.as_deref();
            wanted.is_none_or(|wanted| wanted == node || is_within(wanted, node))
        };
        let namespace = self.namespace.as_ref();
        let namespace = namespace.map(|name| format!("{NAMESPACE}{name}"));
        let is_shown = match self.show {
            Show::Failures | Show::All => true,
            Show::Exchanges => matches!(kept.kind, Kind::Exchange | Kind::Connection),
        };
        is_shown
            && self.before.is_none_or(|before| kept.number < before)
            && kept.time >= self.since
            && is(&self.client, &kept.client)
            && is(&self.server, &kept.server)
            && (is(&self.node, &kept.client) || is(&self.node, &kept.server))
            && (is(&namespace, &kept.client) || is(&namespace, &kept.server))
    }

    fn has_words(&self, flow: &Flow) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let text = super::row::searched(flow);
        self.words.iter().all(|word| text.contains(word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{Node, NodeKind};

    fn seen(what: What) -> Sighting {
        let node = |name: &str| Node {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            kind: NodeKind::Workload,
        };
        Sighting {
            time: Timestamp(7),
            client: node("web"),
            server: node("cart"),
            pods: (String::new(), String::new()),
            protocol: Protocol::Http,
            port: 80,
            side: crate::map::edge::Side::Unknown,
            what,
            audited: None,
            allowed_by: Vec::new(),
        }
    }

    fn failed() -> What {
        What::Refused {
            operation: "GET /".to_owned(),
            reason: Reason {
                fault: Fault::Denied,
                text: String::new(),
                by: String::new(),
            },
        }
    }

    #[test]
    fn flows_of_a_namespace_are_those_of_its_workloads() {
        assert!(is_within("namespace:shop", "workload:shop/web"));
        assert!(!is_within("namespace:shop", "workload:shopping/web"));
        assert!(!is_within("workload:shop", "workload:shop/web"));
        assert!(!is_within("namespace:shop", "entity:world"));
    }

    fn keep(flows: &mut Flows, summary: &str, what: What) {
        let flow = Flow {
            summary: summary.to_owned(),
            ..Flow::default()
        };
        flows.keep(&flow, &seen(what), ("web".into(), "cart".into()));
    }

    fn query(show: Show) -> Query {
        Query {
            show,
            limit: 10,
            ..Query::default()
        }
    }

    fn numbers(flows: &Flows, query: &Query) -> Vec<u64> {
        let (found, _) = flows.find(query);
        found.iter().map(|(kept, _)| kept.number).collect()
    }

    #[test]
    fn failures_outlast_a_flood_of_what_goes_well() {
        let mut flows = Flows::default();
        keep(&mut flows, "the one", failed());
        for _ in 0..LATEST.flows + 10 {
            keep(&mut flows, "fine", What::Request);
        }
        assert_eq!(flows.latest.kept.len(), LATEST.flows);
        assert_eq!(numbers(&flows, &query(Show::Failures)), [1]);
        assert_eq!(flows.get(1).unwrap().flow().summary, "the one");
        assert_eq!(flows.get(2), None);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let mut flows = Flows::default();
        for _ in 0..30 {
            keep(&mut flows, &"x".repeat(1 << 20), What::Request);
        }
        assert!(flows.latest.bytes <= LATEST.bytes);
        assert!(flows.latest.kept.len() >= 20);
    }

    #[test]
    fn flows_are_found_by_what_is_asked_the_latest_first() {
        let mut flows = Flows::default();
        keep(&mut flows, "GET /a", What::Request);
        keep(&mut flows, "GET /a denied", failed());
        keep(&mut flows, "GET /b denied", failed());
        assert_eq!(numbers(&flows, &query(Show::All)), [3, 2, 1]);
        assert_eq!(numbers(&flows, &query(Show::Exchanges)), [3, 2]);
        let of = |query: Query| numbers(&flows, &query);
        assert_eq!(
            of(Query {
                before: Some(3),
                ..query(Show::All)
            }),
            [2, 1]
        );
        assert_eq!(
            of(Query {
                words: vec!["/b".into(), "denied".into()],
                ..query(Show::All)
            }),
            [3]
        );
        assert_eq!(
            of(Query {
                server: Some("web".into()),
                ..query(Show::All)
            }),
            Vec::<u64>::new()
        );
        assert_eq!(
            of(Query {
                node: Some("web".into()),
                ..query(Show::Failures)
            }),
            [3, 2]
        );
        assert_eq!(
            of(Query {
                since: Timestamp(8),
                ..query(Show::All)
            }),
            Vec::<u64>::new()
        );
        let (found, is_more) = flows.find(&Query {
            limit: 2,
            ..query(Show::All)
        });
        assert_eq!((found.len(), is_more), (2, true));
    }
}
