//! `l7d policy check`: what is wrong in policies, or probably is, before they are put into force.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use policy_l7::lint::{self, INVALID, Known, Severity, Source};
use policy_l7::{Objects, Places, Surroundings, read_objects_among_others};

use crate::cli::candidate::{self, Candidate};
use crate::cli::failure::Failure;
use crate::cli::observe::args::Color;
use crate::config;
use crate::print::findings::{self, Finding, Report};

const EXAMPLES: &str = "\
Examples:
  Is anything wrong in these policies?
    l7d policy check policies/
  … or in those of a cluster, with everybody in it?
    kubectl get pods,namespaces,services -A -o yaml > cluster.yaml
    kubectl get cnp,ccnp,netpol -A -o yaml | l7d policy check --endpoints cluster.yaml -
  For a pipeline that shows findings beside the change:
    l7d policy check --endpoints cluster.yaml -o sarif policies/ > findings.sarif

Exit code 1 tells that something at or above --fail-on was found. docs/policy-checks.md explains every
finding by its code.";

/// Arguments of `l7d policy check`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "More with --help: examples.")]
pub struct CheckArgs {
    /// Policies: files, or folders of them; - is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Who is there: a file with `endpoints`, as the agent has it, or what
    /// `kubectl get pods,namespaces -A -o yaml` prints; also a folder, several may be given
    #[arg(long, value_name = "FILE")]
    pub endpoints: Vec<PathBuf>,
    /// Exit with code 1 from this severity on
    #[arg(long, value_enum, value_name = "SEVERITY", default_value = "warning")]
    pub fail_on: FailOn,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Form,
    /// Colours, with -o table
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Cannot be honoured
    Error,
    /// Probably a mistake
    Warning,
    /// Perhaps not what its author thinks
    Info,
}

/// Forms of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One JSON object
    Json,
    /// SARIF 2.1.0, for code hosts
    Sarif,
    /// Each finding with its line
    Table,
}

impl FailOn {
    fn severity(self) -> Severity {
        match self {
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
            Self::Info => Severity::Info,
        }
    }
}

/// A file of policies as it was read.
struct File {
    name: String,
    text: String,
    read: Result<(Objects, Places), Vec<policy_l7::Error>>,
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let candidate = if args.endpoints.is_empty() {
        None
    } else {
        let config = candidate::read_endpoints(&args.endpoints)?;
        Some(Candidate::new(config, Objects::default())?)
    };
    let files = read(&args.paths)?;
    let report = report(&files, candidate.as_ref());
    let mut out = io::stdout().lock();
    match args.output {
        Form::Json => findings::json(&mut out, &report)?,
        Form::Sarif => findings::sarif(&mut out, &report)?,
        Form::Table => {
            let terminal = io::stdout().is_terminal();
            let color = args.color.is_on(terminal, |name| std::env::var(name).ok());
            let text = |name: &str| {
                let file = files.iter().find(|file| file.name == name);
                file.map(|file| file.text.as_str()).unwrap_or_default()
            };
            findings::text(&mut out, &report, text, color)?;
        }
    }
    out.flush()?;
    let worst = report.findings.iter().map(|finding| finding.check.severity);
    if worst.max() >= Some(args.fail_on.severity()) {
        return Err(Failure::No);
    }
    Ok(())
}

fn read(paths: &[PathBuf]) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::failed("standard input cannot be read", error))?;
            files.push(File::new("-".to_owned(), text));
            continue;
        }
        let unreadable = |error| Failure::failed("the policies cannot be read", error);
        for file in config::files_of(path).map_err(unreadable)? {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Failure::failed(format!("{name} cannot be read"), error))?;
            files.push(File::new(name, text));
        }
    }
    Ok(files)
}

impl File {
    fn new(name: String, text: String) -> Self {
        let read = read_objects_among_others(&name, &text).and_then(|objects| {
            let places = Places::read(&name, &text).map_err(|error| vec![error])?;
            Ok((objects, places))
        });
        Self { name, text, read }
    }
}

fn report(files: &[File], candidate: Option<&Candidate>) -> Report {
    let mut report = Report {
        findings: Vec::new(),
        files: files.len(),
        policies: 0,
        passed_over: BTreeMap::new(),
    };
    let mut good = Vec::new();
    for file in files {
        match &file.read {
            Ok((objects, places)) => {
                report.policies += objects.policies.len();
                for (kind, count) in &objects.others {
                    *report.passed_over.entry(kind.clone()).or_default() += count;
                }
                good.push((file, objects, places));
            }
            Err(errors) => report.findings.extend(errors.iter().map(refused)),
        }
    }
    let sources: Vec<Source<'_>> = good
        .iter()
        .map(|(_, objects, places)| Source {
            policies: &objects.policies,
            places,
        })
        .collect();
    let inventory = candidate.map(|candidate| {
        let inventory = candidate.inventory();
        let groups = good.iter().flat_map(|(_, objects, _)| &objects.cidr_groups);
        let groups = groups.chain(candidate.cidr_groups()).cloned();
        (
            inventory.identities(),
            inventory.servers(),
            groups.collect::<Vec<_>>(),
            inventory.services(),
        )
    });
    let known = inventory
        .as_ref()
        .map(|(identities, servers, cidr_groups, services)| Known {
            identities,
            servers,
            surroundings: Surroundings {
                cidr_groups,
                services,
            },
        });
    for finding in lint::check(&sources, known.as_ref()) {
        let Some((file, _, places)) = good.get(finding.source) else {
            continue;
        };
        let (place, field) = finding.place(places);
        report.findings.push(Finding {
            check: finding.check,
            file: file.name.clone(),
            line: place.at.line,
            column: place.at.column,
            width: place.width,
            field,
            policy: finding.policy,
            message: finding.message,
            suggestion: finding.suggestion,
        });
    }
    let position = |name: &str| files.iter().position(|file| file.name == name);
    report
        .findings
        .sort_by_cached_key(|finding| (position(&finding.file), finding.line, finding.column));
    report
}

/// What a reader refused.
fn refused(error: &policy_l7::Error) -> Finding {
    Finding {
        check: INVALID,
        file: error.file.clone(),
        line: error.line,
        column: error.column,
        width: 1,
        field: error.field.clone(),
        policy: String::new(),
        message: error.message.clone(),
        suggestion: error.suggestion.clone(),
    }
}
