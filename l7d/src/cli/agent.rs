//! `l7d agent`: the arguments; what they start is elsewhere.

use std::path::PathBuf;

use clap::Args;

use super::background;
use super::failure::Failure;
use crate::agent::{self, Manner, Overrides, Task, WhenReplaced};
use crate::config::Bytes;

/// Arguments of `l7d agent`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo l7d agent --config /etc/l7d/l7d.yaml      run until it is told to stop
  sudo l7d agent --config /etc/l7d/l7d.yaml --background   take over from the agent that runs
  l7d agent --config l7d.yaml --check            read everything, start nothing
  sudo l7d agent --cleanup                       remove what an agent left in the kernel

Signals:
  TERM, INT  end: requests finish (proxy.drain, 5 s), connections that are open then are cut
  HUP        read the configuration and the policies anew
  USR2       end, and leave listeners and connections with the service manager for the agent that it
             starts next: FileDescriptorStoreMax=1 in the unit, as the packaged one has it")]
pub struct AgentArgs {
    /// Endpoints, watched ports, policies and listeners
    #[arg(long, value_name = "FILE", required_unless_present = "cleanup")]
    pub config: Option<PathBuf>,
    /// This node's name, whatever the configuration says; in a cluster the name of its Node object
    #[arg(long, value_name = "NAME", env = "NODE_NAME", hide_env_values = true)]
    pub node: Option<String>,
    /// Most series of metrics, whatever the configuration says; further ones are counted together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub max_series: Option<u64>,
    /// Memory of the process and its maps, whatever the configuration says (512MiB, 2GiB): what comes
    /// near it has the agent give up detail, never enforcement
    #[arg(long, value_name = "BYTES")]
    pub memory_budget: Option<Bytes>,
    /// Start the agent in the background, and return once it is ready: by then it has taken over from the
    /// one that ran before
    #[arg(long, conflicts_with_all = ["check", "cleanup"])]
    pub background: bool,
    /// What to do once another agent has taken over: one that is started while this one runs takes over
    /// its listeners, connections and kernel programs
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub when_replaced: WhenReplaced,
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
        (false, false) if args.background => return background::start(),
        (false, false) => Task::Run(Manner {
            when_replaced: args.when_replaced,
            is_awaited: std::env::var_os(background::AWAITED).is_some(),
        }),
    };
    let overrides = Overrides {
        node: args.node.clone().filter(|node| !node.is_empty()),
        max_series: args.max_series.and_then(|most| usize::try_from(most).ok()),
        memory_budget: args.memory_budget.map(|bytes| bytes.0),
    };
    agent::run(args.config.as_ref(), overrides, &task).map_err(|error| match error {
        agent::Error::Config(_) | agent::Error::Policies(_) => {
            Failure::failed("cannot start the agent", format!("\n{error}"))
                .advise("nothing was changed on this node")
        }
        error => Failure::failed("the agent has ended", error),
    })
}
