//! What a policy of Cilium's kinds says.

use policy_l7::Direction;

use super::ports::to_ports;
use super::requests::name;
use super::selectors::selector;
use super::surroundings::{group_set, node_selector, service_peer};
use super::{DIRECTIONS, Vocabulary, block};
use crate::policy::choices::Choices;
use crate::policy::words::{Block, CidrSet, Element, Limits, List, Peers, Source, Spec};

const ENTITIES: [&str; 10] = [
    "all",
    "cluster",
    "world",
    "host",
    "remote-node",
    "kube-apiserver",
    "health",
    "ingress",
    "init",
    "none",
];

pub(super) fn spec(
    choices: &mut Choices<'_>,
    vocabulary: &Vocabulary<'_>,
    is_namespaced: bool,
) -> Spec {
    // What a namespaced policy is for cannot be elsewhere.
    let subject = selector(choices, !is_namespaced);
    let mut lists = Vec::new();
    for direction in DIRECTIONS {
        for is_deny in [false, true] {
            if !choices.is(if is_deny { 3 } else { 2 }) {
                continue;
            }
            let elements = choices.some(1, 3, |choices| {
                element(choices, vocabulary, direction, is_deny)
            });
            lists.push(List {
                direction,
                is_deny,
                elements,
            });
        }
    }
    if lists.is_empty() {
        lists.push(List {
            direction: Direction::Ingress,
            is_deny: false,
            elements: vec![Element {
                peers: None,
                limits: Limits::Absent,
            }],
        });
    }
    let mut default_deny = Vec::new();
    for direction in DIRECTIONS {
        default_deny.extend(choices.perhaps(4, |choices| (direction, choices.is(2))));
    }
    Spec {
        subject,
        lists,
        default_deny,
    }
}

fn element(
    choices: &mut Choices<'_>,
    vocabulary: &Vocabulary<'_>,
    direction: Direction,
    is_deny: bool,
) -> Element {
    let peers = peers(choices, vocabulary, direction, is_deny);
    let limits = match choices.below(6) {
        0 => Limits::Absent,
        5 => Limits::Icmps(vec![choices.some(1, 2, |choices| {
            let types: [(bool, u8); 4] = [(false, 8), (true, 128), (false, 0), (false, 3)];
            choices.one(&types).copied().unwrap_or_default()
        })]),
        _ => Limits::Ports(choices.some(1, 2, |choices| {
            to_ports(choices, vocabulary, direction, is_deny)
        })),
    };
    Element { peers, limits }
}

fn peers(
    choices: &mut Choices<'_>,
    vocabulary: &Vocabulary<'_>,
    direction: Direction,
    is_deny: bool,
) -> Option<Peers> {
    let kinds = if vocabulary.has_surroundings { 11 } else { 7 };
    Some(match choices.below(kinds) {
        0 => return None,
        1 | 2 => Peers::Endpoints(choices.some(0, 2, |choices| selector(choices, true))),
        3 => Peers::Entities(choices.some(1, 2, |choices| choices.text(&ENTITIES))),
        4 => Peers::Cidrs(choices.some(1, 2, |choices| block(choices, vocabulary).cidr)),
        5 if direction == Direction::Egress && !is_deny && vocabulary.has_requests => {
            Peers::Fqdns(choices.some(1, 2, name))
        }
        7 => Peers::Nodes(choices.some(0, 2, node_selector)),
        8 => Peers::CidrSets(choices.some(1, 2, group_set)),
        9 | 10 if direction == Direction::Egress => {
            Peers::Services(choices.some(0, 2, service_peer))
        }
        _ => Peers::CidrSets(choices.some(1, 2, |choices| {
            let Block { cidr, except } = block(choices, vocabulary);
            CidrSet {
                of: Source::Prefix(cidr),
                except,
            }
        })),
    })
}
