//! What a `NetworkPolicy` says.

use policy_l7::Direction;

use super::ports::port;
use super::selectors::plain;
use super::{DIRECTIONS, LABELS, Vocabulary, block};
use crate::policy::choices::Choices;
use crate::policy::words::{KubernetesElement, KubernetesPeer, KubernetesSpec};

pub(super) fn of_kubernetes(
    choices: &mut Choices<'_>,
    vocabulary: &Vocabulary<'_>,
) -> KubernetesSpec {
    let types = match choices.below(5) {
        0 => Some(vec![Direction::Ingress]),
        1 => Some(vec![Direction::Egress]),
        2 => Some(DIRECTIONS.to_vec()),
        3 => Some(Vec::new()),
        _ => None,
    };
    let mut lists = Vec::new();
    for direction in DIRECTIONS {
        if !choices.is(3) {
            let elements = choices.some(0, 2, |choices| KubernetesElement {
                peers: choices.perhaps(2, |choices| {
                    choices.some(0, 2, |choices| peer(choices, vocabulary))
                }),
                ports: choices.perhaps(2, |choices| {
                    choices.some(0, 2, |choices| port(choices, vocabulary, false))
                }),
            });
            lists.push((direction, elements));
        }
    }
    KubernetesSpec {
        subject: plain(choices, &LABELS),
        types,
        lists,
    }
}

fn peer(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>) -> KubernetesPeer {
    let teams = [("team", ["one", "two"])];
    let (pods, namespaces) = match choices.below(4) {
        0 => (Some(plain(choices, &LABELS)), None),
        1 => (None, Some(plain(choices, &teams))),
        2 => (Some(plain(choices, &LABELS)), Some(plain(choices, &teams))),
        _ => return KubernetesPeer::Block(block(choices, vocabulary)),
    };
    KubernetesPeer::Pods { pods, namespaces }
}
