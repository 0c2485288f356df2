//! Who asks whom for what, and what policies make of it: the sender's egress, the receiver's ingress,
//! and what is said.

use std::fmt;

use policy_l7::Provenance;
use serde::Serialize;

use super::ends::End;
use crate::print;
use crate::record::PolicyRef;

/// Who asks whom for what.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) from: End,
    pub(super) to: End,
    /// Port of who is asked.
    pub(super) port: u16,
    /// IP protocol.
    pub(super) protocol: u8,
    pub(super) said: Option<Said>,
}

/// What is said on a connection.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// An HTTP request.
    Http {
        method: String,
        path: String,
        /// Who is asked, unless it is given.
        host: Option<String>,
        /// Names and values.
        headers: Vec<(String, String)>,
    },
    /// A query for a name.
    Query(String),
    /// A TLS connection to a server of that name.
    ServerName(String),
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { method, path, .. } => write!(f, "request {method} {path}"),
            Self::Query(name) => write!(f, "query {name}"),
            Self::ServerName(name) => write!(f, "server name {name}"),
        }
    }
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) steps: Vec<Step>,
}

impl Answer {
    /// As it is printed.
    pub(super) fn shown(&self) -> print::policy::Answer<'_> {
        let steps = self.steps.iter().map(|step| print::policy::Step {
            asked: &step.asked,
            verdict: step.verdict.as_str(),
            policies: &step.policies,
            detail: &step.detail,
        });
        print::policy::Answer {
            steps: steps.collect(),
            verdict: self.verdict.as_str(),
        }
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Verdict {
    /// It passes.
    Allowed,
    /// It passes, and is told as what would be denied if nothing were only audited.
    Audited,
    /// It does not pass.
    Denied,
    /// It depends on the request, and none was given.
    Judged,
}

impl Verdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "ALLOWED",
            Self::Audited => "AUDITED",
            Self::Denied => "DENIED",
            Self::Judged => "JUDGED",
        }
    }
}

/// One policy that was asked.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) asked: String,
    pub(super) verdict: StepVerdict,
    /// Kind, namespace and name of who decided, and the rule; several may deny by default.
    pub(super) policies: Vec<String>,
    pub(super) detail: String,
}

/// What one policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StepVerdict {
    Allowed,
    Audited,
    Denied,
    /// It passes, and what is said is told where only audited policies would deny it.
    #[serde(rename = "audits its requests")]
    Audits,
    #[serde(rename = "judges its requests")]
    Judges,
}

impl StepVerdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Audited => "audited",
            Self::Denied => "denied",
            Self::Audits => "audits its requests",
            Self::Judges => "judges its requests",
        }
    }
}

/// Who decided.
pub(super) fn shown(provenance: &Provenance) -> String {
    object(
        provenance.kind.as_str(),
        &provenance.namespace,
        &provenance.name,
        &provenance.rule,
    )
}

/// The same, as records have it.
pub(super) fn reference(policy: &PolicyRef) -> String {
    object(
        policy.kind.as_str(),
        &policy.namespace,
        &policy.name,
        &policy.rule,
    )
}

fn object(kind: &str, namespace: &str, name: &str, rule: &str) -> String {
    let object = if namespace.is_empty() {
        format!("{kind} {name}")
    } else {
        format!("{kind} {namespace}/{name}")
    };
    if rule.is_empty() {
        object
    } else {
        format!("{object} {rule}")
    }
}
