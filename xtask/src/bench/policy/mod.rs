//! `cargo xtask bench policy`: what policies cost where requests are judged.

mod verdicts;

/// Measures and writes `docs/bench-policy.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut text = String::from(
        "# Policies\n\nWritten by `cargo xtask bench policy`, on one thread, without anything else of l7d.\n",
    );
    verdicts::measure(&mut text)?;
    super::publish("policy", &text)
}
