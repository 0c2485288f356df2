//! What policies make of one connection or request, step by step: the sender's egress, the receiver's
//! ingress, and what is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy_l7::{Compiled, ConnectionVerdict, Direction, Headers, Provenance, Subject};
use serde::Serialize;

use super::ends::{End, Unknown};
use crate::cli::candidate::Candidate;
use crate::identity::{Identities, Table};
use crate::policy::{Denial, Door, Live, Permit, Request};
use crate::print;
use crate::record::{EndpointId, IdentityNumber, Party, PolicyRef};

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
    #[serde(rename = "judges its requests")]
    Judges,
}

impl StepVerdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Audited => "audited",
            Self::Denied => "denied",
            Self::Judges => "judges its requests",
        }
    }
}

/// Policies in force for who is there, and for the names that are asked about.
pub(super) struct World {
    compiled: Arc<Compiled>,
    table: Arc<Table>,
}

impl World {
    /// Finds out who is meant by each text, and compiles with the names among them: policies know a
    /// name only where they are compiled with it.
    pub(super) fn new(candidate: &Candidate, ends: &[&str]) -> (Self, Vec<Result<End, Unknown>>) {
        let compiled = candidate.compile(&BTreeSet::new());
        let table = candidate.table(&compiled).build();
        let ends: Vec<Result<End, Unknown>> =
            ends.iter().map(|text| End::parse(text, &table)).collect();
        let named = ends
            .iter()
            .flatten()
            .filter_map(|end| end.named(&compiled))
            .collect();
        let compiled = Arc::new(candidate.compile(&named));
        let identities = Identities::new(candidate.table(&compiled).build());
        let table = identities.load();
        (Self { compiled, table }, ends)
    }

    /// What the policies make of it.
    pub(super) fn answer(&self, question: &Question) -> Answer {
        let asked = Asked {
            source: question.from.party(&self.table, &self.compiled, 0),
            destination: question
                .to
                .party(&self.table, &self.compiled, question.port),
            question,
        };
        let mut steps = vec![
            self.side(&asked, Direction::Egress),
            self.side(&asked, Direction::Ingress),
        ];
        let has = |steps: &[Step], verdict| steps.iter().any(|step| step.verdict == verdict);
        if has(&steps, StepVerdict::Denied) {
            return Answer {
                verdict: Verdict::Denied,
                steps,
            };
        }
        let is_judged = has(&steps, StepVerdict::Judges);
        let said = self.said(&asked);
        let is_open = is_judged && said.is_none();
        steps.extend(said);
        let verdict = if has(&steps, StepVerdict::Denied) {
            Verdict::Denied
        } else if is_open {
            Verdict::Judged
        } else if has(&steps, StepVerdict::Audited) {
            Verdict::Audited
        } else {
            Verdict::Allowed
        };
        Answer { verdict, steps }
    }

    /// What one end's policy says of the connection.
    fn side(&self, asked: &Asked<'_>, direction: Direction) -> Step {
        let Asked {
            source,
            destination,
            question,
        } = asked;
        let (own, other, name) = match direction {
            Direction::Egress => (source, destination, format!("egress of {}", question.from)),
            Direction::Ingress => (destination, source, format!("ingress of {}", question.to)),
        };
        let step = |verdict, policies: Vec<Provenance>, detail: &str| Step {
            asked: name.clone(),
            verdict,
            policies: policies.iter().map(shown).collect(),
            detail: detail.to_owned(),
        };
        let id = own.endpoint.as_deref().map(|endpoint| endpoint.id);
        let Some(id) = id.filter(|id| *id != EndpointId(0)) else {
            let detail = "no endpoint of ours: no policy is about it";
            return step(StepVerdict::Allowed, Vec::new(), detail);
        };
        let subject = Subject {
            endpoint: id.0,
            direction,
            remote: other.identity.0,
            protocol: question.protocol,
            port: question.port,
        };
        let rule = |id| self.compiled.rule(id).cloned().into_iter().collect();
        let defaults = || self.compiled.defaults(id.0, direction);
        let is_of_node = direction == Direction::Ingress && other.identity == IdentityNumber::HOST;
        if let Some((policies, detail)) = self.audited(&subject).filter(|_| !is_of_node) {
            return step(StepVerdict::Audited, policies, detail);
        }
        let Subject { remote, port, .. } = subject;
        match self
            .compiled
            .judge_connection(id.0, direction, remote, question.protocol, port)
        {
            ConnectionVerdict::Allow { rule: None } => step(
                StepVerdict::Allowed,
                Vec::new(),
                "no policy closes this direction",
            ),
            ConnectionVerdict::Allow { rule: Some(id) } => step(StepVerdict::Allowed, rule(id), ""),
            ConnectionVerdict::Redirect { rule: id } => step(StepVerdict::Judges, rule(id), ""),
            ConnectionVerdict::Deny { .. } if is_of_node => step(
                StepVerdict::Allowed,
                Vec::new(),
                "processes of the node reach its pods whatever policies say: probes depend on it",
            ),
            ConnectionVerdict::Deny { rule: Some(id) } => {
                step(StepVerdict::Denied, rule(id), "a deny rule")
            }
            ConnectionVerdict::Deny { rule: None } => step(
                StepVerdict::Denied,
                defaults(),
                "closed by default: no rule is about this peer and port",
            ),
        }
    }

    /// Who would deny a connection that passes because they are only audited.
    fn audited(&self, subject: &Subject) -> Option<(Vec<Provenance>, &'static str)> {
        let Subject {
            endpoint,
            direction,
            remote,
            protocol,
            port,
        } = *subject;
        let in_force = self
            .compiled
            .judge_connection(endpoint, direction, remote, protocol, port);
        if let ConnectionVerdict::Deny { .. } = in_force {
            return None;
        }
        match self.compiled.audit_connection(subject)? {
            ConnectionVerdict::Deny { rule: Some(id) } => Some((
                self.compiled.rule(id).cloned().into_iter().collect(),
                "passes as it is only audited: a deny rule",
            )),
            ConnectionVerdict::Deny { rule: None } => Some((
                self.compiled.audited_defaults(endpoint, direction),
                "passes as it is only audited: closed by default otherwise",
            )),
            ConnectionVerdict::Allow { .. } | ConnectionVerdict::Redirect { .. } => None,
        }
    }

    /// What both ends' policies say of what is said, if anything is.
    fn said(&self, asked: &Asked<'_>) -> Option<Step> {
        let said = asked.question.said.as_ref()?;
        let live = Arc::new(Live::new(Arc::clone(&self.compiled)));
        let protocol = asked.question.protocol;
        let Door::Enforce(judge) = live.door(&asked.source, &asked.destination, protocol) else {
            return None;
        };
        let to = asked.question.to.to_string();
        let (name, judged) = match said {
            Said::Query(name) => {
                let lower = format!("{}.", name.trim_end_matches('.').to_ascii_lowercase());
                (format!("query {name}"), judge.judge_name(lower.as_bytes()))
            }
            Said::ServerName(name) => (
                format!("server name {name}"),
                judge.judge_server_name(Some(name.as_bytes())),
            ),
            Said::Http {
                method,
                path,
                host,
                headers,
            } => {
                let request = Request {
                    method: method.as_bytes(),
                    path: path.as_bytes(),
                    host: host.as_deref().unwrap_or(&to).as_bytes(),
                    headers: &Fields(headers),
                };
                (
                    format!("request {method} {path}"),
                    judge.judge_readings(&request),
                )
            }
        };
        Some(of_request(name, judged))
    }
}

/// A question, and the parties that it means.
struct Asked<'a> {
    source: Party,
    destination: Party,
    question: &'a Question,
}

fn of_request(asked: String, judged: Result<Permit, Denial>) -> Step {
    let names = |policies: &[PolicyRef]| policies.iter().map(reference).collect();
    match judged {
        Ok(permit) => match permit.audited() {
            Some(denial) => Step {
                asked,
                verdict: StepVerdict::Audited,
                policies: names(&denial.policies),
                detail: denial.detail.clone(),
            },
            None => Step {
                asked,
                verdict: StepVerdict::Allowed,
                policies: names(permit.policies()),
                detail: permit.edits().to_string(),
            },
        },
        Err(denial) => Step {
            asked,
            verdict: StepVerdict::Denied,
            policies: names(&denial.policies),
            detail: denial.detail,
        },
    }
}

fn shown(provenance: &Provenance) -> String {
    object(
        provenance.kind.as_str(),
        &provenance.namespace,
        &provenance.name,
        &provenance.rule,
    )
}

fn reference(policy: &PolicyRef) -> String {
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

/// Header fields as they were written.
struct Fields<'a>(&'a [(String, String)]);

impl Headers for Fields<'_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self.0 {
            visit(name.as_bytes(), value.as_bytes());
        }
    }
}
