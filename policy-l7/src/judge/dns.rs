//! Is this DNS query allowed?

use std::sync::Arc;

use super::connection::Connection;
use super::{Candidate, Denial, NEAREST_OF_MAX, Permit, Subject};
use crate::compile::{Compiled, RuleId, Scope, ScopeL7};

impl Connection {
    /// Judges a query by the name that it asks for: in lower case, with its last dot, odd bytes
    /// escaped (RFC 4343 §2.1). Allocates nothing when it is allowed.
    ///
    /// # Errors
    /// The denial, with the rule that came nearest.
    pub fn judge_dns(&self, name: &[u8]) -> Result<Permit, Box<Denial>> {
        self.judge(
            |scope| scope.allows_name(name),
            |scope| scope.nearest_dns(name),
        )
    }

    /// What would deny the query if nothing were only audited.
    pub fn audit_dns(&self, name: &[u8]) -> Option<Box<Denial>> {
        self.audit(
            |scope| scope.allows_name(name),
            |scope| scope.nearest_dns(name),
        )
    }
}

impl Compiled {
    /// [`Connection::judge_dns`] on a connection of its own.
    ///
    /// # Errors
    /// The denial.
    pub fn judge_dns(
        self: &Arc<Self>,
        subject: &Subject,
        name: &[u8],
    ) -> Result<Permit, Box<Denial>> {
        self.connection(subject).judge_dns(name)
    }
}

impl Scope {
    fn allows_name(&self, name: &[u8]) -> Option<RuleId> {
        match &self.l7 {
            ScopeL7::Nothing => Some(self.rule),
            ScopeL7::Dns { rules, ids } => ids.get(rules.allowing(name)?).copied(),
            ScopeL7::Http { .. } | ScopeL7::Tls { .. } => None,
        }
    }

    /// The rule whose name shares the longest end: names are compared from their right.
    fn nearest_dns(&self, name: &[u8]) -> Option<Candidate> {
        let ScopeL7::Dns { rules, ids } = &self.l7 else {
            return self.nearest_of_other_protocol();
        };
        let listed = rules.rules().iter().zip(ids.iter()).take(NEAREST_OF_MAX);
        let each = listed.flat_map(|(rule, id)| rule.names.iter().map(move |of| (of, id)));
        let own = name.strip_suffix(b".").unwrap_or(name);
        let nearest = each.min_by_key(|(of, _)| distance(own, of.source.as_bytes()));
        nearest.map(|(of, id)| Candidate {
            distance: distance(own, of.source.as_bytes()),
            id: *id,
            difference: format!("name {} is not {}", own.escape_ascii(), of.source),
        })
    }
}

/// How many bytes of a name do not agree with a pattern, from the right.
pub(super) fn distance(name: &[u8], pattern: &[u8]) -> usize {
    let pairs = name.iter().rev().zip(pattern.iter().rev());
    let same = pairs.take_while(|(have, want)| have == want).count();
    name.len().saturating_sub(same)
}
