//! `l7d policy`: policies, before they are put into force and when nobody understands them.

mod answer;
mod audit_report;
mod changes;
mod check;
mod ends;
mod explain;
mod replay;
pub(super) mod sources;
mod suggestion;
mod test;
mod world;

use clap::Subcommand;

pub use audit_report::AuditReportArgs;
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
    /// Tell which audited policies have had nothing to deny, and what the others would have denied
    AuditReport(Box<AuditReportArgs>),
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
        Policy::AuditReport(args) => super::block_on(audit_report::run(args)),
        Policy::Check(args) => check::run(args),
        Policy::Explain(args) => explain::run(args),
        Policy::Replay(args) => replay::run(args),
        Policy::Suggest(args) => suggestion::run(args),
        Policy::Test(args) => test::run(args),
    }
}
