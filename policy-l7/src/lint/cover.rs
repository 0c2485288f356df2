//! Whether all that one rule means is meant by another: decided by what is written, so that it holds
//! whoever is there. Where it cannot be told, the answer is no.

use ipnet::IpNet;

use crate::rule::{PortRange, Ports, Rule};
use crate::selector::{CidrRule, Entity, NAMESPACE_LABEL, Operator, Peers, Requirement, Selector};

impl Selector {
    /// Whether everybody that `other` selects is selected here.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.0
            .iter()
            .all(|wide| other.0.iter().any(|narrow| implies(narrow, wide)))
    }

    /// Whether one endpoint can be selected by both, for all that is written.
    pub(super) fn can_meet(&self, other: &Self) -> bool {
        !self
            .0
            .iter()
            .any(|left| other.0.iter().any(|right| excludes(left, right)))
    }
}

fn is_same_label(left: &Requirement, right: &Requirement) -> bool {
    left.key == right.key
        && (left.source == right.source || left.source == "any" || right.source == "any")
}

fn implies(narrow: &Requirement, wide: &Requirement) -> bool {
    if narrow == wide {
        return true;
    }
    let is_wider_source = wide.source == narrow.source || wide.source == "any";
    if narrow.key != wide.key || !is_wider_source {
        return false;
    }
    match (&narrow.operator, &wide.operator) {
        (Operator::In(few), Operator::In(many)) => few.iter().all(|value| many.contains(value)),
        (Operator::In(_) | Operator::Exists, Operator::Exists) => true,
        _ => false,
    }
}

fn excludes(left: &Requirement, right: &Requirement) -> bool {
    let both = (&left.operator, &right.operator);
    is_same_label(left, right)
        && match both {
            (Operator::In(a), Operator::In(b)) => !a.iter().any(|value| b.contains(value)),
            (Operator::In(_) | Operator::Exists, Operator::Absent)
            | (Operator::Absent, Operator::In(_) | Operator::Exists) => true,
            (Operator::In(wanted), Operator::NotIn(refused))
            | (Operator::NotIn(refused), Operator::In(wanted)) => {
                wanted.iter().all(|value| refused.contains(value))
            }
            _ => false,
        }
}

impl Peers {
    /// Whether everybody that `other` means is meant here.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if self.is_anybody() || self == other {
            return true;
        }
        match (self, other) {
            (Self::Endpoints(wide), Self::Endpoints(narrow)) => narrow
                .iter()
                .all(|narrow| wide.iter().any(|wide| wide.covers(narrow))),
            (Self::Entities(wide), Self::Entities(narrow)) => {
                narrow.iter().all(|entity| wide.contains(entity))
            }
            (Self::Entities(wide), Self::Endpoints(narrow)) => {
                let is_pod = |selector: &Selector| {
                    let mut keys = selector.0.iter().map(|of| of.key.as_str());
                    keys.any(|key| key == NAMESPACE_LABEL)
                };
                wide.contains(&Entity::Cluster) && narrow.iter().all(is_pod)
            }
            (Self::Entities(wide), Self::Cidrs(_) | Self::Fqdns(_)) => {
                wide.contains(&Entity::Reserved("world"))
            }
            (Self::Cidrs(wide), Self::Cidrs(narrow)) => narrow
                .iter()
                .all(|narrow| wide.iter().any(|wide| holds(wide, narrow))),
            (Self::Fqdns(wide), Self::Fqdns(narrow)) => {
                narrow.iter().all(|name| wide.contains(name))
            }
            _ => false,
        }
    }
}

fn holds(wide: &CidrRule, narrow: &CidrRule) -> bool {
    let is_left_out = |except: &IpNet| {
        let meets = except.contains(&narrow.prefix) || narrow.prefix.contains(except);
        meets
            && !narrow
                .except
                .iter()
                .any(|of_narrow| of_narrow.contains(except))
    };
    wide.prefix.contains(&narrow.prefix) && !wide.except.iter().any(is_left_out)
}

impl Ports {
    fn covers(&self, other: &Self) -> bool {
        let has_protocol = self.protocol.is_none() || self.protocol == other.protocol;
        has_protocol
            && match (&self.range, &other.range) {
                (PortRange::Any, _) => true,
                (PortRange::Between(first, last), PortRange::Between(from, to)) => {
                    first <= from && to <= last
                }
                (wide, narrow) => wide == narrow,
            }
    }

    /// Whether one port is meant by both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let has_protocol =
            self.protocol.is_none() || other.protocol.is_none() || self.protocol == other.protocol;
        has_protocol
            && match (&self.range, &other.range) {
                (PortRange::Any, _) | (_, PortRange::Any) => true,
                (PortRange::Between(a, b), PortRange::Between(c, d)) => a <= d && c <= b,
                (left, right) => left == right,
            }
    }
}

impl Rule {
    /// Whether every connection that `other` is about is one that this rule is about, from the same
    /// endpoints.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.direction == other.direction
            && self.peers.covers(&other.peers)
            && (self.ports.is_empty()
                || !other.ports.is_empty()
                    && other
                        .ports
                        .iter()
                        .all(|narrow| self.ports.iter().any(|wide| wide.covers(narrow))))
    }
}
