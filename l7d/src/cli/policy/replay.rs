//! `l7d policy replay`: which flows that were seen would change their verdict.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use policy_l7::{Needs, Policy};
use serde::Serialize;

use super::changes;
use super::sources::{Intake, ReadReport, SourceFlags};
use crate::cli::candidate::read_policies;
use crate::cli::failure::Failure;
use crate::cli::paths::PathFlags;
use crate::whatif::{Comparison, Gather, Group, Skipped, Totals, World};

const EXAMPLES: &str = "\
Examples:
  Would these policies break anything? On a cluster with Cilium and its hubble CLI alone:
    hubble observe --last 100000 -o jsonpb > flows.json
    l7d policy replay --policy policies/ --flows flows.json
  What does this change do, whatever was in force when the flows were recorded?
    l7d policy replay --policy new/ --baseline old/ --flows flows.json
  With what an agent or relay has seen, and goes on to see until Ctrl-C:
    l7d policy replay --policy policies/ --live --follow
  With a capture:
    l7d policy replay --policy policies/ --pcap trace.pcap --endpoints pods.yaml

Policies are whole sets: what is not in them is not in force. Flows that do not tell what policies ask
for (labels, headers, names) are shown apart, with the reason. Exit code 1 tells that flows which were
allowed would be denied.";

/// So many different things are kept before they are judged.
const BATCH: usize = 1 << 17;

/// Arguments of `l7d policy replay`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "More with --help: examples.")]
pub struct ReplayArgs {
    /// All policies that would be in force: files, or folders of them
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub policy: Vec<PathBuf>,
    /// All policies to compare with [default: the recorded verdicts]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub baseline: Vec<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Form,
    /// Templates of paths.
    #[command(flatten)]
    pub paths: PathFlags,
    /// Where flows come from.
    #[command(flatten)]
    pub sources: SourceFlags,
}

/// Forms of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One JSON object
    Json,
    /// Text for people
    Table,
}

/// What was found.
#[derive(Serialize)]
pub(super) struct Report {
    totals: Totals,
    groups: Vec<Group>,
    skipped: Skipped,
    read: ReadReport,
}

impl Report {
    pub(super) fn new(comparison: Comparison, skipped: Skipped, read: ReadReport) -> Self {
        Self {
            totals: comparison.totals(),
            groups: comparison.into_groups(),
            skipped,
            read,
        }
    }
}

/// Runs the command.
pub(super) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let after = read_policies(&args.policy, &args.sources.endpoints)?;
    let before = read_policies(&args.baseline, &args.sources.endpoints)?;
    let before = (!args.baseline.is_empty()).then_some(before);
    let report = replay(args, before.as_deref(), &after)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Form::Json => {
            serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Form::Table => {
            changes::write(&mut out, &report.groups, &report.totals)?;
            changes::write_skipped(&mut out, &report.skipped, &report.read.line())?;
        }
    }
    out.flush()?;
    match report.totals.allow_to_deny {
        0 => Ok(()),
        flows => Err(Failure::failed(
            "the policies deny what was allowed",
            format!("{flows} flows"),
        )),
    }
}

fn replay(
    args: &ReplayArgs,
    before: Option<&[Policy]>,
    after: &[Policy],
) -> Result<Report, Failure> {
    let mut headers = Needs::of(after).headers;
    headers.extend(Needs::of(before.unwrap_or_default()).headers);
    let mut comparison = Comparison::new(args.paths.templates()?);
    let mut judge = |gather: &mut Gather| {
        let asked = gather.take_asked();
        let before = before.map(|policies| World::new(policies, gather, &asked));
        let after = World::new(after, gather, &asked);
        comparison.add(gather, &asked, before.as_ref(), &after);
    };
    let mut when_full = |gather: &mut Gather| {
        if gather.len() >= BATCH {
            judge(gather);
        }
        Ok(())
    };
    let mut intake = Intake::new(&args.sources, headers, &mut when_full)?;
    args.sources.feed(&mut intake)?;
    let Intake {
        mut gather, read, ..
    } = intake;
    judge(&mut gather);
    Ok(Report::new(comparison, gather.skipped, read))
}
