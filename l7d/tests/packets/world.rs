//! Two endpoints with policies, and what these say: once for the kernel's maps, once for the model.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use properties::received::{Datagram, Transport};

/// Identity of some peers.
pub(crate) const STRANGER: u32 = 300;
/// Their addresses.
pub(crate) const STRANGERS: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::new(10, 9, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0)), 16),
];

/// Addresses of a pod of this node.
pub(crate) const PODS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 8, 0, 77)),
    IpAddr::V6(Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, 0x77)),
];

/// Whose packet it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// What no rule allows is dropped.
    Closed,
    /// What no rule denies passes.
    Open,
}

/// Seen from the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// By strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Allow,
    Redirect,
    Deny,
}

/// An entry of an endpoint's policy.
pub(crate) struct Rule {
    pub(crate) owner: Owner,
    pub(crate) directions: &'static [Direction],
    /// Only for strangers.
    pub(crate) is_for_strangers: bool,
    /// Protocol, and port of it; any without.
    pub(crate) what: Option<(u8, Option<u16>)>,
    pub(crate) action: Action,
}

const fn closed(directions: &'static [Direction], protocol: u8, port: u16, action: Action) -> Rule {
    Rule {
        owner: Owner::Closed,
        directions,
        is_for_strangers: false,
        what: Some((protocol, Some(port))),
        action,
    }
}

const fn open(what: Option<(u8, Option<u16>)>, is_for_strangers: bool, action: Action) -> Rule {
    Rule {
        owner: Owner::Open,
        directions: &Direction::BOTH,
        is_for_strangers,
        what,
        action,
    }
}

pub(crate) const RULES: [Rule; 15] = [
    closed(&Direction::BOTH, 6, 80, Action::Allow),
    closed(&[Direction::Ingress], 6, 8080, Action::Redirect),
    closed(&[Direction::Egress], 6, 443, Action::Allow),
    closed(&Direction::BOTH, 17, 53, Action::Allow),
    closed(&Direction::BOTH, 132, 5000, Action::Allow),
    closed(&[Direction::Egress], 1, 8, Action::Allow),
    closed(&[Direction::Ingress], 58, 128, Action::Allow),
    Rule {
        owner: Owner::Closed,
        directions: &Direction::BOTH,
        is_for_strangers: true,
        what: Some((6, Some(81))),
        action: Action::Allow,
    },
    open(None, false, Action::Allow),
    open(Some((6, Some(22))), false, Action::Deny),
    open(Some((17, Some(5353))), false, Action::Deny),
    open(Some((1, Some(13))), false, Action::Deny),
    open(Some((58, Some(128))), false, Action::Deny),
    open(Some((132, None)), false, Action::Deny),
    open(Some((17, None)), true, Action::Deny),
];

/// What may become of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Pass,
    Drop,
    Redirect,
    /// Passes, or is redirected: of a connection that nobody saw begin.
    NoDrop,
    /// Passes, and nobody is told or remembers it.
    Ignored,
    /// Passes or is dropped: which way a connection goes that nobody saw begin is guessed.
    Guessed,
}

fn is_stranger(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets().starts_with(&[10, 9]),
        IpAddr::V6(v6) => v6.octets().starts_with(&[0xfd, 0x09]),
    }
}

/// Longest match of each peer's entries, then the stricter one.
pub(crate) fn judge(
    owner: Owner,
    direction: Direction,
    peer: IpAddr,
    protocol: u8,
    port: u16,
) -> Action {
    let mine = |is_for_strangers: bool| {
        let rules = RULES.iter().filter(move |rule| {
            rule.owner == owner
                && rule.directions.contains(&direction)
                && rule.is_for_strangers == is_for_strangers
        });
        let fitting = rules.filter_map(|rule| match rule.what {
            None => Some((0, rule.action)),
            Some((of, None)) if of == protocol => Some((1, rule.action)),
            Some((of, Some(at))) if (of, at) == (protocol, port) => Some((2, rule.action)),
            Some(_) => None,
        });
        fitting.max_by_key(|(length, _)| *length)
    };
    let any = mine(false);
    let of_peer = mine(true).filter(|_| is_stranger(peer));
    let actions = [any, of_peer].into_iter().flatten();
    let default = match owner {
        Owner::Closed => Action::Deny,
        Owner::Open => Action::Allow,
    };
    actions.map(|(_, action)| action).max().unwrap_or(default)
}

/// Errors about other packets, and neighbour discovery.
fn passes_always(transport: Transport) -> bool {
    match transport {
        Transport::Icmp(kind, ..) => [3, 11, 12].contains(&kind),
        Transport::IcmpV6(kind, ..) => matches!(kind, 1..=4 | 130..=137 | 143),
        _ => false,
    }
}

/// What policy says of a datagram that begins something.
pub(crate) fn forward(owner: Owner, direction: Direction, datagram: &Datagram) -> Action {
    if passes_always(datagram.transport) {
        return Action::Allow;
    }
    judge(
        owner,
        direction,
        peer(direction, datagram),
        datagram.transport.protocol(),
        asked(datagram.transport),
    )
}

/// The port that a rule is asked for; of ICMP its type.
fn asked(transport: Transport) -> u16 {
    match transport {
        Transport::Icmp(kind, ..) | Transport::IcmpV6(kind, ..) => u16::from(kind),
        other => other.ports().map_or(0, |(_, destination)| destination),
    }
}

pub(crate) fn peer(direction: Direction, datagram: &Datagram) -> IpAddr {
    match direction {
        Direction::Ingress => datagram.source,
        Direction::Egress => datagram.destination,
    }
}

/// What becomes of a datagram of which nothing was seen before.
pub(crate) fn expect(owner: Owner, direction: Direction, datagram: &Datagram) -> Expected {
    let action = forward(owner, direction, datagram);
    let Transport::Tcp(source, _, flags) = datagram.transport else {
        return match action {
            Action::Allow => Expected::Pass,
            Action::Redirect | Action::Deny => Expected::Drop,
        };
    };
    if flags & 0x12 == 0x02 {
        return match action {
            Action::Allow => Expected::Pass,
            Action::Redirect => Expected::Redirect,
            Action::Deny => Expected::Drop,
        };
    }
    let peer = peer(direction, datagram);
    let as_reply = judge(owner, direction.other(), peer, 6, source);
    if action.min(as_reply) == Action::Deny {
        Expected::Drop
    } else {
        Expected::NoDrop
    }
}
