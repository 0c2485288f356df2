//! Subject × compiled policy → verdict.

use std::fmt;
use std::sync::Arc;

use crate::compile::{Action, Compiled, EndpointPolicy, Entry, Prefix, RuleId, Scope, SideMode};
use crate::rule::{Direction, HttpRule, Pattern, Provenance};

const TCP: u8 = 6;
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

/// The header fields of a request, wherever it came from.
pub trait Headers {
    /// Calls `visit` with name and value of each field, in order.
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8]));
}

/// A request to be judged.
#[derive(Clone, Copy)]
pub struct HttpRequest<'a> {
    /// Method.
    pub method: &'a [u8],
    /// Path and query in every reading that a server may have of it: as sent first. All of them
    /// must be allowed; without any, the request is denied.
    pub paths: &'a [&'a [u8]],
    /// Authority, with the port if one was sent.
    pub host: &'a [u8],
    /// Header fields.
    pub headers: &'a dyn Headers,
}

/// Whose policy is asked, about what.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Number of the endpoint.
    pub endpoint: u16,
    /// Direction from its view.
    pub direction: Direction,
    /// Identity of the other end.
    pub remote: u32,
    /// Port of the server.
    pub port: u16,
    /// The request.
    pub request: HttpRequest<'a>,
}

/// A request that is allowed. Only [`Compiled::judge_http`] makes one; it cannot be copied, and it
/// keeps the policy that allowed it.
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

    /// Judges a request. Allocates nothing when it is allowed, but for the caches of an expression
    /// that is asked for the first time.
    ///
    /// # Errors
    /// The denial, with the rule that came nearest.
    pub fn judge_http(self: &Arc<Self>, subject: &Subject<'_>) -> Result<Permit, Box<Denial>> {
        let permit = |rule| {
            Ok(Permit {
                policy: Arc::clone(self),
                rule,
            })
        };
        let Some(policy) = self.endpoint(subject.endpoint) else {
            return permit(None);
        };
        let scopes = || policy.scopes.iter().filter(|scope| scope.is_about(subject));
        if let Some(deny) = scopes().find(|scope| scope.is_deny) {
            let policies = self.rule(deny.rule).cloned().into_iter().collect();
            return Err(Box::new(Denial {
                policies,
                nearest: None,
            }));
        }
        // Nothing to judge is not the same as nothing to object to.
        if subject.request.paths.is_empty() {
            return Err(Box::new(self.denial(policy, subject, b"")));
        }
        let mut allowed_by = None;
        for path in subject.request.paths {
            match scopes().find_map(|scope| scope.allows(&subject.request, path)) {
                Some(rule) => allowed_by = allowed_by.or(Some(rule)),
                None if policy.mode(subject.direction) == SideMode::Open
                    && scopes().next().is_none() => {}
                None => return Err(Box::new(self.denial(policy, subject, path))),
            }
        }
        permit(allowed_by)
    }

    fn denial(&self, policy: &EndpointPolicy, subject: &Subject<'_>, path: &[u8]) -> Denial {
        let about = policy.scopes.iter().filter(|scope| scope.is_about(subject));
        let nearest = about
            .filter_map(|scope| scope.nearest(&subject.request, path))
            .min_by_key(|(distance, _, _)| *distance)
            .map(|(_, rule, id)| (rule.misses(&subject.request, path), rule, id));
        let mut policies = Vec::new();
        if let Some((_, _, id)) = &nearest {
            policies.extend(self.rule(*id).cloned());
        }
        if policies.is_empty() {
            policies = self.defaults(subject.endpoint, subject.direction);
        }
        let nearest = nearest.map(|(misses, rule, id)| Nearest {
            rule: match self.rule(id) {
                Some(provenance) => format!("{} {}", provenance.name, rule.path_in_object),
                None => rule.path_in_object.clone(),
            },
            difference: misses.join(", "),
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
    fn is_about(&self, subject: &Subject<'_>) -> bool {
        let asked = Prefix {
            protocol: TCP,
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

    fn allows(&self, request: &HttpRequest<'_>, path: &[u8]) -> Option<RuleId> {
        let Some(http) = &self.http else {
            return Some(self.rule);
        };
        let first = http.first(path, |rule| rule.fits_besides_path(request))?;
        self.http_ids.get(first).copied()
    }
}

impl Scope {
    /// The rule that differs least: one whose path fits if there is any, else one of the first.
    fn nearest(
        &self,
        request: &HttpRequest<'_>,
        path: &[u8],
    ) -> Option<(usize, &HttpRule, RuleId)> {
        let http = self.http.as_ref()?;
        let with_path = http.first(path, |_| true);
        let candidates = with_path.into_iter().chain(0..NEAREST_OF_MAX);
        candidates
            .filter_map(|position| {
                let rule = http.rules().get(position)?;
                let id = self.http_ids.get(position)?;
                Some((rule.distance(request, path), rule, *id))
            })
            .min_by_key(|(distance, _, _)| *distance)
    }
}

impl HttpRule {
    /// Whether the path is as the rule wants it.
    pub(crate) fn fits_path(&self, path: &[u8]) -> bool {
        fits(self.path.as_ref(), path)
    }

    fn fits_besides_path(&self, request: &HttpRequest<'_>) -> bool {
        fits(self.method.as_ref(), request.method)
            && fits(self.host.as_ref(), request.host)
            && self
                .headers
                .iter()
                .all(|rule| has_header(request, &rule.name, rule.value.as_deref()))
    }

    /// How much differs.
    fn distance(&self, request: &HttpRequest<'_>, path: &[u8]) -> usize {
        let headers = self.headers.iter();
        usize::from(!fits(self.method.as_ref(), request.method))
            + usize::from(!self.fits_path(path))
            + usize::from(!fits(self.host.as_ref(), request.host))
            + headers
                .filter(|rule| !has_header(request, &rule.name, rule.value.as_deref()))
                .count()
    }

    /// What differs, for a reader.
    fn misses(&self, request: &HttpRequest<'_>, path: &[u8]) -> Vec<String> {
        let mut misses = Vec::new();
        let mut compare = |what: &str, pattern: &Option<Pattern>, text: &[u8]| {
            if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
                misses.push(format!(
                    "{what} {} is not {}",
                    text.escape_ascii(),
                    pattern.source
                ));
            }
        };
        compare("method", &self.method, request.method);
        compare("path", &self.path, path);
        compare("host", &self.host, request.host);
        for rule in &self.headers {
            if !has_header(request, &rule.name, rule.value.as_deref()) {
                misses.push(format!("header {} is missing or differs", rule.name));
            }
        }
        misses
    }
}

fn fits(pattern: Option<&Pattern>, text: &[u8]) -> bool {
    pattern.is_none_or(|pattern| pattern.matches(text))
}

/// Several fields of one name count as one, joined by commas, as Envoy compares them: they never
/// equal a single value.
fn has_header(request: &HttpRequest<'_>, name: &str, value: Option<&str>) -> bool {
    let mut count = 0_usize;
    let mut is_equal = false;
    request.headers.each(&mut |have, text| {
        if have.eq_ignore_ascii_case(name.as_bytes()) {
            count += 1;
            is_equal = value.is_some_and(|value| value.as_bytes() == text);
        }
    });
    match value {
        None => count > 0,
        Some(_) => count == 1 && is_equal,
    }
}
