//! What a version of the policies says of one connection: the rules that are about it are looked up
//! once, however many requests are judged on it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::edits::Edits;
use super::{Candidate, Denial, Permit, Subject};
use crate::compile::{Compiled, PolicySet, RuleId, Scope, SideMode};
use crate::rule::{Direction, Provenance};

/// A connection, and the rules of a version of the policies that are about it.
#[derive(Debug, Clone)]
pub struct Connection {
    policy: Arc<Compiled>,
    in_force: Option<About>,
    audited: Option<About>,
}

/// The rules of a set that are about a connection.
#[derive(Debug, Clone)]
pub(super) struct About {
    set: Arc<PolicySet>,
    direction: Direction,
    /// Places of the rules in the set; few, mostly.
    scopes: SmallVec<[usize; 6]>,
}

impl Compiled {
    /// Looks up the rules that are about a connection.
    pub fn connection(self: &Arc<Self>, subject: &Subject) -> Connection {
        let endpoint = self.endpoint(subject.endpoint);
        let audited = endpoint.and_then(|policy| policy.audited.as_ref());
        Connection {
            policy: Arc::clone(self),
            in_force: endpoint.map(|policy| self.about(&policy.in_force, subject)),
            audited: audited.map(|set| self.about(set, subject)),
        }
    }

    fn about(&self, set: &Arc<PolicySet>, subject: &Subject) -> About {
        let direction = subject.direction;
        let scopes = set.scopes(direction).iter().enumerate();
        let about = scopes.filter(|(_, scope)| subject.is_met(self, scope));
        About {
            set: Arc::clone(set),
            direction,
            scopes: about.map(|(place, _)| place).collect(),
        }
    }
}

impl Connection {
    /// The version of the policies that it was asked of.
    pub fn policy(&self) -> &Arc<Compiled> {
        &self.policy
    }

    /// The rules in force, where any policy is for the endpoint.
    pub(super) fn in_force(&self) -> Option<&About> {
        self.in_force.as_ref()
    }

    /// The rules that would be in force if nothing were only audited, where that is not the same.
    pub(super) fn audited(&self) -> Option<&About> {
        self.audited.as_ref()
    }

    /// Judges what is said by what is in force.
    pub(super) fn judge(
        &self,
        allowing: impl Fn(&Scope) -> Option<RuleId>,
        nearest: impl Fn(&Scope) -> Option<Candidate>,
    ) -> Result<Permit, Box<Denial>> {
        let rule = match &self.in_force {
            Some(about) => self.policy.allowing(about, allowing, nearest)?,
            None => None,
        };
        Ok(self.permit(rule, Edits::default()))
    }

    /// What would deny it if nothing were only audited.
    pub(super) fn audit(
        &self,
        allowing: impl Fn(&Scope) -> Option<RuleId>,
        nearest: impl Fn(&Scope) -> Option<Candidate>,
    ) -> Option<Box<Denial>> {
        let about = self.audited.as_ref()?;
        self.policy.allowing(about, allowing, nearest).err()
    }

    pub(super) fn permit(&self, rule: Option<RuleId>, edits: Edits) -> Permit {
        Permit {
            policy: Arc::clone(&self.policy),
            rule,
            edits,
        }
    }
}

impl About {
    pub(super) fn scopes(&self) -> impl Iterator<Item = &Scope> {
        let all = self.set.scopes(self.direction);
        self.scopes.iter().filter_map(|place| all.get(*place))
    }

    /// Whether nothing is denied that no rule is about.
    pub(super) fn is_open(&self) -> bool {
        self.set.mode(self.direction) == SideMode::Open
    }

    /// The policies that deny by default.
    pub(super) fn defaults(&self) -> Vec<Provenance> {
        self.set.defaults(self.direction)
    }
}
