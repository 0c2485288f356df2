//! `cargo xtask bench policy`: what policies cost where requests and connections are judged, and what
//! it costs that they change.

mod kernel;
mod scale;
mod verdicts;

/// Measures and writes `docs/bench-policy.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    super::prepare(super::Version::Dns)?;
    let mut text = String::from("# Policies\n\nWritten by `cargo xtask bench policy`.\n");
    verdicts::measure(&mut text)?;
    kernel::measure(&mut text)?;
    scale::measure(&mut text)?;
    super::publish("policy", &text)
}
