//! `cargo xtask bench cluster`: what it takes to follow a cluster.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::build_release;
use crate::run::{say, target};
use crate::{ebpf, setup};

const INTRODUCTION: &str = "# Following a cluster\n\nWritten by `cargo xtask bench cluster`: the API server of the tests in a process of \
     its own; in another one what an agent has for a cluster, the follower and the inventory, without \
     what it tells the kernel. First all pods are listed, then a hundred a second come and go. Lag is the \
     time from a pod's coming into being at the server until the inventory knows it; memory is all of the \
     process, as the kernel counts it, at its most. CPU and memory are what machines agree on; times tell \
     how busy this one was as well.\n\n\
     | pods | bytes of JSON each | list | CPU of the list | memory | changes a second | lag p50 | p99 | most | CPU of a second | memory behind them |\n\
     |---|---|---|---|---|---|---|---|---|---|---|\n";

const AGENT: &str = "\n## The whole agent\n\nAn agent on a node of its own, with the kernel's programs and maps, \
     and the same server. Two of the cluster's pods are here, the others on other nodes, of which a hundred \
     a second come and go where that is said. Datagrams are sent five times in a millisecond, and the first \
     that meets another fate ends the time, which begins when the server is told:\n\n\
     - *new pod*: a pod of this node gets its address; its packets leave until they are denied by its policy \
     (`policies.newPods: open`). Its interface was there before, unhooked.\n\
     - *new peer*: a pod of another node gets its address; its packets are refused here until it is known as \
     one that a policy lets in.\n\n";

/// Measures and writes `docs/bench-cluster.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::everything()?;
    ebpf::build()?;
    build_release(&[
        "--package",
        "l7d",
        "--bin",
        "l7d",
        "--example",
        "cluster_scale",
    ])?;
    let binary = target().join("release/l7d").display().to_string();
    say("a whole agent in a cluster");
    let agent = figures(&["agent", &binary])?;
    say("following clusters");
    let following = figures(&[])?;
    let text = INTRODUCTION.to_owned() + &table(&following)? + AGENT + &of_agent(&agent)?;
    super::publish("cluster", &text)
}

/// What the example prints.
fn figures(arguments: &[&str]) -> anyhow::Result<Value> {
    let program = target().join("release/examples/cluster_scale");
    let output = Command::new(program).args(arguments).output()?;
    ensure!(
        output.status.success(),
        "the example has failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn number(of: &Value, at: &str) -> anyhow::Result<f64> {
    let number = of.pointer(at).and_then(Value::as_f64);
    number.with_context(|| format!("{at} in {of}"))
}

fn of_agent(figures: &Value) -> anyhow::Result<String> {
    let mib = |at: &str| anyhow::Ok(number(figures, at)? / 1024.0);
    let pods = number(figures, "/pods")?;
    let mut text = String::from(
        "| | times | new pod p50 | p99 | most | new peer p50 | p99 | most | CPU of a second |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, at) in [("quiet", "/quiet"), ("100 changes a second", "/busy")] {
        let ms = |what: &str| anyhow::Ok(number(figures, &format!("{at}{what}"))? / 1e6);
        writeln!(
            text,
            "| {name} | {} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} % |",
            number(figures, &format!("{at}/new_pod/times"))?,
            ms("/new_pod/p50_ns")?,
            ms("/new_pod/p99_ns")?,
            ms("/new_pod/max_ns")?,
            ms("/new_peer/p50_ns")?,
            ms("/new_peer/p99_ns")?,
            ms("/new_peer/max_ns")?,
            100.0 * number(figures, &format!("{at}/cpu"))?,
        )?;
    }
    let (alone, filled) = (mib("/alone/kib")?, mib("/filled/kib")?);
    writeln!(
        text,
        "\nMemory of the agent's process: {alone:.1} MiB with two pods, {filled:.1} MiB with {pods} more, which \
         is {:.1} MiB for these (at its most while they were listed: {:.1} MiB), {:.1} MiB behind all changes. \
         The kernel's maps: {:.1} MiB, and {:.1} MiB with them.",
        filled - alone,
        mib("/filled/peak_kib")?,
        mib("/behind/kib")?,
        mib("/alone/maps_kib")?,
        mib("/filled/maps_kib")?,
    )?;
    Ok(text)
}

fn table(figures: &Value) -> anyhow::Result<String> {
    let mut text = String::new();
    for case in figures.as_array().context("cases")? {
        let number = |at: &str| number(case, at);
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
