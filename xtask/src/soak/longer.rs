//! Tests of the suite that take how much they do from the environment, with more to do.

use crate::run::{cargo, run as succeed, workspace};
use crate::{ebpf, setup};

use super::Run;

/// An agent that is replaced twenty times while a thousand connections talk.
pub(super) fn takeovers(_run: &Run) -> anyhow::Result<()> {
    let more = [
        ("L7D_TEST_TAKEOVERS", "20"),
        ("L7D_TEST_TAKEOVER_CONNECTIONS", "1000"),
    ];
    with_more("agent", "an_agent_is_replaced_at_noon", &more)
}

/// A service that is reloaded and restarted ten times each while three hundred connections talk.
pub(super) fn restarts(_run: &Run) -> anyhow::Result<()> {
    let more = [
        ("L7D_TEST_RESTARTS", "10"),
        ("L7D_TEST_TAKEOVER_CONNECTIONS", "300"),
    ];
    with_more("agent", "systemd::", &more)
}

/// An agent that is killed twenty times under load, and one that runs out of memory as often.
pub(super) fn crashes(_run: &Run) -> anyhow::Result<()> {
    with_more("agent", "crashes::", &[("L7D_TEST_CRASHES", "20")])
}

/// Disks that fill up, and disks that do not answer, ten times each.
pub(super) fn disks(_run: &Run) -> anyhow::Result<()> {
    with_more("agent", "cluster::disks::", &[("L7D_TEST_DISKS", "10")])
}

/// Ten thousand policy changes under load.
pub(super) fn policies(_run: &Run) -> anyhow::Result<()> {
    let more = [("L7D_TEST_POLICY_CHANGES", "10000")];
    with_more("proxy", "each_request_meets_the_policy", &more)
}

/// Runs tests of a file of tests.
fn with_more(file: &str, tests: &str, more: &[(&str, &str)]) -> anyhow::Result<()> {
    setup::everything()?;
    ebpf::build()?;
    let mut command = cargo(&["test", "--package", "l7d", "--test", file, tests]);
    command.args(["--", "--nocapture"]);
    command.envs(more.iter().copied());
    succeed(command.current_dir(workspace()))
}
