//! Policies, and what they make of a question step by step.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy_l7::{Compiled, ConnectionVerdict, Direction, Headers, Provenance, RuleId, Subject};

use super::answer::{Answer, Question, Said, Step, StepVerdict, Verdict, reference, shown};
use super::ends::{End, Unknown};
use crate::cli::candidate::Candidate;
use crate::identity::{Identities, Table};
use crate::policy::{Audit, Denial, Door, Judge, Live, Permit, Request};
use crate::record::{self, EndpointId, IdentityNumber, Party, PolicyRef};
use crate::session::Ends;

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
        let ends: Vec<Result<End, Unknown>> = ends
            .iter()
            .map(|text| End::parse(text, &table, candidate.inventory()))
            .collect();
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
        let is_judged = has(&steps, StepVerdict::Judges);
        if !has(&steps, StepVerdict::Denied) {
            if is_judged {
                steps.extend(self.judged(&asked));
            } else if has(&steps, StepVerdict::Audits) {
                steps.extend(self.audited(&asked));
            }
        }
        let verdict = if has(&steps, StepVerdict::Denied) {
            Verdict::Denied
        } else if is_judged && question.said.is_none() {
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
        let id = own.endpoint.as_deref().map(|endpoint| endpoint.id);
        let Some(id) = id.filter(|id| *id != EndpointId(0)) else {
            let detail = "no endpoint of ours: no policy is about it";
            return step(name, StepVerdict::Allowed, &[], detail);
        };
        let subject = Subject {
            endpoint: id.0,
            direction,
            remote: other.identity.0,
            protocol: question.protocol,
            port: question.port,
        };
        let is_exempt = direction == Direction::Ingress && other.identity == IdentityNumber::HOST;
        let (verdict, policies, detail) = self
            .only_audited(&subject, is_exempt)
            .unwrap_or_else(|| self.in_force(&subject, is_exempt));
        step(name, verdict, &policies, detail)
    }

    /// What the policies in force say.
    fn in_force(&self, subject: &Subject, is_exempt: bool) -> Decided {
        let none = Vec::new;
        match self.verdict(subject) {
            ConnectionVerdict::Allow { rule: None } => (
                StepVerdict::Allowed,
                none(),
                "no policy closes this direction",
            ),
            ConnectionVerdict::Allow { rule: Some(id) } => {
                (StepVerdict::Allowed, self.rule(id), "")
            }
            ConnectionVerdict::Redirect { rule: id } => (StepVerdict::Judges, self.rule(id), ""),
            ConnectionVerdict::Deny { .. } if is_exempt => (
                StepVerdict::Allowed,
                none(),
                "processes of the node reach its pods whatever policies say: probes depend on it",
            ),
            ConnectionVerdict::Deny { rule: Some(id) } => {
                (StepVerdict::Denied, self.rule(id), "a deny rule")
            }
            ConnectionVerdict::Deny { rule: None } => (
                StepVerdict::Denied,
                self.compiled.defaults(subject.endpoint, subject.direction),
                "closed by default: no rule is about this peer and port",
            ),
        }
    }

    /// Who would deny a connection, or have its requests judged, that passes because they are only
    /// audited.
    fn only_audited(&self, subject: &Subject, is_exempt: bool) -> Option<Decided> {
        let in_force = self.verdict(subject);
        let is_denied = matches!(in_force, ConnectionVerdict::Deny { .. });
        if is_denied && !is_exempt {
            return None;
        }
        match self.compiled.audit_connection(subject)? {
            ConnectionVerdict::Deny { .. } if is_exempt => None,
            ConnectionVerdict::Deny { rule: Some(id) } => Some((
                StepVerdict::Audited,
                self.rule(id),
                "passes as it is only audited: a deny rule",
            )),
            ConnectionVerdict::Deny { rule: None } => Some((
                StepVerdict::Audited,
                self.compiled
                    .audited_defaults(subject.endpoint, subject.direction),
                "passes as it is only audited: closed by default otherwise",
            )),
            // Those in force judge the same requests.
            ConnectionVerdict::Redirect { .. }
                if matches!(in_force, ConnectionVerdict::Redirect { .. }) =>
            {
                None
            }
            ConnectionVerdict::Redirect { rule } => {
                Some((StepVerdict::Audits, self.rule(rule), ""))
            }
            ConnectionVerdict::Allow { .. } => None,
        }
    }

    fn verdict(&self, subject: &Subject) -> ConnectionVerdict {
        let Subject {
            endpoint,
            direction,
            remote,
            protocol,
            port,
        } = *subject;
        self.compiled
            .judge_connection(endpoint, direction, remote, protocol, port)
    }

    fn rule(&self, id: RuleId) -> Vec<Provenance> {
        self.compiled.rule(id).cloned().into_iter().collect()
    }

    /// What both ends' policies say of what is said, if anything is.
    fn judged(&self, asked: &Asked<'_>) -> Option<Step> {
        let said = asked.question.said.as_ref()?;
        let Asked {
            source,
            destination,
            question,
        } = asked;
        let Door::Enforce(judge) = self.live().door(source, destination, question.protocol) else {
            return None;
        };
        let name = said.to_string();
        Some(match said.ask(&judge, &question.to) {
            Ok(permit) => of_permit(name, &permit),
            Err(denial) => told(name, StepVerdict::Denied, &denial.policies, &denial.detail),
        })
    }

    /// What policies would say that are only audited, where no others ask what is said.
    fn audited(&self, asked: &Asked<'_>) -> Option<Step> {
        let said = asked.question.said.as_ref()?;
        let Asked {
            source,
            destination,
            question,
        } = asked;
        let ends = Ends::new(
            source.clone(),
            destination.clone(),
            record::Direction::Unknown,
        );
        let name = said.to_string();
        let audit = Audit(self.live());
        let would = audit.of(&ends, question.protocol, |judge| {
            said.ask(judge, &question.to)
        });
        Some(match would {
            Some(would) => told(name, StepVerdict::Audited, &would.policies, &would.detail),
            None => step(name, StepVerdict::Allowed, &[], ""),
        })
    }

    fn live(&self) -> Arc<Live> {
        Arc::new(Live::new(Arc::clone(&self.compiled)))
    }
}

/// A verdict, who made it, and why.
type Decided = (StepVerdict, Vec<Provenance>, &'static str);

/// A question, and the parties that it means.
struct Asked<'a> {
    source: Party,
    destination: Party,
    question: &'a Question,
}

fn step(asked: String, verdict: StepVerdict, policies: &[Provenance], detail: &str) -> Step {
    Step {
        asked,
        verdict,
        policies: policies.iter().map(shown).collect(),
        detail: detail.to_owned(),
    }
}

fn told(asked: String, verdict: StepVerdict, policies: &[PolicyRef], detail: &str) -> Step {
    Step {
        asked,
        verdict,
        policies: policies.iter().map(reference).collect(),
        detail: detail.to_owned(),
    }
}

fn of_permit(asked: String, permit: &Permit) -> Step {
    if let Some(denial) = permit.audited() {
        return told(
            asked,
            StepVerdict::Audited,
            &denial.policies,
            &denial.detail,
        );
    }
    let edits = permit.edits().to_string();
    told(asked, StepVerdict::Allowed, permit.policies(), &edits)
}

impl Said {
    /// Asks a judge about it; `to` is who is asked.
    fn ask(&self, judge: &Judge, to: &End) -> Result<Permit, Denial> {
        match self {
            Self::Query(name) => {
                let lower = format!("{}.", name.trim_end_matches('.').to_ascii_lowercase());
                judge.judge_name(lower.as_bytes())
            }
            Self::ServerName(name) => judge.judge_server_name(Some(name.as_bytes())),
            Self::Http {
                method,
                path,
                host,
                headers,
            } => {
                let to = to.to_string();
                judge.judge_readings(&Request {
                    method: method.as_bytes(),
                    path: path.as_bytes(),
                    host: host.as_deref().unwrap_or(&to).as_bytes(),
                    headers: &Fields(headers),
                })
            }
        }
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
