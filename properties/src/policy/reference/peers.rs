//! Whether the other end is meant.

use std::net::IpAddr;

use ipnet::IpNet;

use super::labels::{NAMESPACE, NAMESPACE_LABELS, is_value, selects, split};
use super::requests::is_name;
use crate::policy::words::{Block, Peers, Selector};
use crate::policy::world::{End, Label};

pub(super) fn is_peer(peers: &Peers, namespace: Option<&str>, end: End<'_>) -> bool {
    match peers {
        Peers::Endpoints(selectors) => selectors
            .iter()
            .any(|selector| is_selected_peer(selector, namespace, end)),
        Peers::Entities(entities) => entities.iter().any(|entity| is_entity(entity, end)),
        Peers::Cidrs(prefixes) => prefixes.iter().any(|prefix| {
            is_in_block(
                &Block {
                    cidr: prefix.clone(),
                    except: Vec::new(),
                },
                end,
            )
        }),
        Peers::CidrSets(blocks) => blocks.iter().any(|block| is_in_block(block, end)),
        Peers::Fqdns(names) => match end {
            End::Outside(outside) => outside
                .names
                .iter()
                .any(|have| names.iter().any(|name| is_name(name, have))),
            End::Pod(_) | End::Reserved(_) => false,
        },
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
            End::Pod(_) => true,
            End::Reserved(name) => name != "world",
            End::Outside(_) => false,
        },
        name => has(name),
    }
}

/// Pods and nodes are no addresses.
pub(super) fn is_in_block(block: &Block, end: End<'_>) -> bool {
    let End::Outside(outside) = end else {
        return false;
    };
    let holds = |prefix: &str| holds_address(prefix, outside.address);
    holds(&block.cidr) && !block.except.iter().any(|except| holds(except))
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
