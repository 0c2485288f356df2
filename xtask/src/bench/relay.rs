//! `cargo xtask bench relay`: a hundred agents behind one relay.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::build_release;
use crate::run::{say, target};
use crate::{ebpf, setup};

/// Measures and writes `docs/bench-relay.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::everything()?;
    ebpf::build()?;
    build_release(&[
        "--package",
        "l7d",
        "--bin",
        "l7d",
        "--example",
        "relay_load",
    ])?;
    say("measuring the relay");
    let output = Command::new(target().join("release/examples/relay_load"))
        .arg(target().join("release/l7d"))
        .output()?;
    ensure!(
        output.status.success(),
        "the example has failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    super::publish("relay", &table(&serde_json::from_slice(&output.stdout)?)?)
}

fn table(figures: &Value) -> anyhow::Result<String> {
    let number = |name: &str| {
        let value = figures.get(name).and_then(Value::as_u64);
        value.context(name.to_owned())
    };
    let mut text = format!(
        "# A hundred agents behind one relay\n\nWritten by `cargo xtask bench relay`: {} simulated agents on unix \
         sockets, {} flows a second in all, flows of {} bytes, one client that follows them for {} s and looks at the \
         order; agents and client are another process on the same machine. CPU is user and system time of the \
         relay's process. The delay is from a flow's time to the client; where agents tell of flows one by one, each \
         is a frame and a system call of its own.\n\n\
         | flows | flows/s | cores | CPU per flow | out of order | delay p50 | p99 | peak RSS |\n\
         |---|---|---|---|---|---|---|---|\n",
        number("agents")?,
        number("rate")?,
        number("flow_bytes")?,
        number("seconds")?,
    );
    let live = figures.get("live").and_then(Value::as_array);
    for cell in live.context("live")? {
        let burst = cell.get("burst").and_then(Value::as_u64).context("burst")?;
        let name = match burst {
            1 => "as they happen, one by one".to_owned(),
            burst => format!("as they happen, {burst} at a time"),
        };
        let figures = cell.get("figures").context("figures")?;
        row(&mut text, &name, figures, &delays(figures)?)?;
    }
    let past = figures.get("past").context("past")?;
    let none = ["-".to_owned(), "-".to_owned()];
    row(&mut text, "a million of the past, at once", past, &none)?;
    Ok(text)
}

fn delays(figures: &Value) -> anyhow::Result<[String; 2]> {
    let delays = figures.get("delay_ms").and_then(Value::as_array);
    let [median, most] = delays.context("delay_ms")?.as_slice() else {
        anyhow::bail!("two delays");
    };
    let shown = |delay: &Value| format!("{:.0} ms", delay.as_f64().unwrap_or_default());
    Ok([shown(median), shown(most)])
}

fn row(text: &mut String, name: &str, figures: &Value, delays: &[String; 2]) -> anyhow::Result<()> {
    let number = |name: &str| {
        let value = figures.get(name).and_then(Value::as_f64);
        value.context(name.to_owned())
    };
    let [median, most] = delays;
    writeln!(
        text,
        "| {name} | {:.0} | {:.2} | {:.2} µs | {:.0} | {median} | {most} | {:.0} MiB |",
        number("flows_per_second")?,
        number("cores")?,
        number("cpu_us_per_flow")?,
        number("out_of_order")?,
        number("peak_mib")?,
    )?;
    Ok(())
}
