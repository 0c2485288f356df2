//! `cargo xtask bench http2`: the same work over HTTP/2, many streams on few connections.

use anyhow::Context as _;

use super::subject::Version;
use super::table::{self, Row};
use super::{Cell, Report, SECONDS, Stage, files, measure_all, publish};

const CONNECTIONS: u32 = 16;
const STREAMS: u32 = 16;
const SIZES: [(&str, usize); 2] = [("64 B", 64), ("16 KiB", 16 << 10)];

/// Runs all subjects over all sizes and writes `docs/bench-http2.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    let rows = measure_all(Version::Http2, &files(&SIZES, STREAMS), ask)?;
    publish("http2", &write(&rows)?)
}

/// Lets h2load ask for a while; anything but 2xx is a fault.
fn ask(stage: &Stage, cell: &Cell, seconds: u32) -> anyhow::Result<Report> {
    let [duration, connections, streams] =
        [seconds, CONNECTIONS, cell.streams].map(|number| number.to_string());
    let words = [
        "h2load",
        "-t1",
        "-c",
        &connections,
        "-m",
        &streams,
        "-D",
        &duration,
        &stage.url(cell),
    ];
    let output = stage.client.host.output(&words)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `status codes: 300 2xx, 0 3xx, 0 4xx, 0 5xx`
    let codes = text
        .lines()
        .find_map(|line| line.strip_prefix("status codes: "))
        .with_context(|| format!("h2load told no status codes:\n{text}"))?;
    let counts: Vec<f64> = codes
        .split(", ")
        .filter_map(|count| count.split_whitespace().next()?.parse().ok())
        .collect();
    let [good, others @ ..] = &*counts else {
        anyhow::bail!("h2load told no status codes:\n{text}");
    };
    anyhow::ensure!(
        *good > 0.0 && others.iter().all(|count| *count == 0.0),
        "h2load got errors:\n{text}"
    );
    let times = text
        .lines()
        .find_map(|line| line.strip_prefix("time for request:"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let times = match times.as_deref() {
        Some([_least, greatest, mean, ..]) => [*mean, *greatest],
        Some(_) | None => ["-", "-"],
    };
    let times = times.map(str::to_owned);
    Ok(Report {
        requests: *good,
        times,
    })
}

fn write(rows: &[Row]) -> anyhow::Result<String> {
    let mut text = format!(
        "# HTTP/2 through one worker\n\nWritten by `cargo xtask bench http2`: h2load ({CONNECTIONS} connections \
         with {STREAMS} streams each, {SECONDS} s a cell) in one pod, nginx in another, on one node; HTTP/2 on both \
         sides of every proxy. CPU is user and system time of the proxy process; softirq is that of the whole \
         machine, client and server included, so that a row is to be compared with `direct`. Every proxy judges the \
         path by a hundred rules (nghttpx by prefixes) and logs each request; l7d keeps two flows of it instead, of \
         the request and of its answer. HAProxy, nghttpx and Envoy are asked openly and gather what comes by many \
         connections on few to the server; through l7d the client asks the server, which sees the client's own \
         connections.\n\n\
         | body | through | requests/s | of direct | mean | max | CPU per request | against HAProxy | softirq per request | RSS |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    table::add(rows, &mut text)?;
    Ok(text)
}
