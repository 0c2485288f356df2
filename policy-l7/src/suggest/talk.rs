//! One direction of a workload, who it talks to there, and what is said.

use std::collections::BTreeMap;

use super::{PathPart, Peer, Request, Seen, Standing, Workload};
use crate::rule::Direction;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// One direction of a workload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Side<'s> {
    pub(super) workload: &'s Workload,
    pub(super) direction: Direction,
}

/// A peer and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Talk<'s> {
    pub(super) peer: &'s Peer,
    pub(super) protocol: u8,
    pub(super) port: u16,
}

/// What was said there.
#[derive(Default)]
pub(super) struct Said<'s> {
    /// Connections and requests that passed.
    pub(super) count: u64,
    pub(super) requests: BTreeMap<Key<'s>, Asked>,
    pub(super) is_dropped: bool,
}

/// A request, whether it had a query or not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'s> {
    Dns(&'s str),
    Http(&'s str, &'s [PathPart], &'s str),
}

#[derive(Default)]
pub(super) struct Asked {
    pub(super) passed: u64,
    pub(super) has_query: bool,
    pub(super) is_dropped: bool,
    pub(super) is_ambiguous: bool,
}

impl<'s> Key<'s> {
    pub(super) fn of(request: &'s Request) -> Self {
        match request {
            Request::Dns(name) => Self::Dns(name),
            Request::Http {
                method,
                path,
                shown,
                ..
            } => Self::Http(method, path, shown),
        }
    }
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS {name}"),
            Self::Http(method, _, shown) => write!(f, "{method} {shown}"),
        }
    }
}

impl<'s> Side<'s> {
    pub(super) fn of(seen: &'s Seen) -> Self {
        Self {
            workload: &seen.workload,
            direction: seen.direction,
        }
    }
}

impl<'s> Talk<'s> {
    pub(super) fn of(seen: &'s Seen) -> Self {
        Self {
            peer: &seen.peer,
            protocol: seen.protocol,
            port: seen.port,
        }
    }
}

impl<'s> Said<'s> {
    pub(super) fn take(&mut self, seen: &'s Seen) {
        match seen.standing {
            Standing::Passed | Standing::Ambiguous => self.count += seen.count,
            Standing::Dropped if seen.request.is_none() => self.is_dropped = true,
            Standing::Dropped => {}
        }
        let Some(request) = &seen.request else { return };
        let asked = self.requests.entry(Key::of(request)).or_default();
        match seen.standing {
            Standing::Passed => {
                asked.passed += seen.count;
                if let Request::Http { has_query, .. } = request {
                    asked.has_query |= has_query;
                }
            }
            Standing::Dropped => asked.is_dropped = true,
            Standing::Ambiguous => asked.is_ambiguous = true,
        }
    }
}

/// What is listed, for people.
pub(super) fn line(direction: Direction, talk: Talk<'_>, what: Option<&Key<'_>>) -> String {
    let port = talk.port;
    let port = match talk.protocol {
        1 => format!("ICMPv4 type {port}"),
        TCP => format!("{port}/TCP"),
        UDP => format!("{port}/UDP"),
        58 => format!("ICMPv6 type {port}"),
        132 => format!("{port}/SCTP"),
        other => format!("{port}/protocol {other}"),
    };
    let peer = match talk.peer {
        Peer::Address(address) => address.to_string(),
        Peer::Entity(name) | Peer::Name(name) => name.clone(),
        Peer::Workload(workload) => {
            let labels = workload.labels.iter();
            let all: Vec<String> = labels
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("{}/{}", workload.namespace, all.join(","))
        }
    };
    let way = match direction {
        Direction::Egress => "to",
        Direction::Ingress => "from",
    };
    match what {
        Some(key) => format!("{way} {peer} {port} {key}"),
        None => format!("{way} {peer} {port}"),
    }
}
