//! `l7d policy`: policies, before they are put into force and when nobody understands them.

mod answer;
mod changes;
mod check;
mod ends;
mod explain;
mod replay;
mod sources;
mod suggestion;
mod test;

use clap::Subcommand;

pub use check::CheckArgs;
pub use explain::ExplainArgs;
pub use replay::ReplayArgs;
pub use sources::SourceFlags;
pub use suggestion::SuggestArgs;
pub use test::TestArgs;

use super::failure::Failure;

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Find what is wrong in policies, or probably is
    Check(CheckArgs),
    /// Say what policies make of one connection or request, and why
    Explain(Box<ExplainArgs>),
    /// Show which flows that were seen would change their verdict
    Replay(Box<ReplayArgs>),
    /// Write the least policies that allow what was seen
    Suggest(Box<SuggestArgs>),
    /// Run cases with expected verdicts
    Test(TestArgs),
}

/// Runs the command.
pub fn run(policy: &Policy) -> Result<(), Failure> {
    match policy {
        Policy::Check(args) => check::run(args),
        Policy::Explain(args) => explain::run(args),
        Policy::Replay(args) => replay::run(args),
        Policy::Suggest(args) => suggestion::run(args),
        Policy::Test(args) => test::run(args),
    }
}
