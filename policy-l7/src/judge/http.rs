//! Is this HTTP request allowed?

use std::sync::Arc;

use super::connection::{About, Connection};
use super::edits::{Edited, Edits};
use super::{Candidate, Denial, Headers, NEAREST_OF_MAX, Permit, Subject};
use crate::compile::{Compiled, RuleId, Scope, ScopeL7};
use crate::pattern::Pattern;
use crate::rule::{HeaderRule, HttpRule};

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

impl Connection {
    /// Judges a request. Allocates nothing when it is allowed, but for the caches of an expression
    /// that is asked for the first time.
    ///
    /// # Errors
    /// The denial, with the rule that came nearest.
    pub fn judge_http(&self, request: &HttpRequest<'_>) -> Result<Permit, Box<Denial>> {
        let (rule, edits) = match self.in_force() {
            Some(about) => self.policy().allowing_request(about, request)?,
            None => (None, Edits::default()),
        };
        Ok(self.permit(rule, edits))
    }

    /// What would deny the request if nothing were only audited.
    pub fn audit_http(&self, request: &HttpRequest<'_>) -> Option<Box<Denial>> {
        self.policy()
            .allowing_request(self.audited()?, request)
            .err()
    }
}

impl Compiled {
    /// [`Connection::judge_http`] on a connection of one request.
    ///
    /// # Errors
    /// The denial, with the rule that came nearest.
    pub fn judge_http(
        self: &Arc<Self>,
        subject: &Subject,
        request: &HttpRequest<'_>,
    ) -> Result<Permit, Box<Denial>> {
        self.connection(subject).judge_http(request)
    }

    /// The rule of a set that allows a request in all its readings, none where nothing is closed, and
    /// what the rules change of it.
    fn allowing_request(
        &self,
        about: &About,
        request: &HttpRequest<'_>,
    ) -> Result<(Option<RuleId>, Edits), Box<Denial>> {
        let of = |path: &[u8]| self.allowing_path(about, request, path);
        let Some((first, others)) = request.paths.split_first() else {
            // Nothing to judge is not the same as nothing to object to.
            return Ok((self.allowing(about, |_| None, |_| None)?, Edits::default()));
        };
        let mut said = of(first);
        for path in others {
            said = match (said, of(path)) {
                (Ok(said), Ok(other)) if said.1 == other.1 => Ok(said),
                (Err(denial), Err(_)) => Err(denial),
                (Ok(_), Ok(_)) => {
                    let mut denial = self.denial(about, None);
                    let path = path.escape_ascii();
                    denial.ambiguity = Some(format!(
                        "the path can be read as {path}, of which rules change other headers"
                    ));
                    return Err(Box::new(denial));
                }
                (Ok(_), Err(mut denial)) => {
                    let path = path.escape_ascii();
                    denial.ambiguity = Some(format!(
                        "the path can be read as {path}, which is not allowed"
                    ));
                    return Err(denial);
                }
                (Err(mut denial), Ok(_)) => {
                    let path = path.escape_ascii();
                    denial.ambiguity = Some(format!(
                        "the path is allowed only where it is read as {path}"
                    ));
                    return Err(denial);
                }
            };
        }
        said
    }

    /// The same for one reading of the path.
    fn allowing_path(
        &self,
        about: &About,
        request: &HttpRequest<'_>,
        path: &[u8],
    ) -> Result<(Option<RuleId>, Edits), Box<Denial>> {
        let nearest = |scope: &Scope| scope.nearest_http(request, path);
        if !about.scopes().any(Scope::acts) {
            let allows = |scope: &Scope| scope.allows_request(request, path);
            let rule = self.allowing(about, allows, nearest)?;
            return Ok((rule, Edits::default()));
        }
        // Every rule is asked, also behind one that has allowed the request.
        let mut edits = Edits::default();
        let mut by = None;
        for scope in about.scopes() {
            by = scope.act(request, path, &mut edits).or(by);
        }
        let rule = self.allowing(about, |_| by, nearest)?;
        Ok((rule, edits))
    }
}

impl Scope {
    fn allows_request(&self, request: &HttpRequest<'_>, path: &[u8]) -> Option<RuleId> {
        match &self.l7 {
            ScopeL7::Nothing => Some(self.rule),
            ScopeL7::Http { rules, ids } => {
                let first = rules.first(path, |rule| rule.fits_besides_path(request))?;
                ids.get(first).copied()
            }
            ScopeL7::Dns { .. } | ScopeL7::Tls { .. } => None,
        }
    }

    /// Whether its rules may do more than say yes or no.
    fn acts(&self) -> bool {
        match &self.l7 {
            ScopeL7::Http { rules, .. } => rules.act(),
            ScopeL7::Dns { .. } | ScopeL7::Tls { .. } | ScopeL7::Nothing => false,
        }
    }

    /// Asks all its rules in their order. Each sees what those before it have changed, and what one
    /// has changed stays where another one allows the request.
    fn act(&self, request: &HttpRequest<'_>, path: &[u8], edits: &mut Edits) -> Option<RuleId> {
        let ScopeL7::Http { rules, ids } = &self.l7 else {
            return self.allows_request(request, path);
        };
        let mut by = None;
        for position in rules.all(path) {
            let rule = rules.rules().get(position)?;
            if rule.acts_on(request, edits) {
                by = by.or(ids.get(position).copied());
            }
        }
        by
    }

    /// The rule that differs least: one whose path fits if there is any, else one of the first.
    fn nearest_http(&self, request: &HttpRequest<'_>, path: &[u8]) -> Option<Candidate> {
        let ScopeL7::Http { rules, ids } = &self.l7 else {
            return self.nearest_of_other_protocol();
        };
        let with_path = rules.first(path, |_| true);
        let candidates = with_path.into_iter().chain(0..NEAREST_OF_MAX);
        let nearest = candidates
            .filter_map(|position| {
                let rule = rules.rules().get(position)?;
                let id = ids.get(position)?;
                Some((rule.distance(request, path), rule, *id))
            })
            .min_by_key(|(distance, _, _)| *distance);
        nearest.map(|(distance, rule, id)| Candidate {
            distance,
            id,
            difference: rule.misses(request, path).join(", "),
        })
    }
}

impl HttpRule {
    /// Whether the path is as the rule wants it.
    pub(crate) fn fits_path(&self, path: &[u8]) -> bool {
        fits(self.path.as_ref(), path)
    }

    fn fits_besides_path(&self, request: &HttpRequest<'_>) -> bool {
        self.fits_before_matches(request)
            && self
                .header_matches
                .iter()
                .all(|rule| rule.is_met(request.headers))
    }

    fn fits_before_matches(&self, request: &HttpRequest<'_>) -> bool {
        fits(self.method.as_ref(), request.method)
            && fits(self.host.as_ref(), request.host)
            && self.headers.iter().all(|rule| rule.is_met(request.headers))
    }

    /// Whether it allows a request whose path fits, after what was changed of it; all its
    /// `headerMatches` do what they do, also behind one that does not let it pass.
    fn acts_on(&self, request: &HttpRequest<'_>, edits: &mut Edits) -> bool {
        let is_meant = {
            let headers = &Edited {
                fields: request.headers,
                edits,
            };
            self.fits_before_matches(&HttpRequest {
                headers,
                ..*request
            })
        };
        let mut lets_pass = is_meant;
        for rule in self.header_matches.iter().filter(|_| is_meant) {
            lets_pass &= rule.acts_on(request.headers, edits);
        }
        lets_pass
    }

    /// What is said of headers, in the order of the evaluation.
    fn header_rules(&self) -> impl Iterator<Item = &HeaderRule> {
        self.headers.iter().chain(&self.header_matches)
    }

    /// How much differs.
    fn distance(&self, request: &HttpRequest<'_>, path: &[u8]) -> usize {
        let headers = self.header_rules();
        usize::from(!fits(self.method.as_ref(), request.method))
            + usize::from(!self.fits_path(path))
            + usize::from(!fits(self.host.as_ref(), request.host))
            + headers
                .filter(|rule| !rule.lets_pass(request.headers))
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
        for rule in self.header_rules() {
            if !rule.lets_pass(request.headers) {
                misses.push(format!("header {} is missing or differs", rule.name));
            }
        }
        misses
    }
}

fn fits(pattern: Option<&Pattern>, text: &[u8]) -> bool {
    pattern.is_none_or(|pattern| pattern.matches(text))
}
