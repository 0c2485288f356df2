//! `cargo xtask bench grpc`: small calls and the messages of open streams, as many as go and at half
//! of that.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use testbed::{Pod, Process};

use super::subject::{Subject, Version};
use super::table::{self, Row};
use super::{Cell, Report, SECONDS, Stage, measure_all, publish};
use crate::run::{run as succeed, say, target};

const CONNECTIONS: u32 = 16;
/// Of each pair of paced runs; the medians of all pairs are told.
const PACED_SECONDS: u32 = 1;
const PAIRS: usize = 9;

/// What a paced run tells, in microseconds.
#[derive(Clone, Copy)]
struct Times {
    p50: f64,
    p99: f64,
}

/// A subject at half load, and the same rate without it.
struct Paced {
    subject: Subject,
    cell: &'static str,
    rate: u32,
    direct: Times,
    through: Times,
}

/// Runs all subjects over calls and messages and writes `docs/bench-grpc.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    let rows = measure_all(Version::Grpc, &cells(), ask)?;
    let paced = undisturbed(|| pace_all(&rows))?;
    publish("grpc", &write(&rows, &paced)?)
}

fn cells() -> [Cell; 4] {
    [
        ("call, 16 at once", "/path7/Get", 16),
        ("call, one by one", "/path7/Get", 1),
        ("message of 16 streams", "/path7/Chat", 16),
        ("message of one stream", "/path7/Chat", 1),
    ]
    .map(|(name, path, streams)| Cell {
        name,
        path: path.to_owned(),
        streams,
    })
}

/// The program that is both sides.
fn program() -> PathBuf {
    target().join("release/examples/calls")
}

/// A server that answers at once.
pub(super) fn serve(pod: &Pod) -> anyhow::Result<Process> {
    let mut command = pod.host.command(&program().display().to_string());
    command.args(["serve", "80"]);
    let mut process = pod.host.start("calls", command)?;
    process.wait_for("serving")?;
    Ok(process)
}

/// One call or message after another on each stream.
fn ask(stage: &Stage, cell: &Cell, seconds: u32) -> anyhow::Result<Report> {
    let [count, p50, p99] = client_says(stage, "ask", cell, &[seconds])?;
    Ok(Report {
        requests: count,
        times: [p50, p99].map(|time| format!("{time}us")),
    })
}

/// How many calls or messages, and their median and 99th percentile in microseconds.
fn client_says(
    stage: &Stage,
    mode: &str,
    cell: &Cell,
    numbers: &[u32],
) -> anyhow::Result<[f64; 3]> {
    let program = program().display().to_string();
    let url = stage.url(cell);
    let shape = if cell.path.ends_with("/Chat") {
        "stream"
    } else {
        "unary"
    };
    let numbers = [&[CONNECTIONS, cell.streams], numbers].concat();
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    let mut words = vec![&*program, mode, shape, &url];
    words.extend(numbers.iter().map(String::as_str));
    let output = stage.client.host.output(&words)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = said
        .split_whitespace()
        .filter_map(|figure| figure.parse().ok())
        .collect();
    let [count, p50, p99] = figures[..] else {
        anyhow::bail!(
            "{words:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    Ok([count, p50, p99])
}

/// Lets this thread, and what it starts, run before all that is not of the bench: what else the
/// machine does would be the 99th percentile.
fn undisturbed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let own = std::process::id().to_string();
    succeed(Command::new("chrt").args(["--rr", "--pid", "1", &own]))?;
    let done = work();
    succeed(Command::new("chrt").args(["--other", "--pid", "0", &own]))?;
    done
}

fn pace_all(rows: &[Row]) -> anyhow::Result<Vec<Paced>> {
    let direct = Stage::new(Version::Grpc, Subject::Direct)?;
    let mut all = Vec::new();
    for &subject in Subject::speaking(Version::Grpc) {
        if subject == Subject::Direct {
            continue;
        }
        say(&format!("measuring {} at half load", subject.name()));
        let stage = Stage::new(Version::Grpc, subject)?;
        for cell in cells().iter().filter(|cell| cell.streams == 1) {
            let rate = half_of_slowest(rows, cell.name);
            all.push(pace(&direct, &stage, cell, rate)?);
        }
    }
    Ok(all)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate of some thousands"
)]
fn half_of_slowest(rows: &[Row], cell: &str) -> u32 {
    let rates = rows
        .iter()
        .filter(|row| row.cell == cell)
        .map(|row| row.requests_per_second);
    (rates.fold(f64::INFINITY, f64::min) / 2.0) as u32
}

/// Runs both in turn, so that what else the machine does meets both.
fn pace(direct: &Stage, through: &Stage, cell: &Cell, rate: u32) -> anyhow::Result<Paced> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..PAIRS {
        for (stage, times) in [direct, through].iter().zip(&mut times) {
            let [_, p50, p99] = client_says(stage, "pace", cell, &[PACED_SECONDS, rate])?;
            times.push(Times { p50, p99 });
        }
    }
    let [direct, behind] = times.map(|times| median(&times));
    Ok(Paced {
        subject: through.subject,
        cell: cell.name,
        rate,
        direct,
        through: behind,
    })
}

fn median(times: &[Times]) -> Times {
    let of = |figure: fn(&Times) -> f64| {
        let mut all: Vec<f64> = times.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    Times {
        p50: of(|times| times.p50),
        p99: of(|times| times.p99),
    }
}

fn write(rows: &[Row], paced: &[Paced]) -> anyhow::Result<String> {
    let mut text = format!(
        "# gRPC through one worker\n\nWritten by `cargo xtask bench grpc`: a small client in one pod, a small server \
         in another, on one node ({CONNECTIONS} connections, {SECONDS} s a cell, messages of 32 bytes; both sides are \
         testbed/examples/calls, which checks each call's status). A call is one message and an answer of one; on a \
         stream that is open the server sends each message back, and the next one waits for it. Each connection has \
         16 calls or streams at once, or one. The server does nothing else, so that the proxies are what limits; \
         what they do is as in [bench-http2.md](bench-http2.md).\n\n\
         | what | through | per second | of direct | p50 | p99 | CPU | against HAProxy | softirq | RSS |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    table::add(rows, &mut text)?;
    write!(
        text,
        "\n## Time added at half load\n\nCalls and messages at half of what the slowest did above with one on each \
         connection: they begin at fixed times, whether others have been answered or not, and their time counts from \
         there. Direct and through it in turn, {PAIRS} times {PACED_SECONDS} s each, all at a real-time priority, \
         which keeps other programs of the machine out of the figures; medians of the runs.\n\n\
         | what | through | per second | direct p50 | p99 | through p50 | p99 | added p50 | p99 |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    )?;
    for row in paced {
        let (direct, through) = (row.direct, row.through);
        writeln!(
            text,
            "| {} | {} | {} | {} µs | {} µs | {} µs | {} µs | {} µs | {} µs |",
            row.cell,
            row.subject.name(),
            row.rate,
            direct.p50,
            direct.p99,
            through.p50,
            through.p99,
            through.p50 - direct.p50,
            through.p99 - direct.p99
        )?;
    }
    Ok(text)
}
