//! `NetworkPolicy` of Kubernetes, as it is written (networking.k8s.io/v1).
//!
//! It only allows, by pods, namespaces and address blocks; what it selects is closed in the directions
//! that it is about.

use crate::cnp::ports::{self, Protocols};
use crate::cnp::{cidrs, selectors};
use crate::rule::{Direction, L7, Ports, Rule, Spec};
use crate::selector::{
    CidrRule, NAMESPACE_LABEL, NAMESPACE_LABELS, Operator, Peers, Requirement, Selector,
};
use crate::yaml::{Cursor, Reader};

const TCP: Option<u8> = Some(6);
const PROTOCOLS: Protocols = Protocols {
    names: &[("TCP", TCP), ("UDP", Some(17)), ("SCTP", Some(132))],
    unnamed: TCP,
    has_any_case: false,
};
const DIRECTIONS: [(&str, Direction); 2] = [
    ("Ingress", Direction::Ingress),
    ("Egress", Direction::Egress),
];

/// The one `spec` of an object in a namespace.
pub(crate) fn read_spec(reader: &mut Reader, at: &Cursor<'_>, namespace: &str) -> Option<Spec> {
    let mut map = reader.map(at)?;
    let subject = map.need(reader, "podSelector");
    let subject = subject.map(|at| of_pods(reader, &at)).unwrap_or_default();
    let types = map.get("policyTypes").map(|at| {
        let listed = reader.list(&at);
        let types = listed.iter();
        types
            .filter_map(|at| reader.choice(at, &DIRECTIONS))
            .collect::<Vec<Direction>>()
    });
    let lists = [
        ("ingress", "from", Direction::Ingress),
        ("egress", "to", Direction::Egress),
    ];
    let mut rules = Vec::new();
    let mut has_egress = false;
    for (name, peers, direction) in lists {
        let list = map.get(name).map(|at| reader.list(&at));
        for element in list.unwrap_or_default() {
            has_egress |= direction == Direction::Egress;
            rules.extend(read_element(reader, &element, peers, direction, namespace));
        }
    }
    map.end(reader);
    let closes = |direction| match types.as_deref() {
        None | Some([]) => direction == Direction::Ingress || has_egress,
        Some(types) => types.contains(&direction),
    };
    Some(Spec {
        subject: subject.confined(namespace),
        ingress_default_deny: closes(Direction::Ingress),
        egress_default_deny: closes(Direction::Egress),
        // What a policy says of a direction that it is not about does not count.
        rules: rules
            .into_iter()
            .filter(|rule| closes(rule.direction))
            .collect(),
        labels: Vec::new(),
        log: None,
    })
}

/// One element: peers of both kinds, and ports.
fn read_element(
    reader: &mut Reader,
    at: &Cursor<'_>,
    peers: &'static str,
    direction: Direction,
    namespace: &str,
) -> Vec<Rule> {
    let Some(mut map) = reader.map(at) else {
        return Vec::new();
    };
    let listed = map.get(peers).map(|at| reader.list(&at));
    let ports = map.get("ports").map(|at| reader.list(&at));
    let ports: Vec<Ports> = ports
        .unwrap_or_default()
        .iter()
        .filter_map(|at| ports::port(reader, at, &PROTOCOLS))
        .collect();
    map.end(reader);
    let mut selectors = Vec::new();
    let mut blocks = Vec::new();
    let listed = listed.unwrap_or_default();
    for peer in &listed {
        match read_peer(reader, peer, namespace) {
            Some(Peer::Pods(selector)) => selectors.push(selector),
            Some(Peer::Block(block)) => blocks.push(block),
            None => {}
        }
    }
    let mut all = Vec::new();
    if listed.is_empty() {
        all.push(Peers::Any);
    }
    if !selectors.is_empty() {
        all.push(Peers::Endpoints(selectors));
    }
    if !blocks.is_empty() {
        all.push(Peers::Cidrs(blocks));
    }
    all.into_iter()
        .map(|peers| Rule {
            path: at.path().to_owned(),
            direction,
            is_deny: false,
            peers,
            ports: ports.clone(),
            l7: L7::Nothing,
        })
        .collect()
}

enum Peer {
    Block(CidrRule),
    Pods(Selector),
}

fn read_peer(reader: &mut Reader, at: &Cursor<'_>, namespace: &str) -> Option<Peer> {
    let mut map = reader.map(at)?;
    let pods = map.get("podSelector").map(|at| of_pods(reader, &at));
    let namespaces = map
        .get("namespaceSelector")
        .map(|at| of_namespaces(reader, &at));
    let block = map.get("ipBlock");
    let has_selector = pods.is_some() || namespaces.is_some();
    if block.is_some() == has_selector {
        reader.fault(
            at,
            "a peer is either an `ipBlock`, or a `podSelector`, a `namespaceSelector` or both of these",
        );
    }
    map.end(reader);
    if let Some(at) = block {
        let map = reader.map(&at)?;
        return cidrs::block(reader, map).map(Peer::Block);
    }
    let pods = pods.unwrap_or_default();
    Some(Peer::Pods(match namespaces {
        // Both must hold.
        Some(Selector(namespaces)) => Selector(pods.0.into_iter().chain(namespaces).collect()),
        None => pods.confined(namespace),
    }))
}

fn of_pods(reader: &mut Reader, at: &Cursor<'_>) -> Selector {
    let Selector(requirements) = selectors::selector(reader, at);
    let of_kubernetes = requirements.into_iter().map(|requirement| Requirement {
        source: "k8s".to_owned(),
        ..requirement
    });
    Selector(of_kubernetes.collect())
}

/// Labels of a namespace are kept among those of its pods, under a prefix of their own. Who is in no
/// namespace at all is never meant, not even by what a namespace must not have.
fn of_namespaces(reader: &mut Reader, at: &Cursor<'_>) -> Selector {
    let Selector(requirements) = of_pods(reader, at);
    let is_in_one = Requirement {
        source: "k8s".to_owned(),
        key: NAMESPACE_LABEL.to_owned(),
        operator: Operator::Exists,
    };
    let of_namespace = requirements.into_iter().map(|requirement| Requirement {
        key: format!("{NAMESPACE_LABELS}{}", requirement.key),
        ..requirement
    });
    Selector(of_namespace.chain([is_in_one]).collect())
}
