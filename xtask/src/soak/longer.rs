//! Tests of the suite that take how much they do from the environment, with more to do.

use crate::run::{cargo, run as succeed, workspace};
use crate::{ebpf, setup};

use super::Run;

/// An agent that is replaced twenty times while a thousand connections talk.
pub(super) fn takeovers(_run: &Run) -> anyhow::Result<()> {
    setup::everything()?;
    ebpf::build()?;
    let words = ["--test", "agent", "an_agent_is_replaced_at_noon"];
    with_more(
        &words,
        &[
            ("L7D_TEST_TAKEOVERS", "20"),
            ("L7D_TEST_TAKEOVER_CONNECTIONS", "1000"),
        ],
    )
}

/// An agent that is killed twenty times under load, and one that runs out of memory as often.
pub(super) fn crashes(_run: &Run) -> anyhow::Result<()> {
    setup::everything()?;
    ebpf::build()?;
    let words = ["--test", "agent", "crashes::"];
    with_more(&words, &[("L7D_TEST_CRASHES", "20")])
}

/// Disks that fill up, and disks that do not answer, ten times each.
pub(super) fn disks(_run: &Run) -> anyhow::Result<()> {
    setup::everything()?;
    ebpf::build()?;
    let words = ["--test", "agent", "cluster::disks::"];
    with_more(&words, &[("L7D_TEST_DISKS", "10")])
}

/// Ten thousand policy changes under load.
pub(super) fn policies(_run: &Run) -> anyhow::Result<()> {
    let words = ["--test", "proxy", "each_request_meets_the_policy"];
    with_more(&words, &[("L7D_TEST_POLICY_CHANGES", "10000")])
}

fn with_more(words: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let words = [&["test", "--package", "l7d"], words, &["--", "--nocapture"]].concat();
    let mut command = cargo(&words);
    command.envs(environment.iter().copied());
    succeed(command.current_dir(workspace()))
}
