//! The fuzzing of the kernel programs for longer than tests take.

use super::Run;
use crate::run::{cargo, run as succeed};
use crate::{ebpf, setup};

/// Runs the same test as `cargo xtask test`, with another beginning and a time of its own.
pub(super) fn run(run: &Run) -> anyhow::Result<()> {
    setup::toolchain()?;
    ebpf::build()?;
    succeed(
        cargo(&[
            "test",
            "--quiet",
            "--release",
            "--package",
            "l7d",
            "--test",
            "packets",
        ])
        .args(["--", "--nocapture", "--test-threads", "1", "drawn"])
        .env("L7D_SOAK_SECONDS", run.time.as_secs().to_string())
        .env("L7D_SOAK_SEED", run.seed.to_string()),
    )
}
