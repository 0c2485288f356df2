//! Subject × compiled policy → verdict.

mod connection;
mod dns;
mod edits;
mod headers;
mod http;
mod tls;

use std::fmt;
use std::sync::Arc;

use connection::About;
pub use connection::Connection;
pub use edits::{Edited, Edits};
pub use headers::Headers;
pub use http::HttpRequest;

use crate::compile::{
    Action, Compiled, PolicySet, Prefix, RuleId, Scope, ScopeL7, SideMode, match_type,
};
use crate::rule::{Direction, Provenance};

/// So many rules of a list are compared for the nearest one, so that a denial stays cheap.
const NEAREST_OF_MAX: usize = 64;

/// What a policy says about a connection: the same that the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionVerdict {
    /// Pass; by a rule, unless nothing is denied by default.
    Allow {
        /// The rule.
        rule: Option<RuleId>,
    },
    /// Drop; by a deny rule, or because no rule allows it.
    Deny {
        /// The deny rule.
        rule: Option<RuleId>,
    },
    /// Judge its requests.
    Redirect {
        /// The rule.
        rule: RuleId,
    },
}

/// The protocol that requests are judged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JudgedProtocol {
    /// Queries, by their names.
    Dns,
    /// HTTP requests, gRPC calls among them.
    Http,
    /// TLS connections, by the names of their servers.
    Tls,
}

impl JudgedProtocol {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Dns, Self::Http, Self::Tls];
}

/// Whose policy is asked, about what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Number of the endpoint.
    pub endpoint: u16,
    /// Direction from its view.
    pub direction: Direction,
    /// Identity of the other end.
    pub remote: u32,
    /// IP protocol.
    pub protocol: u8,
    /// Port of the server.
    pub port: u16,
}

/// A request that is allowed. Only [`Compiled::judge_http`], [`Compiled::judge_dns`] and their
/// likes make one; it cannot be copied, and it keeps the policy that allowed it.
#[derive(Debug)]
#[must_use = "a permit is what lets a request pass"]
pub struct Permit {
    policy: Arc<Compiled>,
    rule: Option<RuleId>,
    edits: Edits,
}

impl Permit {
    /// What is to be changed of the request.
    pub fn edits(&self) -> &Edits {
        &self.edits
    }

    /// The same, for who gathers the changes of several judges.
    pub fn take_edits(&mut self) -> Edits {
        std::mem::take(&mut self.edits)
    }

    /// The rule that allowed it; `None` where nothing is denied by default.
    pub fn rule(&self) -> Option<RuleId> {
        self.rule
    }

    /// Version of the policy set that allowed it.
    pub fn revision(&self) -> u64 {
        self.policy.revision()
    }
}

/// A request that is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    policies: Vec<Provenance>,
    nearest: Option<Nearest>,
    /// What it is about is not the same for every reader.
    ambiguity: Option<String>,
}

/// The rule that came nearest, and what differed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Nearest {
    rule: String,
    difference: String,
}

impl Denial {
    /// The policies that would have had to allow it, or the deny rule.
    pub fn policies(&self) -> &[Provenance] {
        &self.policies
    }

    /// Whether it is denied because servers may read its path in several ways, and policy does not
    /// say the same of all of them.
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguity.is_some()
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ambiguity) = &self.ambiguity {
            write!(f, "{ambiguity}: ")?;
        }
        match &self.nearest {
            Some(nearest) => write!(f, "nearest rule {}: {}", nearest.rule, nearest.difference),
            None => f.write_str("no rule is about this peer and port"),
        }
    }
}

/// What decided about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deciding {
    /// What the rule says.
    pub action: Action,
    /// The rule.
    pub rule: RuleId,
    /// How it matched, by Hubble's numbers: 1 L3-only, 2 L3-L4, 3 L4-only, 4 all.
    pub match_type: u8,
}

impl Compiled {
    /// What the policy of an endpoint says about a connection: the same answer as the kernel's two
    /// look-ups give.
    pub fn judge_connection(
        &self,
        endpoint: u16,
        direction: Direction,
        remote: u32,
        protocol: u8,
        port: u16,
    ) -> ConnectionVerdict {
        let subject = Subject {
            endpoint,
            direction,
            remote,
            protocol,
            port,
        };
        match self.endpoint(endpoint) {
            Some(policy) => self.verdict(&policy.in_force, &subject),
            None => ConnectionVerdict::Allow { rule: None },
        }
    }

    /// What it would say if nothing were only audited; none where nothing is.
    pub fn audit_connection(&self, subject: &Subject) -> Option<ConnectionVerdict> {
        let audited = self.endpoint(subject.endpoint)?.audited.as_ref()?;
        Some(self.verdict(audited, subject))
    }

    fn verdict(&self, set: &PolicySet, subject: &Subject) -> ConnectionVerdict {
        match self.deciding(set, subject) {
            Some(Deciding { action, rule, .. }) => match action {
                Action::Allow => ConnectionVerdict::Allow { rule: Some(rule) },
                Action::Redirect => ConnectionVerdict::Redirect { rule },
                Action::Deny => ConnectionVerdict::Deny { rule: Some(rule) },
            },
            None => match set.mode(subject.direction) {
                SideMode::Open => ConnectionVerdict::Allow { rule: None },
                SideMode::DefaultDeny => ConnectionVerdict::Deny { rule: None },
            },
        }
    }

    /// What decides about a connection in a set; `None` where no rule is about it.
    pub fn deciding(&self, set: &PolicySet, subject: &Subject) -> Option<Deciding> {
        let asked = subject.asked();
        let mut own: Option<Strictest> = None;
        let mut any: Option<Strictest> = None;
        let scopes = set.scopes(subject.direction).iter();
        for scope in scopes.filter(|scope| subject.is_met(self, scope)) {
            let of = if scope.is_for_anybody() {
                &mut any
            } else {
                &mut own
            };
            let has_protocol = scope
                .covering(asked)
                .is_some_and(|block| block.protocol != 0);
            let strictest = of.get_or_insert(Strictest {
                action: scope.action(),
                rule: scope.rule,
                has_protocol,
            });
            strictest.has_protocol |= has_protocol;
            if scope.action() > strictest.action {
                strictest.action = scope.action();
                strictest.rule = scope.rule;
            }
        }
        let is_own = match (&own, &any) {
            (Some(own), Some(any)) => any.action <= own.action,
            (own, _) => own.is_some(),
        };
        let strictest = if is_own { own? } else { any? };
        Some(Deciding {
            action: strictest.action,
            rule: strictest.rule,
            match_type: match_type(is_own, strictest.has_protocol),
        })
    }

    /// Whether what is said on a connection in a protocol is judged.
    pub fn judges_in(&self, subject: &Subject, protocol: JudgedProtocol) -> bool {
        let policy = self.endpoint(subject.endpoint);
        policy.is_some_and(|policy| self.speaks_of(&policy.in_force, subject, protocol))
    }

    fn speaks_of(&self, set: &PolicySet, subject: &Subject, protocol: JudgedProtocol) -> bool {
        let mut scopes = set.scopes(subject.direction).iter();
        scopes.any(|scope| {
            let is_so = match scope.l7 {
                ScopeL7::Dns { .. } => protocol == JudgedProtocol::Dns,
                ScopeL7::Http { .. } => protocol == JudgedProtocol::Http,
                ScopeL7::Tls { .. } => protocol == JudgedProtocol::Tls,
                ScopeL7::Nothing => false,
            };
            is_so && subject.is_met(self, scope)
        })
    }

    /// The policies whose selection of `endpoint` denies by default.
    pub fn defaults(&self, endpoint: u16, direction: Direction) -> Vec<Provenance> {
        let policy = self.endpoint(endpoint);
        policy.map_or_else(Vec::new, |policy| policy.in_force.defaults(direction))
    }

    /// Those that would if nothing were only audited.
    pub fn audited_defaults(&self, endpoint: u16, direction: Direction) -> Vec<Provenance> {
        let policy = self.endpoint(endpoint);
        let audited = policy.and_then(|policy| policy.audited.as_ref());
        audited.map_or_else(Vec::new, |set| set.defaults(direction))
    }
}

/// The strictest of some rules: the first that says so.
struct Strictest {
    action: Action,
    rule: RuleId,
    /// Whether any of them names a protocol.
    has_protocol: bool,
}

impl Subject {
    /// Whether a rule of its direction is about it.
    fn is_met(&self, policy: &Compiled, scope: &Scope) -> bool {
        scope.covering(self.asked()).is_some() && policy.is_about(scope, self.remote)
    }

    fn asked(&self) -> Prefix {
        Prefix {
            protocol: self.protocol,
            port: self.port,
            bits: 16,
        }
    }
}

/// A rule that may have been meant, for the reader of a denial.
struct Candidate {
    /// How much differs.
    distance: usize,
    id: RuleId,
    difference: String,
}

impl Scope {
    /// The rule is about something else than what is spoken.
    fn nearest_of_other_protocol(&self) -> Option<Candidate> {
        let wanted = match &self.l7 {
            ScopeL7::Dns { .. } => "DNS",
            ScopeL7::Http { .. } => "HTTP",
            ScopeL7::Tls { .. } => "TLS",
            ScopeL7::Nothing => return None,
        };
        Some(Candidate {
            distance: usize::MAX,
            id: self.rule,
            difference: format!("it allows {wanted} only"),
        })
    }
}

impl Compiled {
    /// The rule of a set that allows what is said on a connection, none where nothing is closed:
    /// deny rules first, then `allowing` says by which of its rules a scope allows it, if by any.
    fn allowing(
        &self,
        about: &About,
        allowing: impl Fn(&Scope) -> Option<RuleId>,
        nearest: impl Fn(&Scope) -> Option<Candidate>,
    ) -> Result<Option<RuleId>, Box<Denial>> {
        let scopes = || about.scopes();
        if let Some(deny) = scopes().find(|scope| scope.is_deny) {
            let policies = self.rule(deny.rule).cloned().into_iter().collect();
            return Err(Box::new(Denial {
                policies,
                nearest: None,
                ambiguity: None,
            }));
        }
        if let Some(rule) = scopes().find_map(allowing) {
            return Ok(Some(rule));
        }
        if about.is_open() && scopes().next().is_none() {
            return Ok(None);
        }
        let candidate = scopes()
            .filter_map(nearest)
            .min_by_key(|near| near.distance);
        Err(Box::new(self.denial(about, candidate)))
    }

    fn denial(&self, about: &About, nearest: Option<Candidate>) -> Denial {
        let nearest = nearest.and_then(|nearest| Some((self.rule(nearest.id)?, nearest)));
        // The policy that came nearest, then all others that would have had to allow it.
        let mut policies: Vec<Provenance> = Vec::new();
        policies.extend(nearest.iter().map(|(provenance, _)| (*provenance).clone()));
        for other in about.defaults() {
            if !policies
                .iter()
                .any(|policy| policy.is_of_same_object(&other))
            {
                policies.push(other);
            }
        }
        let nearest = nearest.map(|(provenance, nearest)| Nearest {
            rule: format!("{} {}", provenance.name, provenance.rule),
            difference: nearest.difference,
        });
        Denial {
            policies,
            nearest,
            ambiguity: None,
        }
    }
}
