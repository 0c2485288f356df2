//! `cargo xtask bench http1`: one client pod, one server pod, and different things between them.
//!
//! All subjects do the same work in the same run: wrk in the client pod, nginx in the server pod,
//! one worker. Figures that machines disagree on least come first: CPU time of the proxy process
//! per request. Speeds are told, never asserted.

mod figures;
pub(crate) mod http2;
mod idle;
mod load;
pub(crate) mod replay;
mod subject;
mod table;

use std::path::Path;

use testbed::{Attach, Pod, World};

use crate::run::{cargo, run as succeed, say, workspace};
use crate::{ebpf, setup};
use subject::{Subject, Version};
use table::Row;

const SECONDS: u32 = 6;
const CONNECTIONS: u32 = 64;
const SIZES: [(&str, usize); 3] = [("64 B", 64), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];

/// Runs all subjects over all sizes and writes `docs/bench-http1.md`.
pub(crate) fn http1() -> anyhow::Result<()> {
    let rows = measure_all(Version::Http1, &SIZES, |client, url, seconds| {
        load::run(client, url, seconds)
    })?;
    let idle = idle::measure()?;
    let table = table::write(&rows, &idle)?;
    print(&table);
    std::fs::write(workspace().join("docs/bench-http1.md"), table)?;
    Ok(())
}

/// Builds what is needed, and measures all subjects that speak a version.
fn measure_all(
    version: Version,
    sizes: &[(&'static str, usize)],
    ask: impl Fn(&Pod, &str, u32) -> anyhow::Result<Report>,
) -> anyhow::Result<Vec<Row>> {
    setup::everything()?;
    setup::bench()?;
    ebpf::build()?;
    build_release()?;
    let mut rows = Vec::new();
    for subject in Subject::speaking(version) {
        rows.extend(measure(version, subject, sizes, &ask)?);
    }
    Ok(rows)
}

fn build_release() -> anyhow::Result<()> {
    say("building l7d (release)");
    succeed(&mut cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "l7d",
    ]))
}

/// What a load tells of a run.
struct Report {
    requests: f64,
    times: [String; 2],
}

/// A subject in a world of its own, asked for each size by `ask`: a pod, a URL, and seconds.
fn measure(
    version: Version,
    subject: Subject,
    sizes: &[(&'static str, usize)],
    ask: impl Fn(&Pod, &str, u32) -> anyhow::Result<Report>,
) -> anyhow::Result<Vec<Row>> {
    say(&format!("measuring {}", subject.name()));
    let mut world = World::new()?;
    let client = world.pod("client", Attach::Bridged)?;
    let server = world.pod("server", Attach::Bridged)?;
    let _nginx = load::serve(version, &world, &server)?;
    let proxy = subject.start(version, &world, &[&client, &server])?;
    let address = subject.address(&server);
    let pid = proxy.as_ref().map(|proxy| figures::worker_pid(proxy.pid()));
    let mut rows = Vec::new();
    for (size, bytes) in sizes {
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
