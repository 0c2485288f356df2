//! `l7d doctor`: what of l7d works on this machine, what does not, and why.
//!
//! [`gather`] looks and concludes nothing, [`judge`] concludes and looks at nothing, [`text`] writes.

mod facts;
mod gather;
mod judge;
mod report;
mod text;

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::observe::args::Color;
use report::State;

/// Arguments of `l7d doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo l7d doctor                                  before the first agent
  sudo l7d doctor --config /etc/l7d/l7d.yaml       with what an agent is to be told
  l7d doctor -o json | jq '.findings[] | select(.state == \"no\")'
  kubectl exec -n kube-system ds/l7d -- l7d doctor --config /etc/l7d/l7d.yaml

It changes nothing. What it may not look at it names, with the right that it takes. An agent that runs is
asked at the socket of the configuration.

Exit code 0 says that nothing stands in the way, 1 that something does not work (--fail-on part: or works
in part), 2 that the command line makes no sense.")]
pub struct DoctorArgs {
    /// The agent's configuration; without it /etc/l7d/l7d.yaml if there is one, else the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// This node's name, as for the agent
    #[arg(long, value_name = "NAME", env = "NODE_NAME", hide_env_values = true)]
    pub node: Option<String>,
    /// What makes the exit code 1
    #[arg(long, value_enum, value_name = "STATE", default_value = "no")]
    pub fail_on: FailOn,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Output,
    /// Only what does not work in full
    #[arg(long)]
    pub brief: bool,
    /// Colours
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// What makes the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Something that does not work
    No,
    /// Something that works in part, too
    Part,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns
    Table,
    /// One JSON object
    Json,
}

/// Runs the command.
pub async fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let node = args.node.as_deref().filter(|node| !node.is_empty());
    let facts = gather::gather(args.config.as_deref(), node).await;
    let report = judge::judge(&facts);
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Output::Table => {
            let terminal = io::stdout().is_terminal();
            let color = args.color.is_on(terminal, |name| std::env::var(name).ok());
            text::write(&mut out, &report, color, args.brief)?;
        }
    }
    out.flush()?;
    let least = match args.fail_on {
        FailOn::No => State::No,
        FailOn::Part => State::Part,
    };
    if report.state() >= least {
        return Err(Failure::No);
    }
    Ok(())
}
