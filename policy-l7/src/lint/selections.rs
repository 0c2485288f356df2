//! Selectors: whom they match, and what was perhaps meant.

use super::checks::{CIDR_OF_PODS, DANGLING, IGNORED_LABEL, SELECTS_NOTHING};
use super::known::Known;
use super::{About, Finding, element, word};
use crate::error::nearest;
use crate::labels::counts_for_identity;
use crate::rule::Rule;
use crate::selector::{
    CidrRule, NAMESPACE_LABEL, NAMESPACE_LABELS, Operator, Peers, Requirement, Selector,
};

/// Labels that only some sources of endpoints tell; where nobody has one, nothing can be said of it.
const NOT_ALWAYS_TOLD: [&str; 2] = [
    "io.cilium.k8s.policy.cluster",
    "io.cilium.k8s.policy.serviceaccount",
];

/// Prefixes from this length on are blocks of pods rather than of a whole network.
const BLOCK_V4: u8 = 16;
const BLOCK_V6: u8 = 48;

/// Selectors that nobody known fits, and blocks of addresses that are pods'.
pub(super) fn check(about: &About<'_>, known: &Known<'_>, findings: &mut Vec<Finding>) {
    findings.extend(idle(about, known, &about.subject(), &about.spec.subject));
    for (rule, field, selector) in selectors(about) {
        // What it stands for is told once, not once for each list of ports.
        if is_first_of_element(about, rule) {
            findings.extend(idle(about, known, &field, selector));
        }
    }
    for rule in &about.spec.rules {
        if let (Peers::Cidrs(blocks), true) = (&rule.peers, is_first_of_element(about, rule)) {
            findings.extend(
                blocks
                    .iter()
                    .filter_map(|block| of_pods(about, known, rule, block)),
            );
        }
    }
}

/// Services and groups that there are none of.
pub(super) fn check_references(about: &About<'_>, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let surroundings = &known.surroundings;
    for rule in &about.spec.rules {
        let can_tell = match &rule.peers {
            Peers::CidrSets(_) => !surroundings.cidr_groups.is_empty(),
            Peers::Services(_) => !surroundings.services.is_empty(),
            _ => false,
        };
        if can_tell && is_first_of_element(about, rule) {
            let missing = surroundings.missing_of(&rule.peers).into_iter();
            let of_rule = |message| about.finding(DANGLING, element(&rule.path), message);
            findings.extend(missing.map(of_rule));
        }
    }
}

/// Labels that no identity has, whoever is there.
pub(super) fn check_labels(about: &About<'_>, findings: &mut Vec<Finding>) {
    let of_peers = selectors(about).map(|(_, field, selector)| (field, selector));
    let all = std::iter::once((about.subject(), &about.spec.subject)).chain(of_peers);
    for (field, Selector(requirements)) in all {
        for requirement in requirements {
            let is_of_pod = matches!(requirement.source.as_str(), "any" | "k8s");
            if is_of_pod && !counts_for_identity(&requirement.key) {
                let message = format!(
                    "`{}` is no part of identities, as it changes with every pod or rollout: no selector can see it",
                    requirement.key
                );
                findings.push(Finding {
                    word: Some(requirement.key.clone()),
                    ..about.finding(IGNORED_LABEL, field.clone(), message)
                });
            }
        }
    }
}

fn is_first_of_element(about: &About<'_>, rule: &Rule) -> bool {
    let mut rules = about.spec.rules.iter();
    let first = rules
        .find(|other| element(&other.path) == element(&rule.path) && other.peers == rule.peers);
    first.is_some_and(|first| std::ptr::eq(first, rule))
}

/// The selectors of all peers, with the paths of their lists.
fn selectors<'a>(about: &About<'a>) -> impl Iterator<Item = (&'a Rule, String, &'a Selector)> {
    let is_of_kubernetes = about.is_of_kubernetes();
    about.spec.rules.iter().flat_map(move |rule| {
        let (kind, selectors) = match &rule.peers {
            Peers::Endpoints(selectors) => ("Endpoints", selectors.as_slice()),
            Peers::Nodes(selectors) => ("Nodes", selectors.as_slice()),
            _ => ("", [].as_slice()),
        };
        let kind = (!is_of_kubernetes).then_some(kind);
        selectors
            .iter()
            .enumerate()
            .map(move |(index, selector)| (rule, peer_path(rule, kind, index), selector))
    })
}

/// `kind` is the rest of the list's name, where it has one for each kind of peers.
fn peer_path(rule: &Rule, kind: Option<&str>, index: usize) -> String {
    let to_or_from = if word(rule.direction) == "egress" {
        "to"
    } else {
        "from"
    };
    let element = element(&rule.path);
    match kind {
        // Blocks of addresses stand between them: the word says which.
        None => format!("{element}.{to_or_from}"),
        Some(kind) => format!("{element}.{to_or_from}{kind}[{index}]"),
    }
}

fn idle(about: &About<'_>, known: &Known<'_>, field: &str, selector: &Selector) -> Option<Finding> {
    if known.has(selector) || !can_tell(known, selector) {
        return None;
    }
    let Selector(requirements) = selector;
    let finding = |word: Option<&str>, message: String, suggestion: Option<&str>| Finding {
        word: word.map(str::to_owned),
        suggestion: suggestion.map(str::to_owned),
        ..about.finding(SELECTS_NOTHING, field, message)
    };
    if let Some(unmet) = requirements.iter().find_map(|of| unmet(about, known, of)) {
        let mut finding = finding(unmet.word, unmet.message, unmet.suggestion);
        if unmet.is_own_namespace {
            "metadata.namespace".clone_into(&mut finding.field);
        }
        return Some(finding);
    }
    let is_namespace = |of: &&Requirement| of.key == NAMESPACE_LABEL;
    let elsewhere: Vec<Requirement> = requirements
        .iter()
        .filter(|of| !is_namespace(of))
        .cloned()
        .collect();
    let elsewhere = Selector(elsewhere);
    let here = requirements.iter().find(is_namespace);
    let there = known
        .identities
        .iter()
        .filter(|_| !elsewhere.0.is_empty())
        .filter(|identity| elsewhere.matches(&identity.labels))
        .flat_map(|identity| identity.labels.values("k8s", NAMESPACE_LABEL))
        .min();
    let message = match (here.map(|of| &of.operator), there) {
        (Some(Operator::In(here)), Some(there)) => format!(
            "nothing in namespace `{}` fits; something in `{there}` does",
            here.join("`, `")
        ),
        _ => "nothing fits all of it, though each part fits something".to_owned(),
    };
    Some(finding(None, message, None))
}

/// Whether what is known tells of all labels that a selector asks for.
fn can_tell(known: &Known<'_>, Selector(requirements): &Selector) -> bool {
    let named = format!("{NAMESPACE_LABELS}kubernetes.io/metadata.name");
    let is_label_of_namespace = |key: &str| key.starts_with(NAMESPACE_LABELS) && key != named;
    requirements.iter().all(|of| {
        if of.source == "node" || NOT_ALWAYS_TOLD.contains(&of.key.as_str()) {
            return known.has_key(&of.source, &of.key);
        }
        if !is_label_of_namespace(&of.key) {
            return true;
        }
        known.identities.iter().any(|identity| {
            let mut labels = identity.labels.iter();
            labels.any(|label| is_label_of_namespace(&label.key))
        })
    })
}

/// One requirement that nobody meets.
struct Unmet<'a> {
    word: Option<&'a str>,
    message: String,
    suggestion: Option<&'a str>,
    /// It is what the namespace of the policy itself comes to.
    is_own_namespace: bool,
}

fn unmet<'a>(
    about: &About<'_>,
    known: &Known<'a>,
    requirement: &'a Requirement,
) -> Option<Unmet<'a>> {
    let alone = Selector(vec![requirement.clone()]);
    if known.has(&alone) {
        return None;
    }
    let Requirement { source, key, .. } = requirement;
    let value = match &requirement.operator {
        Operator::In(values) => values.first(),
        Operator::Exists => None,
        Operator::Absent | Operator::NotIn(_) => return None,
    };
    let values: Vec<&str> = known
        .identities
        .iter()
        .flat_map(|identity| identity.labels.values(source, key))
        .collect();
    let shown = key.strip_prefix(NAMESPACE_LABELS).unwrap_or(key);
    if let (Some(value), false) = (value, values.is_empty()) {
        let suggestion = nearest(value, values.iter().copied());
        let namespace = &about.policy.provenance().namespace;
        let is_own_namespace = key == NAMESPACE_LABEL && value == namespace;
        let message = if key == NAMESPACE_LABEL {
            format!("nothing is in namespace `{value}`")
        } else {
            format!("nothing has `{shown}: {value}`")
        };
        return Some(Unmet {
            word: Some(value)
                .filter(|_| !is_own_namespace)
                .map(String::as_str),
            message,
            suggestion,
            is_own_namespace,
        });
    }
    let keys: Vec<&'a str> = known
        .identities
        .iter()
        .flat_map(|of| of.labels.keys())
        .collect();
    Some(Unmet {
        word: Some(shown),
        message: match value {
            Some(value) => format!("nothing has a label `{shown}`, let alone `{shown}: {value}`"),
            None => format!("nothing has a label `{shown}`"),
        },
        suggestion: nearest(key, keys),
        is_own_namespace: false,
    })
}

/// A block in which pods are: rules for blocks never mean these.
fn of_pods(about: &About<'_>, known: &Known<'_>, rule: &Rule, block: &CidrRule) -> Option<Finding> {
    let prefix = block.prefix;
    let is_small = match prefix {
        ipnet::IpNet::V4(v4) => v4.prefix_len() >= BLOCK_V4,
        ipnet::IpNet::V6(v6) => v6.prefix_len() >= BLOCK_V6,
    };
    let is_in = |address: &std::net::IpAddr| {
        prefix.contains(address) && !block.except.iter().any(|except| except.contains(address))
    };
    let mut pods = known
        .servers
        .iter()
        .filter(|server| server.addresses.iter().any(is_in));
    let first = pods.next().filter(|_| is_small && !rule.is_deny)?;
    let others = match pods.count() {
        0 => String::new(),
        count => format!(" and of {count} more"),
    };
    let message = format!(
        "{prefix} has the address of {}{others}: rules for addresses mean what is outside the cluster, never pods; select them by their labels",
        first.name
    );
    Some(Finding {
        word: Some(prefix.to_string()),
        ..about.finding(CIDR_OF_PODS, element(&rule.path), message)
    })
}
