//! Is this HTTP request allowed?

use std::sync::Arc;

use super::{Candidate, Denial, NEAREST_OF_MAX, Permit, Subject};
use crate::compile::{Compiled, RuleId, Scope, ScopeL7};
use crate::pattern::Pattern;
use crate::rule::HttpRule;

/// The header fields of a request, wherever it came from.
pub trait Headers {
    /// Calls `visit` with name and value of each field, in order.
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8]));

    /// Whether rules about the field of this name are to be taken as met, where its value is not
    /// known: recorded flows lack headers or hide their values. `None` where `each` tells all of it.
    fn assumed(&self, _name: &[u8]) -> Option<bool> {
        None
    }
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

impl Compiled {
    /// Judges a request. Allocates nothing when it is allowed, but for the caches of an expression
    /// that is asked for the first time.
    ///
    /// # Errors
    /// The denial, with the rule that came nearest.
    pub fn judge_http(
        self: &Arc<Self>,
        subject: &Subject,
        request: &HttpRequest<'_>,
    ) -> Result<Permit, Box<Denial>> {
        let of_path = |path| {
            self.judge(
                subject,
                |scope| scope.allows_request(request, path),
                |scope| scope.nearest_http(request, path),
            )
        };
        let mut permit = None;
        for path in request.paths {
            let by = of_path(path)?;
            permit.get_or_insert(by);
        }
        // Nothing to judge is not the same as nothing to object to.
        match permit {
            Some(permit) => Ok(permit),
            None => self.judge(subject, |_| None, |_| None),
        }
    }

    /// What would deny the request if nothing were only audited.
    pub fn audit_http(&self, subject: &Subject, request: &HttpRequest<'_>) -> Option<Box<Denial>> {
        request.paths.iter().find_map(|path| {
            self.audit(
                subject,
                |scope| scope.allows_request(request, path),
                |scope| scope.nearest_http(request, path),
            )
        })
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
            ScopeL7::Dns { .. } => None,
        }
    }

    /// The rule that differs least: one whose path fits if there is any, else one of the first.
    fn nearest_http(&self, request: &HttpRequest<'_>, path: &[u8]) -> Option<Candidate> {
        let ScopeL7::Http { rules, ids } = &self.l7 else {
            return None;
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
            path: rule.path_in_object.clone(),
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
    if let Some(is_met) = request.headers.assumed(name.as_bytes()) {
        return is_met;
    }
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
