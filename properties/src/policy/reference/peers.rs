//! Whether the other end is meant.

use std::net::IpAddr;

use ipnet::IpNet;

use super::labels::{NAMESPACE, NAMESPACE_LABELS, is_value, selects, split};
use super::requests::is_name;
use crate::policy::words::{Block, CidrSet, Peers, Selector, ServicePeer, Source, Which};
use crate::policy::world::{CidrGroup, End, Label, Service, World};

pub(super) fn is_peer(world: &World, peers: &Peers, namespace: Option<&str>, end: End<'_>) -> bool {
    match peers {
        Peers::Endpoints(selectors) => selectors
            .iter()
            .any(|selector| is_selected_peer(selector, namespace, end)),
        Peers::Entities(entities) => entities.iter().any(|entity| is_entity(entity, end)),
        Peers::Cidrs(prefixes) => prefixes.iter().any(|prefix| is_in(&[prefix], &[], end)),
        Peers::CidrSets(sets) => sets.iter().any(|set| is_in_set(world, set, end)),
        Peers::Fqdns(names) => match end {
            End::Outside(outside) => outside
                .names
                .iter()
                .any(|have| names.iter().any(|name| is_name(name, have))),
            End::Node(_) | End::Pod(_) | End::Reserved(_) => false,
        },
        Peers::Nodes(selectors) => {
            let labels = end.labels();
            let mut selectors = selectors.iter().map(of_node);
            is_node(end) && selectors.any(|selector| selects(&selector, &labels))
        }
        Peers::Services(peers) => {
            let mut services = world.services.iter();
            services.any(|service| {
                let is_meant = peers.iter().any(|peer| is_service(peer, service));
                is_meant && is_behind(service, end)
            })
        }
    }
}

fn is_node(end: End<'_>) -> bool {
    match end {
        End::Node(_) => true,
        End::Reserved(name) => ["host", "kube-apiserver", "remote-node"].contains(&name),
        End::Outside(_) | End::Pod(_) => false,
    }
}

/// A key without a source is a label of a node.
fn of_node(selector: &Selector) -> Selector {
    let full = |key: &String| {
        if key.contains(':') {
            key.clone()
        } else {
            format!("node:{key}")
        }
    };
    let labels = selector.labels.iter();
    let expressions = selector.expressions.iter();
    Selector {
        labels: labels
            .map(|(key, value)| (full(key), value.clone()))
            .collect(),
        expressions: expressions
            .map(|(key, operator, values)| (full(key), operator.clone(), values.clone()))
            .collect(),
    }
}

fn is_service(peer: &ServicePeer, service: &Service) -> bool {
    let mut namespace = peer.namespace.iter();
    namespace.all(|namespace| *namespace == service.namespace)
        && match &peer.which {
            Which::Named(name) => *name == service.name,
            Which::Labelled(selector) => selects(selector, &service.labels),
        }
}

/// Pods of its namespace that it selects; without a selector, the addresses that are told.
fn is_behind(service: &Service, end: End<'_>) -> bool {
    let mut selector = service.selector.iter();
    match end {
        End::Outside(outside) => {
            service.selector.is_empty() && service.backends.contains(&outside.address)
        }
        End::Pod(pod) => {
            !service.selector.is_empty()
                && is_value(&pod.labels, NAMESPACE, &service.namespace)
                && selector.all(|(key, value)| is_value(&pod.labels, key, value))
        }
        End::Node(_) | End::Reserved(_) => false,
    }
}

fn is_selected_peer(selector: &Selector, namespace: Option<&str>, end: End<'_>) -> bool {
    let labels = end.labels();
    let keys = selector.labels.iter().map(|(key, _)| key);
    let keys: Vec<&String> = keys
        .chain(selector.expressions.iter().map(|(key, _, _)| key))
        .collect();
    let names_one = keys.iter().any(|key| {
        let (source, key) = split(key);
        source == "reserved" || key == NAMESPACE || key.starts_with(NAMESPACE_LABELS)
    });
    let is_within = match namespace {
        _ if names_one => true,
        Some(namespace) => is_value(&labels, NAMESPACE, namespace),
        // Those of a cluster-wide policy are pods.
        None => labels.iter().any(|label| label.key == NAMESPACE),
    };
    is_within && selects(selector, &labels)
}

fn is_entity(entity: &str, end: End<'_>) -> bool {
    let labels = end.labels();
    let has = |name: &str| {
        let mut labels = labels.iter();
        labels.any(|label| label.source == "reserved" && label.key == name)
    };
    match entity {
        "all" => true,
        "cluster" => match end {
            End::Node(_) | End::Pod(_) => true,
            End::Reserved(name) => name != "world",
            End::Outside(_) => false,
        },
        name => has(name),
    }
}

pub(super) fn is_in_block(block: &Block, end: End<'_>) -> bool {
    is_in(&[&block.cidr], &block.except, end)
}

fn is_in_set(world: &World, set: &CidrSet, end: End<'_>) -> bool {
    let of_groups = |meant: &dyn Fn(&CidrGroup) -> bool| -> Vec<&String> {
        let groups = world.cidr_groups.iter().filter(|group| meant(group));
        groups.flat_map(|group| &group.prefixes).collect()
    };
    let prefixes = match &set.of {
        Source::Prefix(prefix) => vec![prefix],
        Source::Group(name) => of_groups(&|group| group.name == *name),
        Source::Groups(selector) => of_groups(&|group| selects(selector, &group.labels)),
    };
    is_in(&prefixes, &set.except, end)
}

/// Pods and nodes are no addresses.
fn is_in(prefixes: &[&String], except: &[String], end: End<'_>) -> bool {
    let End::Outside(outside) = end else {
        return false;
    };
    let holds = |prefix: &String| holds_address(prefix, outside.address);
    prefixes.iter().copied().any(holds) && !except.iter().any(holds)
}

fn holds_address(prefix: &str, address: IpAddr) -> bool {
    match (prefix.parse::<IpNet>(), prefix.parse::<IpAddr>()) {
        (Ok(prefix), _) => prefix.contains(&address),
        (_, Ok(bare)) => bare == address,
        (Err(_), Err(_)) => false,
    }
}

pub(super) fn is_pod(
    pods: Option<&Selector>,
    namespaces: Option<&Selector>,
    own: &str,
    end: End<'_>,
) -> bool {
    let End::Pod(pod) = end else {
        return false;
    };
    let of_namespace: Vec<Label> = pod
        .labels
        .iter()
        .filter_map(|label| {
            let key = label.key.strip_prefix(NAMESPACE_LABELS)?;
            Some(Label::new(key, &label.value))
        })
        .collect();
    let is_there = match namespaces {
        Some(selector) => selects(selector, &of_namespace),
        None => is_value(&pod.labels, NAMESPACE, own),
    };
    is_there && pods.is_none_or(|selector| selects(selector, &pod.labels))
}
