//! `cargo xtask bench`: one client pod, one server pod, and different things between them.
//!
//! All subjects do the same work in the same run: a load in the client pod, a server in the other,
//! one worker. Figures that machines disagree on least come first: CPU time of the proxy process
//! per request. Speeds are told, never asserted.

pub(crate) mod api;
pub(crate) mod cluster;
pub(crate) mod dns;
pub(crate) mod export;
mod figures;
pub(crate) mod grpc;
pub(crate) mod http2;
mod idle;
mod load;
pub(crate) mod policy;
pub(crate) mod records;
pub(crate) mod relay;
pub(crate) mod replay;
mod subject;
mod table;
pub(crate) mod tap;

use std::path::Path;

use testbed::{Attach, Pod, Process, World};

use crate::run::{cargo, run as succeed, say, workspace};
use crate::{ebpf, setup};
use subject::{Subject, Version};
use table::Row;

/// Where the kernel is told to count the time of its programs.
const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
const SECONDS: u32 = 6;
const CONNECTIONS: u32 = 64;
const SIZES: [(&str, usize); 3] = [("64 B", 64), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];

/// Runs all subjects over all sizes and writes `docs/bench-http1.md`.
pub(crate) fn http1() -> anyhow::Result<()> {
    let rows = measure_all(Version::Http1, &files(&SIZES, 1), load::run)?;
    let idle = idle::measure()?;
    publish("http1", &table::write(&rows, &idle)?)
}

/// Shows a result and keeps it for the README to quote.
fn publish(what: &str, text: &str) -> anyhow::Result<()> {
    print(text);
    keep(what, text)
}

fn keep(what: &str, text: &str) -> anyhow::Result<()> {
    let file = format!("docs/bench-{what}.md");
    Ok(std::fs::write(workspace().join(file), text)?)
}

/// What is asked for.
struct Cell {
    /// In the table.
    name: &'static str,
    /// Of a URL.
    path: String,
    /// At once on each connection.
    streams: u32,
}

fn files(sizes: &[(&'static str, usize)], streams: u32) -> Vec<Cell> {
    let cell = |(name, bytes): &(&'static str, usize)| Cell {
        name,
        path: format!("/path7/{bytes}"),
        streams,
    };
    sizes.iter().map(cell).collect()
}

/// Builds what is needed, and measures all subjects that speak a version.
fn measure_all(
    version: Version,
    cells: &[Cell],
    ask: impl Fn(&Stage, &Cell, u32) -> anyhow::Result<Report>,
) -> anyhow::Result<Vec<Row>> {
    prepare(version)?;
    let mut rows = Vec::new();
    for &subject in Subject::speaking(version) {
        rows.extend(measure(version, subject, cells, &ask)?);
    }
    Ok(rows)
}

/// Installs and builds what a bench needs.
fn prepare(version: Version) -> anyhow::Result<()> {
    setup::everything()?;
    setup::bench()?;
    ebpf::build()?;
    build_release(&["--package", "l7d"])?;
    match version {
        Version::Dns | Version::Http1 | Version::Http2 => Ok(()),
        Version::Grpc => build_release(&["--package", "testbed", "--example", "calls"]),
    }
}

fn build_release(what: &[&str]) -> anyhow::Result<()> {
    say(&format!("building for release: {}", what.join(" ")));
    succeed(&mut cargo(
        &[&["build", "--quiet", "--release"], what].concat(),
    ))
}

/// What a load tells of a run.
struct Report {
    requests: f64,
    times: [String; 2],
}

/// A subject between a client and a server, in a world of its own.
struct Stage {
    version: Version,
    subject: Subject,
    client: Pod,
    server: Pod,
    proxy: Option<Process>,
    _server: Process,
    world: World,
}

impl Stage {
    fn new(version: Version, subject: Subject) -> anyhow::Result<Self> {
        let mut world = World::new()?;
        let client = world.pod("client", Attach::Bridged)?;
        let server = world.pod("server", Attach::Bridged)?;
        let process = load::serve(version, &world, &server)?;
        let proxy = subject.start(version, &world, &[&client, &server])?;
        Ok(Self {
            version,
            subject,
            client,
            server,
            proxy,
            _server: process,
            world,
        })
    }

    fn url(&self, cell: &Cell) -> String {
        let [address, port] = self.address();
        format!("http://{address}:{port}{}", cell.path)
    }

    /// Where the client asks: address and port.
    fn address(&self) -> [String; 2] {
        self.subject.address(self.version, &self.server)
    }

    /// Process id of the proxy.
    fn pid(&self) -> Option<u32> {
        let proxy = self.proxy.as_ref();
        proxy.map(|proxy| figures::worker_pid(proxy.pid()))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.proxy = None;
        forget_pins(&self.world);
    }
}

/// A subject, asked for each cell by `ask` for so many seconds.
fn measure(
    version: Version,
    subject: Subject,
    cells: &[Cell],
    ask: impl Fn(&Stage, &Cell, u32) -> anyhow::Result<Report>,
) -> anyhow::Result<Vec<Row>> {
    say(&format!("measuring {}", subject.name()));
    let stage = Stage::new(version, subject)?;
    let pid = stage.pid();
    let mut rows = Vec::new();
    for cell in cells {
        ask(&stage, cell, 1)?;
        let before = pid.map_or(0.0, figures::cpu_seconds);
        let softirq_before = figures::softirq_seconds();
        let report = ask(&stage, cell, SECONDS)?;
        let used = pid.map_or(0.0, figures::cpu_seconds) - before;
        let softirq = figures::softirq_seconds() - softirq_before;
        rows.push(Row {
            subject,
            cell: cell.name,
            requests_per_second: report.requests / f64::from(SECONDS),
            times: report.times,
            cpu_us: per_request(used, report.requests),
            softirq_us: per_request(softirq, report.requests),
            rss_mib: pid.map_or(0.0, figures::rss_mib),
        });
    }
    Ok(rows)
}

/// Microseconds.
fn per_request(seconds: f64, requests: f64) -> f64 {
    if requests > 0.0 {
        seconds * 1e6 / requests
    } else {
        0.0
    }
}

/// Pins outlive their agent on purpose; other subjects have none.
fn forget_pins(world: &World) {
    if let Some(name) = world.folder().file_name() {
        let _gone = std::fs::remove_dir_all(Path::new("/sys/fs/bpf").join(name));
    }
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print(text: &str) {
    println!("{text}");
}
