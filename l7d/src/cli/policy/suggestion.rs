//! `l7d policy suggest`: the least that has to be allowed for what was seen to go on.

use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use parsers::template::Templates;
use policy_l7::read_objects;
use policy_l7::suggest::{self, Suggestion};
use serde::Serialize;

use super::changes;
use super::sources::{Intake, ReadReport, SourceFlags};
use crate::cli::failure::Failure;
use crate::cli::paths::PathFlags;
use crate::whatif::{Asked, Comparison, Gather, Group, Passed, Scope, Sightings, Skipped, World};

const EXAMPLES: &str = "\
Examples:
  What has to be allowed in a namespace, by what the hubble CLI of a cluster with Cilium saw:
    hubble observe -n shop --last 100000 -o jsonpb > flows.json
    l7d policy suggest --namespace shop --flows flows.json > shop.yaml
  For one workload, from what an agent or relay has seen:
    l7d policy suggest --for shop/cart --live
  NetworkPolicies for a cluster without L7, from a capture:
    l7d policy suggest --kind kubernetes --pcap trace.pcap --endpoints pods.yaml

What was seen less often than --min-count is listed, not allowed; so is what was dropped. The same
flows give the same bytes, in whatever order they come. The result is replayed: exit code 1 tells that
flows would be denied that are not listed.";

/// Arguments of `l7d policy suggest`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "More with --help: examples.")]
pub struct SuggestArgs {
    /// Only for workloads of this namespace
    #[arg(long, short, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Only for this workload or that of this pod (NAME or NAMESPACE/NAME), or those with these labels
    /// (app=cart,tier=db)
    #[arg(long = "for", value_name = "WORKLOAD")]
    pub subject: Option<String>,
    /// Only what comes in; without --ingress and --egress, both
    #[arg(long)]
    pub ingress: bool,
    /// Only what goes out
    #[arg(long)]
    pub egress: bool,
    /// Allow what was seen at least so often
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    pub min_count: u64,
    /// Allow what was seen once, too; the same as --min-count 1
    #[arg(long, conflicts_with = "min_count")]
    pub include_once: bool,
    /// Kind of objects
    #[arg(long, value_enum, value_name = "KIND", default_value = "cilium")]
    pub kind: Kind,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "yaml")]
    pub output: Form,
    /// Templates of paths.
    #[command(flatten)]
    pub paths: PathFlags,
    /// Where flows come from.
    #[command(flatten)]
    pub sources: SourceFlags,
}

/// Kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// `CiliumNetworkPolicy`, with requests and names
    Cilium,
    /// `NetworkPolicy`: pods, addresses and ports only
    Kubernetes,
}

/// Forms of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One JSON object, the policies as text in it
    Json,
    /// The policies, with what they leave out as comments
    Yaml,
}

/// What is suggested, and what a replay says of it.
#[derive(Serialize)]
struct Report {
    policies: String,
    coverage: Coverage,
    /// What would be denied and is not listed.
    would_deny: Vec<Group>,
    skipped: Skipped,
    read: ReadReport,
}

/// How much of what passed is allowed.
#[derive(Serialize)]
struct Coverage {
    percent: f64,
    /// Flows of these workloads that passed.
    passed: u64,
    allowed: u64,
    /// Listed.
    left_out: u64,
    /// Flows that do not tell enough.
    undecidable: u64,
    /// Flows beyond those that are kept.
    not_kept: u64,
}

/// Runs the command.
pub(super) fn run(args: &SuggestArgs) -> Result<(), Failure> {
    let mut go_on = |_: &mut Gather| Ok(());
    let mut intake = Intake::new(&args.sources, Vec::new(), &mut go_on)?;
    args.sources.feed(&mut intake)?;
    let Intake {
        mut gather, read, ..
    } = intake;
    let report = suggested(args, &mut gather, read)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Form::Json => {
            serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Form::Yaml => write_yaml(&mut out, args, &report)?,
    }
    out.flush()?;
    let denied: u64 = report.would_deny.iter().map(|group| group.flows).sum();
    if denied == 0 {
        return Ok(());
    }
    let denied_groups: Vec<&Group> = report.would_deny.iter().collect();
    changes::write_groups(&mut io::stderr().lock(), &denied_groups)?;
    Err(Failure::failed(
        "the suggested policies deny what is not listed",
        format!("{denied} flows"),
    ))
}

fn suggested(args: &SuggestArgs, gather: &mut Gather, read: ReadReport) -> Result<Report, Failure> {
    let scope = Scope {
        namespace: args.namespace.clone(),
        subject: args.subject.clone(),
        without_ingress: args.egress && !args.ingress,
        without_egress: args.ingress && !args.egress,
    };
    let form = match args.kind {
        Kind::Cilium => suggest::Form::Cilium,
        Kind::Kubernetes => suggest::Form::Kubernetes,
    };
    let min_count = if args.include_once { 1 } else { args.min_count };
    let asked = gather.take_asked();
    let templates = args.paths.templates()?;
    let sightings = Sightings::new(gather, &asked, &scope, form, &templates);
    let suggestion = suggest::suggest(&sightings.seen, form, min_count);
    if suggestion.is_empty() {
        return Err(Failure::failed(
            "nothing can be suggested",
            "no flow has a workload of this scope at one end",
        )
        .advise("labels say who workloads are: --endpoints adds what flows do not tell"));
    }
    let (coverage, would_deny) = replayed(gather, &asked, &sightings, &suggestion, templates)?;
    Ok(Report {
        policies: suggestion.to_yaml(),
        coverage,
        would_deny,
        skipped: gather.skipped,
        read,
    })
}

/// What the suggested policies would say of the flows that they were made from.
fn replayed(
    gather: &Gather,
    asked: &[Asked],
    sightings: &Sightings,
    suggestion: &Suggestion,
    templates: Templates,
) -> Result<(Coverage, Vec<Group>), Failure> {
    let objects = read_objects("the suggestion", &suggestion.to_yaml()).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::failed("the suggestion cannot be read back", errors.join("\n"))
    })?;
    let world = World::new(&objects.policies, gather, asked);
    let (covered, left_out) = sightings.covered(&suggestion.is_allowed);
    let mut comparison = Comparison::new(templates);
    let has_passed = |at: &usize| asked.get(*at).is_some_and(|one| one.passed == Passed::Yes);
    comparison.add_where(gather, asked, None, &world, |at| {
        covered.contains(&at) && has_passed(&at)
    });
    let count = |at: &usize| asked.get(*at).map_or(0, |one| one.count);
    let left_out: u64 = left_out.iter().filter(|at| has_passed(at)).map(count).sum();
    let totals = comparison.totals();
    let allowed = totals.still_allowed;
    let passed = allowed + totals.allow_to_deny + totals.undecidable + left_out;
    let coverage = Coverage {
        percent: percent(allowed, passed),
        passed,
        allowed,
        left_out,
        undecidable: totals.undecidable,
        not_kept: gather.skipped.beyond,
    };
    let groups = comparison.into_groups().into_iter();
    let denied = groups.filter(|group| group.change == crate::whatif::Change::AllowToDeny);
    Ok((coverage, denied.collect()))
}

/// With one digit behind the point.
fn percent(part: u64, whole: u64) -> f64 {
    let per_mille = (u128::from(part) * 1000)
        .checked_div(u128::from(whole))
        .unwrap_or(1000);
    u32::try_from(per_mille).map_or(100.0, |per_mille| f64::from(per_mille) / 10.0)
}

fn write_yaml(out: &mut impl Write, args: &SuggestArgs, report: &Report) -> io::Result<()> {
    let min_count = if args.include_once { 1 } else { args.min_count };
    let often = match min_count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    };
    writeln!(
        out,
        "# Suggested by l7d policy suggest: what was seen at least {often}."
    )?;
    out.write_all(report.policies.as_bytes())?;
    let coverage = &report.coverage;
    writeln!(
        out,
        "# Coverage: {:.1} % of {} that passed; {} left out as listed, {} that do not tell enough.",
        coverage.percent,
        changes::counted(coverage.passed, "flow"),
        coverage.left_out,
        coverage.undecidable
    )?;
    if coverage.not_kept > 0 {
        writeln!(
            out,
            "# {} more were too many different ones to be looked at.",
            changes::counted(coverage.not_kept, "flow")
        )?;
    }
    let denied: u64 = report.would_deny.iter().map(|group| group.flows).sum();
    match denied {
        0 => writeln!(out, "# Replayed: nothing else that passed would be denied."),
        flows => writeln!(
            out,
            "# Replayed: {} more would be denied.",
            changes::counted(flows, "flow")
        ),
    }
}
