//! The policy of endpoints for which the same policies hold.

use std::sync::Arc;

use super::RuleId;
use super::entries::Action;
use super::peers::{Members, PeersId};
use super::prefixes::Prefix;
use crate::names::DnsRules;
use crate::paths::HttpRules;
use crate::rule::{Direction, Provenance, ServerName};

/// What happens to what no rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideMode {
    /// Dropped.
    DefaultDeny,
    /// Passed.
    Open,
}

/// The policy of endpoints for which the same policies hold. It never changes; what its rules mean
/// by their peers may, and is asked of the [`Compiled`](super::Compiled) that it is in.
#[derive(Debug)]
pub struct PolicySet {
    pub(super) number: u32,
    pub(super) ingress: Side,
    pub(super) egress: Side,
}

/// One direction of it.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) mode: SideMode,
    pub(super) scopes: Vec<Scope>,
    /// The policies that deny by default.
    pub(super) defaults: Vec<Arc<Provenance>>,
}

/// A rule as it applies to an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// `None` is anybody.
    pub(super) peers: Option<PeersId>,
    pub(super) prefixes: Arc<[Prefix]>,
    pub(crate) is_deny: bool,
    pub(crate) l7: ScopeL7,
    pub(crate) rule: RuleId,
}

/// Matchers of requests, shared by all endpoints, and the number of each of their rules.
#[derive(Debug, Clone)]
pub(crate) enum ScopeL7 {
    /// Queries are judged.
    Dns {
        rules: Arc<DnsRules>,
        ids: Arc<[RuleId]>,
    },
    /// Requests are judged.
    Http {
        rules: Arc<HttpRules>,
        ids: Arc<[RuleId]>,
    },
    /// Every request is allowed.
    Nothing,
    /// Connections are judged by the names of their servers.
    Tls {
        names: Arc<[ServerName]>,
        ids: Arc<[RuleId]>,
    },
}

impl PolicySet {
    /// Its number: another set never has the same, and one of the same number says the same of
    /// every identity that has neither come nor gone.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What happens to what no rule is about.
    pub fn mode(&self, direction: Direction) -> SideMode {
        self.side(direction).mode
    }

    /// Whether nothing is ever denied or judged.
    pub fn is_open(&self) -> bool {
        let is_open = |side: &Side| side.mode == SideMode::Open && side.scopes.is_empty();
        is_open(&self.ingress) && is_open(&self.egress)
    }

    /// The policies that deny by default.
    pub(crate) fn defaults(&self, direction: Direction) -> Vec<Provenance> {
        let defaults = self.side(direction).defaults.iter();
        defaults
            .map(|provenance| Provenance::clone(provenance))
            .collect()
    }

    /// The rules of a direction, in the order of their policies' names.
    pub(crate) fn scopes(&self, direction: Direction) -> &[Scope] {
        &self.side(direction).scopes
    }

    pub(super) fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        }
    }
}

impl Scope {
    /// Whether it speaks of anybody, and not of some identities.
    pub(crate) fn is_for_anybody(&self) -> bool {
        self.peers.is_none()
    }

    pub(crate) fn action(&self) -> Action {
        match (self.is_deny, &self.l7) {
            (true, _) => Action::Deny,
            (false, ScopeL7::Dns { .. } | ScopeL7::Http { .. } | ScopeL7::Tls { .. }) => {
                Action::Redirect
            }
            (false, ScopeL7::Nothing) => Action::Allow,
        }
    }

    /// Whether it speaks of an identity.
    pub(super) fn means(&self, members: &Members, identity: u32) -> bool {
        self.peers.is_none_or(|peers| members.has(peers, identity))
    }

    /// The longest block that covers a port.
    pub(crate) fn covering(&self, asked: Prefix) -> Option<Prefix> {
        let covering = self.prefixes.iter().filter(|prefix| prefix.covers(asked));
        covering
            .copied()
            .max_by_key(|prefix| (prefix.protocol, prefix.bits))
    }
}
