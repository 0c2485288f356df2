//! `cargo xtask bench policy`: what policies cost where requests and connections are judged, and what
//! it costs that they change.

mod kernel;
mod scale;
mod verdicts;

use super::build_release;
use crate::{ebpf, setup};

/// Measures and writes `docs/bench-policy.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::everything()?;
    ebpf::build()?;
    build_release(&["--package", "l7d"])?;
    let mut text = String::from("# Policies\n\nWritten by `cargo xtask bench policy`.\n");
    verdicts::measure(&mut text)?;
    kernel::measure(&mut text)?;
    scale::measure(&mut text)?;
    super::publish("policy", &text)
}
