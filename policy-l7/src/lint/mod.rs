//! Policies that can be read and still are probably not what was meant.
//!
//! Every kind of mistake has a [`Check`] with a stable code; `docs/policy-checks.md` shows an example
//! of each. What is found is told with the path of its field, and [`Places`] finds its line.

mod checks;
mod closing;
mod cover;
mod http;
mod known;
mod names;
mod overlap;
mod patterns;
mod ports;
mod selections;

use std::fmt;

pub use checks::{CHECKS, Check, INVALID, Severity};
pub use known::{Known, Server};

use crate::identity::Identity;
use crate::places::{Place, Places};
use crate::resolve::Surroundings;
use crate::rule::{Direction, Policy, PolicyKind, Rule, Spec};
use crate::yaml::At;

/// Something that is probably a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of mistake.
    pub check: &'static Check,
    /// Which of the sources.
    pub source: usize,
    /// `namespace/name` of the policy, or its name.
    pub policy: String,
    /// Where the object stands.
    pub object: At,
    /// Path of the field.
    pub field: String,
    /// The text below the field that is meant, if it is a part of it.
    pub word: Option<String>,
    /// What is probably wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
}

impl Finding {
    /// Where it stands, and the whole path of what is meant.
    pub fn place(&self, places: &Places) -> (Place, String) {
        places.find_word(self.object, &self.field, self.word.as_deref())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.policy, self.field, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " (did you mean `{suggestion}`?)"),
            None => Ok(()),
        }
    }
}

/// The policies of one file.
#[derive(Debug, Clone, Copy)]
pub struct Source<'s> {
    /// What stands in it.
    pub policies: &'s [Policy],
    /// Where.
    pub places: &'s Places,
}

/// Finds selectors that match nobody who is known.
pub fn unmatched(policies: &[Policy], identities: &[Identity]) -> Vec<Finding> {
    let known = Known {
        identities,
        servers: &[],
        surroundings: Surroundings::default(),
    };
    let mut findings = Vec::new();
    for policy in policies {
        for spec in &policy.specs {
            selections::check(
                &About {
                    source: 0,
                    policy,
                    spec,
                },
                &known,
                &mut findings,
            );
        }
    }
    findings.dedup();
    findings
}

/// Finds everything that is probably a mistake in policies that are meant for one cluster; what needs
/// to know who is there only where that is `known`. In the order of the sources.
pub fn check(sources: &[Source<'_>], known: Option<&Known<'_>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let all: Vec<About<'_>> = sources
        .iter()
        .enumerate()
        .flat_map(|(source, of)| of.policies.iter().map(move |policy| (source, policy)))
        .flat_map(|(source, policy)| {
            let specs = policy.specs.iter();
            specs.map(move |spec| About {
                source,
                policy,
                spec,
            })
        })
        .collect();
    for about in &all {
        if let Some(known) = known {
            selections::check(about, known, &mut findings);
            selections::check_references(about, known, &mut findings);
            ports::check(about, known, &mut findings);
        }
        selections::check_labels(about, &mut findings);
        http::check(about, &mut findings);
        names::check_rules(about, &mut findings);
        if let Some(source) = sources.get(about.source) {
            closing::check_elements(about, source.places, &mut findings);
        }
    }
    names::check_learnt(&all, &mut findings);
    closing::check(&all, &mut findings);
    overlap::check(&all, &mut findings);
    overlap::check_names(&all, &mut findings);
    sort(sources, &mut findings);
    findings
}

/// By their places; what is found twice in one place is told once.
fn sort(sources: &[Source<'_>], findings: &mut Vec<Finding>) {
    let key = |finding: &Finding| {
        let places = sources.get(finding.source).map(|source| source.places);
        let at = places.map_or(finding.object, |places| finding.place(places).0.at);
        (
            finding.source,
            at,
            finding.check.code,
            finding.message.clone(),
        )
    };
    findings.sort_by_cached_key(key);
    findings.dedup();
}

/// What a check is about: one `spec` of a policy.
#[derive(Clone, Copy)]
struct About<'a> {
    source: usize,
    policy: &'a Policy,
    spec: &'a Spec,
}

impl<'a> About<'a> {
    fn name(&self) -> String {
        let provenance = self.policy.provenance();
        if provenance.namespace.is_empty() {
            provenance.name.clone()
        } else {
            format!("{}/{}", provenance.namespace, provenance.name)
        }
    }

    fn is_of_kubernetes(&self) -> bool {
        self.policy.provenance().kind == PolicyKind::NetworkPolicy
    }

    fn finding(&self, check: &'static Check, field: impl Into<String>, message: String) -> Finding {
        Finding {
            check,
            source: self.source,
            policy: self.name(),
            object: self.policy.at(),
            field: field.into(),
            word: None,
            message,
            suggestion: None,
        }
    }

    /// Path of the spec: where its rules begin, or `spec` for one without rules.
    fn path(&self) -> &str {
        let first = self.spec.rules.first().map(|rule| rule.path.as_str());
        first
            .and_then(|path| path.split('.').next())
            .unwrap_or("spec")
    }

    /// Path of the selector of endpoints.
    fn subject(&self) -> String {
        let is_of_nodes = {
            let mut requirements = self.spec.subject.0.iter();
            requirements.any(|of| of.source == "reserved" && of.key == "host")
        };
        let field = if self.is_of_kubernetes() {
            "podSelector"
        } else if is_of_nodes {
            "nodeSelector"
        } else {
            "endpointSelector"
        };
        format!("{}.{field}", self.path())
    }

    fn rules(&self, direction: Direction) -> impl Iterator<Item = &'a Rule> {
        let rules = self.spec.rules.iter();
        rules.filter(move |rule| rule.direction == direction)
    }

    fn denies_by_default(&self, direction: Direction) -> bool {
        match direction {
            Direction::Egress => self.spec.egress_default_deny,
            Direction::Ingress => self.spec.ingress_default_deny,
        }
    }
}

/// Path of the element of `ingress` or `egress` that a rule stands in.
fn element(path: &str) -> &str {
    let end = path.find(".toPorts").or_else(|| path.find(".icmps"));
    end.and_then(|end| path.get(..end)).unwrap_or(path)
}

/// `ingress` or `egress`.
fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Egress => "egress",
        Direction::Ingress => "ingress",
    }
}
