//! Numbers of rules: what the kernel's records and permits carry instead of names.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rule::Provenance;

/// Number of a rule. A rule keeps it as long as its policy is unchanged, and no other rule ever gets
/// it; 0 is no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// Which rule a number stands for.
#[derive(Debug, Clone, Default)]
pub(super) struct Rulebook {
    last: u32,
    live: BTreeMap<RuleId, Arc<Provenance>>,
    /// Of policies that have just gone: records that name them may still be on their way.
    former: BTreeMap<RuleId, Arc<Provenance>>,
}

impl Rulebook {
    /// A number for the rule of a policy at `path`.
    pub(super) fn add(&mut self, policy: &Provenance, path: &str) -> RuleId {
        self.last = self.last.saturating_add(1);
        let id = RuleId(self.last);
        let provenance = Provenance {
            rule: path.to_owned(),
            ..policy.clone()
        };
        self.live.insert(id, Arc::new(provenance));
        id
    }

    /// Begins a new version: what was removed before is forgotten now.
    pub(super) fn turn(&mut self) {
        self.former.clear();
    }

    /// The rule has gone.
    pub(super) fn remove(&mut self, id: RuleId) {
        if let Some(provenance) = self.live.remove(&id) {
            self.former.insert(id, provenance);
        }
    }

    pub(super) fn get(&self, id: RuleId) -> Option<&Provenance> {
        let found = self.live.get(&id).or_else(|| self.former.get(&id));
        found.map(Arc::as_ref)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RuleId, &Provenance)> {
        let all = self.live.iter().chain(&self.former);
        all.map(|(id, provenance)| (*id, provenance.as_ref()))
    }
}
