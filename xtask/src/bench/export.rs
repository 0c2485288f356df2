//! `cargo xtask bench export`: what it costs to export flows.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::build_release;
use crate::run::{say, target};

/// Forms of export, as the example names them and as readers do.
const FORMS: [(&str, &str); 7] = [
    ("lines", "lines of JSON to a file"),
    ("compressed", "the same, former files compressed beside it"),
    ("masked", "lines with 5 fields"),
    ("grouped", "equal flows become one line"),
    ("filtered", "none passes the filter"),
    ("logs", "OTLP log records"),
    ("spans", "OTLP spans, of every second flow"),
];

/// What Hubble's exporter needs for the same flow. Measured apart, since it takes Go to build it.
const HUBBLE: &str = "What Hubble 1.19.4 does of each flow in its exporter (Go's `json.Encoder` with `protojson`, \
    straight into a file) took 22 to 24 µs of CPU on the same machine, without the fields that are l7d's own.";

/// Measures and writes `docs/bench-export.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    build_release(&["--package", "l7d", "--example", "export_speed"])?;
    say("exporting");
    let output = Command::new(target().join("release/examples/export_speed")).output()?;
    ensure!(
        output.status.success(),
        "the example has failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let figures: Value = serde_json::from_slice(&output.stdout)?;
    super::publish("export", &table(&figures)?)
}

fn table(figures: &Value) -> anyhow::Result<String> {
    let flows = figures.get("flows").and_then(Value::as_u64);
    let mut text = format!(
        "# Exports\n\nWritten by `cargo xtask bench export`: {} requests and responses, the best of 5 rounds. CPU is \
         that of the export's own thread, everything from the flow ring to the system call in it; the \
         collector is one in the same process that reads what it gets and throws it away. {HUBBLE}\n\n\
         | form | CPU per flow | flows per second of CPU | flows per second | bytes per flow |\n\
         |---|---|---|---|---|\n",
        flows.context("flows")?
    );
    for (name, told) in FORMS {
        let form = figures.get(name).context(name)?;
        let number = |field: &str| form.get(field).and_then(Value::as_f64).context(name);
        writeln!(
            text,
            "| {told} | {:.2} µs | {} | {} | {} |",
            number("cpu_ns")? / 1000.0,
            number("per_second_of_cpu")?,
            number("per_second")?,
            number("bytes")?
        )?;
    }
    Ok(text)
}
