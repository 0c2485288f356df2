//! `cargo xtask bench http2`: the same work over HTTP/2, many streams on few connections.

use std::fmt::Write as _;

use anyhow::Context as _;
use testbed::{Attach, Pod, World};

use super::subject::{Subject, Version};
use super::{build_release, figures, forget_pins, load, per_request, print};
use crate::run::{say, workspace};
use crate::{ebpf, setup};

const SECONDS: u32 = 6;
const CONNECTIONS: u32 = 16;
const STREAMS: u32 = 16;
const SIZES: [(&str, usize); 2] = [("64 B", 64), ("16 KiB", 16 << 10)];

struct Row {
    subject: &'static str,
    size: &'static str,
    requests_per_second: f64,
    /// Mean and greatest time for a request, as h2load writes them.
    times: String,
    cpu_us: f64,
    softirq_us: f64,
    rss_mib: f64,
}

/// Runs all subjects over all sizes and writes `docs/bench-http2.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::everything()?;
    setup::bench()?;
    ebpf::build()?;
    build_release()?;
    let mut rows = Vec::new();
    for subject in Subject::speaking(Version::Http2) {
        rows.extend(measure(subject)?);
    }
    let table = write(&rows)?;
    print(&table);
    std::fs::write(workspace().join("docs/bench-http2.md"), table)?;
    Ok(())
}

fn measure(subject: Subject) -> anyhow::Result<Vec<Row>> {
    say(&format!("measuring {}", subject.name()));
    let mut world = World::new()?;
    let client = world.pod("client", Attach::Bridged)?;
    let server = world.pod("server", Attach::Bridged)?;
    let _nginx = load::serve(Version::Http2, &world, &server)?;
    let proxy = subject.start(Version::Http2, &world, &[&client, &server])?;
    let address = subject.address(&server);
    let pid = proxy.as_ref().map(|proxy| figures::worker_pid(proxy.pid()));
    let mut rows = Vec::new();
    for (size, bytes) in SIZES {
        let url = format!("http://{address}/path7/{bytes}");
        ask(&client, &url, 1)?;
        let before = pid.map_or(0.0, figures::cpu_seconds);
        let softirq_before = figures::softirq_seconds();
        let report = ask(&client, &url, SECONDS)?;
        let used = pid.map_or(0.0, figures::cpu_seconds) - before;
        let softirq = figures::softirq_seconds() - softirq_before;
        rows.push(Row {
            subject: subject.name(),
            size,
            requests_per_second: report.requests / f64::from(SECONDS),
            times: report.times,
            cpu_us: per_request(used, report.requests),
            softirq_us: per_request(softirq, report.requests),
            rss_mib: pid.map_or(0.0, figures::rss_mib),
        });
    }
    drop(proxy);
    forget_pins(&world);
    Ok(rows)
}

struct Report {
    requests: f64,
    times: String,
}

/// Lets h2load ask for a while; anything but 2xx is a fault.
fn ask(client: &Pod, url: &str, seconds: u32) -> anyhow::Result<Report> {
    let [duration, connections, streams] =
        [seconds, CONNECTIONS, STREAMS].map(|number| number.to_string());
    let words = [
        "h2load",
        "-t1",
        "-c",
        &connections,
        "-m",
        &streams,
        "-D",
        &duration,
        url,
    ];
    let output = client.host.output(&words)?;
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
        Some([_least, greatest, mean, ..]) => format!("{mean} | {greatest}"),
        Some(_) | None => "- | -".to_owned(),
    };
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
         | body | through | requests/s | mean | max | CPU per request | against HAProxy | softirq per request | RSS |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let peer = rows
            .iter()
            .find(|peer| peer.subject.starts_with("HAProxy") && peer.size == row.size);
        let ratio = match peer {
            Some(peer) if peer.cpu_us > 0.0 && row.cpu_us > 0.0 => {
                format!("{:.2}", row.cpu_us / peer.cpu_us)
            }
            Some(_) | None => "-".to_owned(),
        };
        writeln!(
            text,
            "| {} | {} | {:.0} | {} | {:.1} µs | {ratio} | {:.1} µs | {:.1} MiB |",
            row.size,
            row.subject,
            row.requests_per_second,
            row.times,
            row.cpu_us,
            row.softirq_us,
            row.rss_mib
        )?;
    }
    Ok(text)
}
