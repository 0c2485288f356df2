//! `cargo xtask bench cluster`: what it takes to follow a cluster.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::build_release;
use crate::run::{say, target};

/// Measures and writes `docs/bench-cluster.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    build_release(&["--package", "l7d", "--example", "cluster_scale"])?;
    say("following clusters");
    let output = Command::new(target().join("release/examples/cluster_scale")).output()?;
    ensure!(
        output.status.success(),
        "the example has failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let figures: Value = serde_json::from_slice(&output.stdout)?;
    super::publish("cluster", &table(&figures)?)
}

fn table(figures: &Value) -> anyhow::Result<String> {
    let mut text = String::from(
        "# Following a cluster\n\nWritten by `cargo xtask bench cluster`: the API server of the tests in a process of \
         its own; in another one what an agent has for a cluster, the follower and the inventory, without \
         what it tells the kernel. First all pods are listed, then a hundred a second come and go. Lag is the \
         time from a pod's coming into being at the server until the inventory knows it; memory is all of the \
         process, as the kernel counts it, at its most. CPU and memory are what machines agree on; times tell \
         how busy this one was as well.\n\n\
         | pods | bytes of JSON each | list | CPU of the list | memory | changes a second | lag p50 | p99 | most | CPU of a second | memory behind them |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for case in figures.as_array().context("cases")? {
        let number = |at: &str| {
            case.pointer(at)
                .and_then(Value::as_f64)
                .context(at.to_owned())
        };
        writeln!(
            text,
            "| {} | {} | {:.1} s | {:.1} s | {:.0} MiB | {} | {:.1} ms | {:.1} ms | {:.0} ms | {:.1} % | {:.0} MiB |",
            number("/pods")?,
            number("/bytes_per_pod")?,
            number("/listed/seconds")?,
            number("/listed/cpu")?,
            number("/listed/peak_kib")? / 1024.0,
            number("/rate")?,
            number("/churn/lag_p50_ns")? / 1e6,
            number("/churn/lag_p99_ns")? / 1e6,
            number("/churn/lag_max_ns")? / 1e6,
            100.0 * number("/churn/cpu")? / number("/churn/seconds")?,
            number("/churn/peak_kib")? / 1024.0,
        )?;
    }
    Ok(text)
}
