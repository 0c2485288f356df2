//! Whether the protocol and the port are meant.

use policy_l7::Direction;

use super::Question;
use crate::policy::words::Port;
use crate::policy::world::{Pod, World};

pub(super) const TCP: u8 = 6;

pub(super) const UDP: u8 = 17;

pub(super) const SCTP: u8 = 132;

pub(super) const ICMP: u8 = 1;

pub(super) const ICMPV6: u8 = 58;

/// Whether a name stands for the port that is asked about: the names are those of the pods that are
/// reached.
pub(super) fn names(
    world: &World,
    question: &Question<'_>,
    name: &str,
    may_reach: &dyn Fn(&Pod) -> bool,
) -> bool {
    let wanted = name.to_ascii_lowercase();
    let has = |pod: &Pod| {
        let mut named = pod.named_ports.iter();
        named.any(|(have, port)| *have == wanted && *port == question.port)
    };
    match question.direction {
        Direction::Ingress => has(question.subject),
        Direction::Egress => world.pods.iter().any(|pod| may_reach(pod) && has(pod)),
    }
}

pub(super) fn is_port(
    words: &Port,
    unnamed: &[u8],
    named: &dyn Fn(&str) -> bool,
    question: &Question<'_>,
) -> bool {
    let protocol = words.protocol.as_deref().map(str::to_ascii_uppercase);
    let is_protocol = match protocol.as_deref() {
        None => unnamed.contains(&question.protocol),
        Some("ANY") => [TCP, UDP, SCTP].contains(&question.protocol),
        Some("TCP") => question.protocol == TCP,
        Some("UDP") => question.protocol == UDP,
        Some("SCTP") => question.protocol == SCTP,
        Some(_) => false,
    };
    is_protocol
        && match words.port.as_deref() {
            None | Some("0") => true,
            Some(text) => match text.parse::<u16>() {
                Ok(first) => {
                    (first..=words.last.unwrap_or(first).max(first)).contains(&question.port)
                }
                Err(_) => named(text),
            },
        }
}
