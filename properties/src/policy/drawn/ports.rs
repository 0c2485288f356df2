//! Ports, and what is said on them.

use policy_l7::Direction;

use super::Vocabulary;
use super::requests::{http, name, server_pattern};
use crate::policy::choices::Choices;
use crate::policy::words::{Port, Rules, ToPorts};

pub(super) fn to_ports(
    choices: &mut Choices<'_>,
    vocabulary: &Vocabulary<'_>,
    direction: Direction,
    is_deny: bool,
) -> ToPorts {
    let rules = match choices.below(5) {
        0 if !is_deny && vocabulary.has_requests => Rules::Http(choices.some(0, 3, http)),
        1 if !is_deny && direction == Direction::Egress && vocabulary.has_requests => {
            Rules::Dns(choices.some(0, 2, |choices| choices.some(0, 1, name)))
        }
        2 if !is_deny && vocabulary.has_requests => {
            Rules::ServerNames(choices.some(0, 2, server_pattern))
        }
        _ => Rules::Absent,
    };
    let ports = match &rules {
        Rules::Absent => choices.some(1, 2, |choices| port(choices, vocabulary, true)),
        Rules::Dns(_) => vec![Port {
            port: Some("53".to_owned()),
            last: None,
            protocol: [None, Some("UDP"), Some("TCP"), Some("ANY")]
                .get(choices.below(4))
                .copied()
                .flatten()
                .map(str::to_owned),
        }],
        Rules::Http(_) => choices.some(1, 2, |choices| port_of_tcp(choices, vocabulary, "TCP")),
        Rules::ServerNames(_) => choices.some(1, 2, |choices| {
            let protocol = choices.text(&["TCP", "ANY"]);
            port_of_tcp(choices, vocabulary, &protocol)
        }),
    };
    ToPorts { ports, rules }
}

fn port_of_tcp(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>, protocol: &str) -> Port {
    let last = choices.perhaps(3, |_| 90);
    Port {
        port: Some(match last {
            Some(_) => "80".to_owned(),
            None => port_number(choices, vocabulary),
        }),
        last,
        protocol: Some(protocol.to_owned()),
    }
}

fn port_number(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>) -> String {
    let port = choices.one(vocabulary.http_ports).copied();
    port.unwrap_or(80).to_string()
}

pub(super) fn port(
    choices: &mut Choices<'_>,
    vocabulary: &Vocabulary<'_>,
    is_cilium: bool,
) -> Port {
    let protocols: &[Option<&str>] = if is_cilium {
        &[
            Some("TCP"),
            None,
            Some("UDP"),
            Some("SCTP"),
            Some("ANY"),
            Some("udp"),
        ]
    } else {
        &[Some("TCP"), None, Some("UDP"), Some("SCTP")]
    };
    let protocol = choices.one(protocols).copied().flatten();
    let mut last = None;
    let port = match choices.below(6) {
        0 => Some("http".to_owned()),
        1 if is_cilium => Some("0".to_owned()),
        1 => None,
        2 | 3 => {
            let (first, end) = choices.one(vocabulary.ranges).copied().unwrap_or((80, 90));
            last = Some(end);
            Some(first.to_string())
        }
        _ => Some(port_number(choices, vocabulary)),
    };
    Port {
        port,
        last,
        protocol: protocol.map(str::to_owned),
    }
}
