//! The command line: arguments → command → exit code.
//!
//! One file or folder per command. Commands that ask a server share [`server`] (which one, and how
//! to reach it) and [`failure`] (what went wrong, what to do, which exit code).

pub mod agent;
mod agent_status;
mod background;
mod candidate;
pub mod completion;
pub mod config;
pub mod doctor;
pub mod failure;
pub mod fqdn;
mod intake;
pub mod list;
pub mod man;
pub mod map;
pub mod matcher;
pub mod observe;
pub mod paths;
pub mod policy;
mod recorded;
pub mod relay;
pub mod replay;
pub mod server;
mod settings;
pub mod status;
mod suggest;
pub mod trace;
pub mod ui;
pub mod watch;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use proto::observer::observer_client::ObserverClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tracing_subscriber::EnvFilter;

use failure::Failure;
use observe::args::Color;

/// A client of the Observer service that sends credentials where there are some.
pub(crate) type Observer = ObserverClient<InterceptedService<Channel, server::Credentials>>;

const EXAMPLES: &str = "\
Examples:
  l7d observe -f                         what happens on this node, now
  l7d observe --verdict DROPPED --last 5 what did not get through
  l7d trace shop/web --failed            why its connections fail, one by one
  l7d map                                who talks to whom, and what fails
  l7d ui                                 the same and more in a browser
  l7d status                             whether the agent is well
  sudo l7d doctor                        what of l7d works on this machine, and what does not
  sudo l7d agent --config l7d.yaml       run the agent

Exit codes: 0 done, 1 it did not work, 2 the command line makes no sense.";

/// Why did this request, or this packet, not get through?
///
/// l7d shows the network traffic of a Kubernetes node or a plain Linux host: packets, connections
/// and HTTP requests, with the verdict of each and the policy that decided it.
#[derive(Debug, Parser)]
#[command(name = "l7d", version, after_help = EXAMPLES, propagate_version = false)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Tell what is being done, on standard error
    #[arg(short = 'D', long, global = true, help_heading = "Global")]
    pub debug: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch flows: who talked to whom, how, and what became of it
    Observe(Box<observe::Observe>),
    /// Show what became of connections: each a story, from its first packet to its last
    Trace(Box<trace::TraceArgs>),
    /// Show who talks to whom, how much, how fast, and what fails
    Map(Box<map::MapArgs>),
    /// Serve a web page with the map, the flows, and what each of them means
    Ui(Box<ui::UiArgs>),
    /// Show what is in a capture, as if it happened now
    Replay(Box<replay::ReplayArgs>),
    /// Show whether a server is well and what it holds
    Status(Box<status::StatusArgs>),
    /// List nodes or namespaces
    #[command(subcommand)]
    List(list::List),
    /// Show the templates of paths, or of those that were asked for
    Paths(Box<paths::PathsArgs>),
    /// Understand policies
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Show what DNS has told the endpoints of a node
    #[command(subcommand)]
    Fqdn(fqdn::Fqdn),
    /// Watch something else than flows
    #[command(subcommand, visible_alias = "w")]
    Watch(watch::Watch),
    /// Run the agent of this node
    Agent(agent::AgentArgs),
    /// Look at this machine: what of l7d works here, what does not, why, and what to do
    Doctor(doctor::DoctorArgs),
    /// Answer for the agents of all nodes at once
    Relay(Box<relay::RelayArgs>),
    /// Show or change what is settled for all commands that ask a server
    #[command(subcommand)]
    Config(config::Config),
    /// Write a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Write manual pages
    Man(man::ManArgs),
    /// Show the version
    Version,
}

/// Runs a command line (the first argument is the program's name), to its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Asking for help is no error; clap knows which stream it goes to.
            let written = error.print();
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return if written.is_ok() {
                ExitCode::from(code)
            } else {
                ExitCode::FAILURE
            };
        }
    };
    let is_client = !matches!(cli.command, Command::Agent(_));
    log(cli.debug || (is_client && settings::is_debug(|name| std::env::var(name).ok())));
    match execute(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_silent() && !cli.command.is_silent() {
                // Nothing is left to tell when standard error is gone as well.
                let _gone = io::stderr().lock().write_all(failure.message().as_bytes());
            }
            failure.exit_code()
        }
    }
}

fn execute(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Observe(args) => block_on(observe::run(args, cli.debug)),
        Command::Trace(args) => trace::run(args),
        Command::Map(args) => map::run(args),
        Command::Ui(args) => block_on(ui::run(args)),
        Command::Replay(args) => replay::run(args),
        Command::Status(args) => block_on(status::run(args)),
        Command::List(args) => block_on(list::run(args)),
        Command::Paths(args) => paths::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Fqdn(args) => block_on(fqdn::run(args)),
        Command::Watch(args) => block_on(watch::run(args)),
        Command::Agent(args) => agent::run(args),
        Command::Doctor(args) => block_on(doctor::run(args)),
        Command::Relay(args) => block_on(relay::run(args)),
        Command::Config(args) => config::run(args),
        Command::Completion(args) => completion::run(args, &mut Cli::command()),
        Command::Man(args) => man::run(args, Cli::command()),
        Command::Version => {
            writeln!(io::stdout().lock(), "l7d {}", env!("CARGO_PKG_VERSION"))?;
            Ok(())
        }
    }
}

impl Command {
    /// Whether errors are to be kept quiet.
    fn is_silent(&self) -> bool {
        match self {
            Self::Observe(args) => match &args.events {
                None => args.flows.silent_errors,
                Some(observe::ObserveEvents::Flows(args)) => args.silent_errors,
                Some(
                    observe::ObserveEvents::AgentEvents(args)
                    | observe::ObserveEvents::DebugEvents(args),
                ) => args.silent_errors,
            },
            _ => false,
        }
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start", error))?
        .block_on(work)
}

/// Messages go to standard error; `RUST_LOG` says more precisely which.
fn log(debug: bool) {
    let level = if debug { "l7d=debug" } else { "l7d=info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new(level));
    let color = Color::Auto.is_on(io::stderr().is_terminal(), |name| std::env::var(name).ok());
    // A second command line in one process (a test) keeps the first one's.
    let _already_set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(color)
        .with_writer(io::stderr)
        .with_target(false)
        .try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defines_a_command_line_without_contradictions() {
        Cli::command().debug_assert();
    }
}
