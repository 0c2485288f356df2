//! `l7d policy`: policies, before they are put into force and when nobody understands them.

mod check;
mod ends;
mod explain;

use clap::Subcommand;

pub use check::CheckArgs;
pub use explain::ExplainArgs;

use super::failure::Failure;

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Find what is wrong in policies, or probably is
    Check(CheckArgs),
    /// Say what policies make of one connection or request, and why
    Explain(Box<ExplainArgs>),
}

/// Runs the command.
pub fn run(policy: &Policy) -> Result<(), Failure> {
    match policy {
        Policy::Check(args) => check::run(args),
        Policy::Explain(args) => explain::run(args),
    }
}
