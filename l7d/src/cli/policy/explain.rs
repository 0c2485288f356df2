//! `l7d policy explain`: what policies make of one connection or request, and why.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use policy_l7::{Compiled, ConnectionVerdict, Direction, Headers, Provenance};
use serde::Serialize;

use super::ends::End;
use crate::cli::candidate::Candidate;
use crate::cli::failure::Failure;
use crate::identity::Identities;
use crate::policy::{Denial, Door, Live, Permit, Request};
use crate::print;
use crate::record::{EndpointId, Party, PolicyRef};

const EXAMPLES: &str = "\
Examples:
  May the gateway ask for this path?
    l7d policy explain --endpoints pods.yaml --policy policies/ \\
      --from prod-app/api-gateway --to prod-app/user-service --port 80 --method GET --path /admin
  May it look that name up, and then connect?
    l7d policy explain … --from api-gateway --to 10.96.0.10 --port 53 --dns api.example.com
    l7d policy explain … --from api-gateway --to api.example.com --port 443

Exit code 0 whatever the verdict: it is in the output, and with -o json under `verdict`.";

/// Arguments of `l7d policy explain`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "More with --help: examples.")]
pub struct ExplainArgs {
    /// Names and labels of addresses: a file with `endpoints`, as the agent has it, or what
    /// `kubectl get pods,namespaces -A -o yaml` prints; also a folder, several may be given
    #[arg(long, value_name = "FILE", required = true)]
    pub endpoints: Vec<PathBuf>,
    /// Policies: files, or folders of them
    #[arg(long, value_name = "PATH", required = true)]
    pub policy: Vec<PathBuf>,
    /// Who asks: a pod (NAMESPACE/NAME, or a name that is the only one), an address, `world`, `host`
    #[arg(long, value_name = "END")]
    pub from: String,
    /// Who is asked: the same, or a DNS name
    #[arg(long, value_name = "END")]
    pub to: String,
    /// Port of who is asked
    #[arg(long)]
    pub port: u16,
    /// Transport protocol [default: tcp, with --dns udp]
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,
    /// HTTP method
    #[arg(long, requires = "path")]
    pub method: Option<String>,
    /// HTTP path
    #[arg(long)]
    pub path: Option<String>,
    /// HTTP host [default: who is asked]
    #[arg(long, requires = "path")]
    pub host: Option<String>,
    /// HTTP header, as NAME:VALUE; several may be given
    #[arg(long, value_name = "NAME:VALUE", requires = "path")]
    pub header: Vec<String>,
    /// Name of a DNS query
    #[arg(long, value_name = "NAME", conflicts_with = "path")]
    pub dns: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Form,
}

/// Transport protocols with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

/// Forms of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One JSON object
    Json,
    /// Aligned columns, and the verdict
    Table,
}

impl Protocol {
    fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// What was found.
#[derive(Debug, Serialize)]
struct Explanation {
    /// `ALLOWED`, `DENIED`, or `JUDGED` where it depends on the request and none was given.
    verdict: &'static str,
    steps: Vec<Step>,
}

/// One policy that was asked.
#[derive(Debug, Serialize)]
struct Step {
    asked: String,
    verdict: &'static str,
    /// Kind, namespace and name of who decided, and the rule; several may deny by default.
    policies: Vec<String>,
    detail: String,
}

impl Step {
    fn row(&self) -> [String; 4] {
        let by = if self.policies.is_empty() {
            "-".to_owned()
        } else {
            self.policies.join(", ")
        };
        [
            self.asked.clone(),
            self.verdict.to_owned(),
            by,
            self.detail.clone(),
        ]
    }
}

/// Runs the command.
pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let candidate = Candidate::read(&args.endpoints, &args.policy)?;
    candidate.warn()?;
    let compiled = candidate.compile(&BTreeSet::new());
    let table = candidate.table(&compiled).build();
    let from = End::parse(&args.from, &table)?;
    let to = End::parse(&args.to, &table)?;
    // Policies know a name only where they are compiled with it.
    let compiled = Arc::new(candidate.compile(&to.named(&compiled).into_iter().collect()));
    let identities = Identities::new(candidate.table(&compiled).build());
    let table = identities.load();
    let question = Question {
        source: from.party(&table, &compiled, 0),
        destination: to.party(&table, &compiled, args.port),
        protocol: protocol(args).number(),
        names: (from.to_string(), to.to_string()),
    };
    let explanation = explain(args, &question, compiled);
    let mut out = io::stdout().lock();
    match args.output {
        Form::Json => {
            serde_json::to_writer_pretty(&mut out, &explanation).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Form::Table => {
            let rows = explanation.steps.iter().map(Step::row);
            print::policy::explanation(&mut out, rows, explanation.verdict)?;
        }
    }
    Ok(())
}

fn protocol(args: &ExplainArgs) -> Protocol {
    args.protocol.unwrap_or(if args.dns.is_some() {
        Protocol::Udp
    } else {
        Protocol::Tcp
    })
}

/// Who asks whom.
struct Question {
    source: Party,
    destination: Party,
    protocol: u8,
    names: (String, String),
}

fn explain(args: &ExplainArgs, question: &Question, compiled: Arc<Compiled>) -> Explanation {
    let sides = [
        (
            Direction::Egress,
            &question.source,
            &question.destination,
            &question.names.0,
        ),
        (
            Direction::Ingress,
            &question.destination,
            &question.source,
            &question.names.1,
        ),
    ];
    let mut steps = Vec::new();
    for (direction, own, other, name) in sides {
        steps.push(side(&compiled, question, direction, (own, other), name));
    }
    let denies = |step: &Step| step.verdict == "denied";
    if steps.iter().any(denies) {
        return Explanation {
            verdict: "DENIED",
            steps,
        };
    }
    if !steps
        .iter()
        .any(|step| step.verdict == "judges its requests")
    {
        return Explanation {
            verdict: "ALLOWED",
            steps,
        };
    }
    let live = Arc::new(Live::new(compiled));
    let Some(step) = request(args, question, &live) else {
        return Explanation {
            verdict: "JUDGED",
            steps,
        };
    };
    let verdict = if denies(&step) { "DENIED" } else { "ALLOWED" };
    steps.push(step);
    Explanation { verdict, steps }
}

/// What one end's policy says of the connection.
fn side(
    compiled: &Compiled,
    question: &Question,
    direction: Direction,
    (own, other): (&Party, &Party),
    name: &str,
) -> Step {
    let asked = match direction {
        Direction::Egress => format!("egress of {name}"),
        Direction::Ingress => format!("ingress of {name}"),
    };
    let step = |verdict, policies: Vec<Provenance>, detail: &str| Step {
        asked: asked.clone(),
        verdict,
        policies: policies.iter().map(shown).collect(),
        detail: detail.to_owned(),
    };
    let id = own
        .endpoint
        .as_deref()
        .map_or(EndpointId(0), |endpoint| endpoint.id);
    if id == EndpointId(0) {
        return step(
            "allowed",
            Vec::new(),
            "no endpoint of ours: no policy is about it",
        );
    }
    let remote = other.identity.0;
    let port = question.destination.addr.port();
    let rule = |id| compiled.rule(id).cloned().into_iter().collect();
    match compiled.judge_connection(id.0, direction, remote, question.protocol, port) {
        ConnectionVerdict::Allow { rule: None } => {
            step("allowed", Vec::new(), "no policy closes this direction")
        }
        ConnectionVerdict::Allow { rule: Some(id) } => step("allowed", rule(id), ""),
        ConnectionVerdict::Redirect { rule: id } => step("judges its requests", rule(id), ""),
        ConnectionVerdict::Deny { rule: Some(id) } => step("denied", rule(id), "a deny rule"),
        ConnectionVerdict::Deny { rule: None } => step(
            "denied",
            compiled.defaults(id.0, direction),
            "closed by default: no rule is about this peer and port",
        ),
    }
}

/// What both ends' policies say of the request, if one was given.
fn request(args: &ExplainArgs, question: &Question, live: &Arc<Live>) -> Option<Step> {
    let door = live.door(&question.source, &question.destination, question.protocol);
    let Door::Enforce(judge) = door else {
        return None;
    };
    let (asked, judged) = if let Some(name) = &args.dns {
        let lower = format!("{}.", name.trim_end_matches('.').to_ascii_lowercase());
        (format!("query {name}"), judge.judge_name(lower.as_bytes()))
    } else {
        let path = args.path.as_deref()?;
        let method = args.method.as_deref().unwrap_or("GET");
        let fields = Fields(&args.header);
        let request = Request {
            method: method.as_bytes(),
            path: path.as_bytes(),
            host: args.host.as_deref().unwrap_or(&question.names.1).as_bytes(),
            headers: &fields,
        };
        (
            format!("request {method} {path}"),
            judge.judge_readings(&request),
        )
    };
    Some(of_request(asked, judged))
}

fn of_request(asked: String, judged: Result<Permit, Denial>) -> Step {
    let names = |policies: &[PolicyRef]| policies.iter().map(reference).collect();
    match judged {
        Ok(permit) => Step {
            asked,
            verdict: "allowed",
            policies: names(permit.policies()),
            detail: String::new(),
        },
        Err(denial) => Step {
            asked,
            verdict: "denied",
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
struct Fields<'a>(&'a [String]);

impl Headers for Fields<'_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for field in self.0 {
            let (name, value) = field.split_once(':').unwrap_or((field, ""));
            visit(name.trim().as_bytes(), value.trim().as_bytes());
        }
    }
}
