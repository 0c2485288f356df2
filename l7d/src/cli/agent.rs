//! `l7d agent`: the arguments; what they start is elsewhere.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::agent::{self, Task};

/// Arguments of `l7d agent`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo l7d agent --config /etc/l7d/l7d.yaml      run until it is told to stop
  l7d agent --config l7d.yaml --check            read everything, start nothing
  sudo l7d agent --cleanup                       remove what an agent left in the kernel")]
pub struct AgentArgs {
    /// Endpoints, watched ports, policies and listeners
    #[arg(long, value_name = "FILE", required_unless_present = "cleanup")]
    pub config: Option<PathBuf>,
    /// Remove programs, maps, rules, routes and interfaces of an agent, and exit
    #[arg(long, conflicts_with = "check")]
    pub cleanup: bool,
    /// Read the configuration and the policies, say what is wrong with them, and exit
    #[arg(long)]
    pub check: bool,
}

/// Runs the command.
pub fn run(args: &AgentArgs) -> Result<(), Failure> {
    let task = match (args.cleanup, args.check) {
        (true, _) => Task::Cleanup,
        (false, true) => Task::Check,
        (false, false) => Task::Run,
    };
    agent::run(args.config.as_ref(), &task).map_err(|error| match error {
        agent::Error::Config(_) | agent::Error::Policies(_) => {
            Failure::failed("cannot start the agent", format!("\n{error}"))
                .advise("nothing was changed on this node")
        }
        error => Failure::failed("the agent has ended", error),
    })
}
