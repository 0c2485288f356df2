//! `l7d policy`: policies, before they are put into force and when nobody understands them.

mod ends;
mod explain;

use clap::Subcommand;

pub use explain::ExplainArgs;

use super::failure::Failure;

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Say what policies make of one connection or request, and why
    Explain(Box<ExplainArgs>),
}

/// Runs the command.
pub fn run(policy: &Policy) -> Result<(), Failure> {
    let Policy::Explain(args) = policy;
    explain::run(args)
}
