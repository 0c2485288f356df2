//! `l7d policy test`: cases with expected verdicts, run like a test runner.

mod suite;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::answer::{Answer, StepVerdict, Verdict};
use crate::cli::failure::Failure;
use crate::cli::observe::args::Color;
use crate::print::cases::{self, Ran, RanCase};
use suite::{Case, Expected, Suite};

const EXAMPLES: &str = "\
Examples:
  Run the tests of a folder of policies:
    l7d policy test tests/*.yaml
  For a pipeline that shows them as tests:
    l7d policy test -o junit tests/*.yaml > results.xml

A file names policies and endpoints, relative to itself, and has cases:
  policies: [ ../policies ]
  endpoints: [ pods.yaml ]          # or a list of them, written out
  cases:
  - name: the gateway reads users
    from: api-gateway               # a pod, a node, an address, `world` …
    to: user-service                # or a DNS name
    port: 80                        # protocol: TCP, unless it is said
    http: { method: GET, path: /users/7 }   # or dns: NAME, or sni: NAME
    expect: allow                   # deny, audit, judge (its requests)
    by: api-access-policy           # a part of who decides; may be left out

Exit code 1 tells that a case failed, or that a file cannot be used.";

/// Arguments of `l7d policy test`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "More with --help: examples.")]
pub struct TestArgs {
    /// Files of cases
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Form,
    /// Colours, with -o table
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Forms of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One JSON object
    Json,
    /// `JUnit` XML, for pipelines
    Junit,
    /// A line for each case, and the way to a verdict that was not expected
    Table,
}

/// Runs the command.
pub(super) fn run(args: &TestArgs) -> Result<(), Failure> {
    let mut suites = Vec::new();
    for file in &args.files {
        suites.push(Suite::read(file)?);
    }
    let answers: Vec<Vec<Answer>> = suites.iter().map(Suite::answers).collect();
    let ran: Vec<Ran<'_>> = suites
        .iter()
        .zip(&answers)
        .map(|(suite, answers)| ran(suite, answers))
        .collect();
    let mut out = io::stdout().lock();
    match args.output {
        Form::Json => cases::json(&mut out, &ran)?,
        Form::Junit => cases::junit(&mut out, &ran)?,
        Form::Table => {
            let terminal = io::stdout().is_terminal();
            let color = args.color.is_on(terminal, |name| std::env::var(name).ok());
            cases::text(&mut out, &ran, color)?;
        }
    }
    out.flush()?;
    let failed = ran
        .iter()
        .flat_map(|suite| &suite.cases)
        .any(|case| case.fault.is_some());
    if failed { Err(Failure::No) } else { Ok(()) }
}

fn ran<'a>(suite: &'a Suite, answers: &'a [Answer]) -> Ran<'a> {
    let cases = suite.cases.iter().zip(answers);
    Ran {
        file: &suite.file,
        cases: cases
            .map(|(case, answer)| RanCase {
                name: &case.name,
                line: case.line,
                expected: case.expected.as_str(),
                answer: answer.shown(),
                fault: fault(case, answer),
            })
            .collect(),
    }
}

/// What is not as it was expected.
fn fault(case: &Case, answer: &Answer) -> Option<String> {
    let verdict = answer.verdict.as_str();
    let is_expected = matches!(
        (case.expected, answer.verdict),
        (Expected::Allow, Verdict::Allowed)
            | (Expected::Audit, Verdict::Audited)
            | (Expected::Deny, Verdict::Denied)
            | (Expected::Judge, Verdict::Judged)
    );
    if !is_expected {
        return Some(format!(
            "expected {}, got {verdict}",
            case.expected.as_str()
        ));
    }
    let by = case.by.as_deref()?;
    let deciding: Vec<&str> = deciding(answer).collect();
    if deciding.iter().any(|policy| is_named(policy, by)) {
        return None;
    }
    let who = if deciding.is_empty() {
        "no policy".to_owned()
    } else {
        deciding.join(", ")
    };
    Some(format!("{verdict} as expected, by {who}; expected by {by}"))
}

/// Who made the verdict what it is.
fn deciding(answer: &Answer) -> impl Iterator<Item = &str> {
    let kind = match answer.verdict {
        Verdict::Allowed => StepVerdict::Allowed,
        Verdict::Audited => StepVerdict::Audited,
        Verdict::Denied => StepVerdict::Denied,
        Verdict::Judged => StepVerdict::Judges,
    };
    let steps = answer.steps.iter().filter(move |step| step.verdict == kind);
    steps.flat_map(|step| step.policies.iter().map(String::as_str))
}

/// Whether each word of `by` is a part of who a policy is: kind, namespace and name, name, or rule.
fn is_named(policy: &str, by: &str) -> bool {
    by.split_whitespace().all(|word| {
        policy
            .split(' ')
            .any(|part| part == word || part.split_once('/').is_some_and(|(_, name)| name == word))
    })
}
