//! Subject × compiled policy → verdict.

mod dns;
mod http;

use std::fmt;
use std::sync::Arc;

pub use http::{Headers, HttpRequest};

use crate::compile::{
    Action, Compiled, EndpointPolicy, Entry, Prefix, RuleId, Scope, ScopeL7, SideMode,
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

/// A request that is allowed. Only [`Compiled::judge_http`] and [`Compiled::judge_dns`] make one; it
/// cannot be copied, and it keeps the policy that allowed it.
#[derive(Debug)]
#[must_use = "a permit is what lets a request pass"]
pub struct Permit {
    policy: Arc<Compiled>,
    rule: Option<RuleId>,
}

impl Permit {
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
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.nearest {
            Some(nearest) => write!(f, "nearest rule {}: {}", nearest.rule, nearest.difference),
            None => f.write_str("no rule is about this peer and port"),
        }
    }
}

impl Compiled {
    /// What the policy of `endpoint` says about a connection: the same answer as the kernel's two
    /// look-ups give.
    pub fn judge_connection(
        &self,
        endpoint: u16,
        direction: Direction,
        remote: u32,
        protocol: u8,
        port: u16,
    ) -> ConnectionVerdict {
        let Some(policy) = self.endpoint(endpoint) else {
            return ConnectionVerdict::Allow { rule: None };
        };
        match self.deciding(endpoint, direction, remote, protocol, port) {
            Some(Entry {
                action: Action::Allow,
                rule,
                ..
            }) => ConnectionVerdict::Allow { rule: Some(*rule) },
            Some(Entry {
                action: Action::Redirect,
                rule,
                ..
            }) => ConnectionVerdict::Redirect { rule: *rule },
            Some(Entry {
                action: Action::Deny,
                rule,
                ..
            }) => ConnectionVerdict::Deny { rule: Some(*rule) },
            None if policy.mode(direction) == SideMode::Open => {
                ConnectionVerdict::Allow { rule: None }
            }
            None => ConnectionVerdict::Deny { rule: None },
        }
    }

    /// The entry that decides about a connection; `None` where no rule is about it.
    pub fn deciding(
        &self,
        endpoint: u16,
        direction: Direction,
        remote: u32,
        protocol: u8,
        port: u16,
    ) -> Option<&Entry> {
        let policy = self.endpoint(endpoint)?;
        let own = policy.longest(direction, remote, protocol, port);
        let any = policy.longest(direction, 0, protocol, port);
        match (own, any) {
            (Some(own), Some(any)) => Some(if any.action > own.action { any } else { own }),
            (own, any) => own.or(any),
        }
    }

    /// In which protocol the requests of a connection are judged. Where rules of both are about it,
    /// HTTP: what is said in the other is refused.
    pub fn judged_protocol(&self, subject: &Subject) -> Option<JudgedProtocol> {
        let policy = self.endpoint(subject.endpoint)?;
        let scopes = policy.scopes.iter().filter(|scope| scope.is_about(subject));
        let protocols = scopes.filter_map(|scope| match scope.l7 {
            ScopeL7::Dns { .. } => Some(JudgedProtocol::Dns),
            ScopeL7::Http { .. } => Some(JudgedProtocol::Http),
            ScopeL7::Nothing => None,
        });
        protocols.max()
    }

    /// The policies whose selection of `endpoint` denies by default.
    pub fn defaults(&self, endpoint: u16, direction: Direction) -> Vec<Provenance> {
        let defaults = self
            .endpoint(endpoint)
            .map(|policy| policy.defaults.as_slice());
        let of_direction = defaults
            .unwrap_or_default()
            .iter()
            .filter(|(of, _)| *of == direction)
            .map(|(_, provenance)| provenance.clone());
        of_direction.collect()
    }
}

/// A rule that may have been meant, for the reader of a denial.
struct Candidate {
    /// How much differs.
    distance: usize,
    id: RuleId,
    /// Path in the object.
    path: String,
    difference: String,
}

impl Compiled {
    /// Judges what is said on a connection: deny rules first, then `allowing` says by which of its
    /// rules a scope allows it, if by any.
    fn judge(
        self: &Arc<Self>,
        subject: &Subject,
        allowing: impl Fn(&Scope) -> Option<RuleId>,
        nearest: impl Fn(&Scope) -> Option<Candidate>,
    ) -> Result<Permit, Box<Denial>> {
        let Some(policy) = self.endpoint(subject.endpoint) else {
            return Ok(self.permit(None));
        };
        let scopes = || policy.scopes.iter().filter(|scope| scope.is_about(subject));
        if let Some(deny) = scopes().find(|scope| scope.is_deny) {
            let policies = self.rule(deny.rule).cloned().into_iter().collect();
            return Err(Box::new(Denial {
                policies,
                nearest: None,
            }));
        }
        if let Some(rule) = scopes().find_map(allowing) {
            return Ok(self.permit(Some(rule)));
        }
        if policy.mode(subject.direction) == SideMode::Open && scopes().next().is_none() {
            return Ok(self.permit(None));
        }
        let candidate = scopes()
            .filter_map(nearest)
            .min_by_key(|near| near.distance);
        Err(Box::new(self.denial(subject, candidate)))
    }

    fn permit(self: &Arc<Self>, rule: Option<RuleId>) -> Permit {
        Permit {
            policy: Arc::clone(self),
            rule,
        }
    }

    fn denial(&self, subject: &Subject, nearest: Option<Candidate>) -> Denial {
        let provenance = nearest.as_ref().and_then(|nearest| self.rule(nearest.id));
        let policies = match provenance {
            Some(provenance) => vec![provenance.clone()],
            None => self.defaults(subject.endpoint, subject.direction),
        };
        let nearest = nearest.map(|nearest| Nearest {
            rule: match provenance {
                Some(provenance) => format!("{} {}", provenance.name, nearest.path),
                None => nearest.path,
            },
            difference: nearest.difference,
        });
        Denial { policies, nearest }
    }
}

impl EndpointPolicy {
    fn mode(&self, direction: Direction) -> SideMode {
        match direction {
            Direction::Egress => self.egress,
            Direction::Ingress => self.ingress,
        }
    }

    fn longest(
        &self,
        direction: Direction,
        identity: u32,
        protocol: u8,
        port: u16,
    ) -> Option<&Entry> {
        let asked = Prefix {
            protocol,
            port,
            bits: 16,
        };
        let of_peer = self
            .entries
            .iter()
            .filter(|e| e.key.direction == direction && e.key.identity == identity);
        of_peer
            .filter(|entry| {
                let Entry { key, .. } = entry;
                Prefix {
                    protocol: key.protocol,
                    port: key.port,
                    bits: key.port_bits,
                }
                .covers(asked)
            })
            .max_by_key(|entry| (entry.key.protocol != 0, entry.key.port_bits))
    }
}

impl Scope {
    /// Whether the rule is about this peer, protocol and port.
    fn is_about(&self, subject: &Subject) -> bool {
        let asked = Prefix {
            protocol: subject.protocol,
            port: subject.port,
            bits: 16,
        };
        self.direction == subject.direction
            && self
                .peers
                .as_ref()
                .is_none_or(|peers| peers.binary_search(&subject.remote).is_ok())
            && self.prefixes.iter().any(|prefix| prefix.covers(asked))
    }
}
