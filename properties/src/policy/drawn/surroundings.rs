//! What surrounds pods: nodes, services and groups of prefixes, and peers that refer to them.

use super::selectors::plain;
use super::{LABELS, NAMESPACES, Vocabulary, block};
use crate::policy::choices::Choices;
use crate::policy::words::{CidrSet, Selector, ServicePeer, Source, Which};
use crate::policy::world::{CidrGroup, Label, Node, Service};

const ZONES: [(&str, [&str; 2]); 1] = [("zone", ["east", "west"])];
const SERVICES: [&str; 3] = ["web", "db", "legacy"];
const GROUPS: [&str; 2] = ["offices", "labs"];

pub(super) fn nodes(choices: &mut Choices<'_>) -> Vec<Node> {
    let node = |number| Node {
        name: format!("node-{number}"),
        labels: choices
            .perhaps(2, |choices| {
                Label::of_node("zone", &choices.text(&["east", "west"]))
            })
            .into_iter()
            .collect(),
    };
    (0..2).map(node).collect()
}

pub(super) fn services(choices: &mut Choices<'_>) -> Vec<Service> {
    let service = |name: &&str| Service {
        name: (*name).to_owned(),
        namespace: choices.text(&NAMESPACES),
        labels: labels(choices),
        selector: choices.some(0, 1, |choices| {
            ("app".to_owned(), choices.text(&["web", "db"]))
        }),
        backends: choices.some(0, 2, |choices| {
            let addresses = ["10.1.2.3", "203.0.113.1", "2001:db8::1"];
            let address = choices.one(&addresses).and_then(|text| text.parse().ok());
            address.unwrap_or([192, 0, 2, 7].into())
        }),
    };
    SERVICES.iter().map(service).collect()
}

pub(super) fn cidr_groups(
    choices: &mut Choices<'_>,
    vocabulary: &Vocabulary<'_>,
) -> Vec<CidrGroup> {
    let group = |name: &&str| CidrGroup {
        name: (*name).to_owned(),
        labels: labels(choices),
        prefixes: choices.some(0, 2, |choices| {
            if choices.is(4) {
                "192.0.2.7".to_owned()
            } else {
                block(choices, vocabulary).cidr
            }
        }),
    };
    GROUPS.iter().map(group).collect()
}

fn labels(choices: &mut Choices<'_>) -> Vec<Label> {
    choices.some(0, 1, |choices| {
        Label::new("app", &choices.text(&["web", "db"]))
    })
}

/// A selector of nodes.
pub(super) fn node_selector(choices: &mut Choices<'_>) -> Selector {
    let mut selector = plain(choices, &ZONES);
    if choices.is(4) {
        // Without a source it is a label that no node has.
        let keys = ["reserved:remote-node", "reserved:host", "remote-node"];
        selector.labels.push((choices.text(&keys), String::new()));
    }
    selector
}

/// Services that are there, or one that is not.
pub(super) fn service_peer(choices: &mut Choices<'_>) -> ServicePeer {
    ServicePeer {
        namespace: choices.perhaps(2, |choices| choices.text(&NAMESPACES)),
        which: if choices.is(2) {
            Which::Labelled(plain(choices, &LABELS))
        } else {
            Which::Named(choices.text(&["web", "db", "legacy", "gone"]))
        },
    }
}

/// Prefixes of groups, or of one that is not there.
pub(super) fn group_set(choices: &mut Choices<'_>) -> CidrSet {
    CidrSet {
        of: if choices.is(2) {
            Source::Groups(plain(choices, &LABELS))
        } else {
            Source::Group(choices.text(&["offices", "labs", "gone"]))
        },
        except: choices.some(0, 1, |choices| {
            choices.text(&["10.1.2.0/24", "192.0.2.128/25", "2001:db8:1::/48"])
        }),
    }
}
