//! `cargo xtask bench tap`: what it costs to see requests, with the tap and with the proxy, against
//! an agent that watches nothing and against none.
//!
//! Subjects take turns, several times, and medians are told: what is to be seen is smaller than what
//! a machine's speed changes in a minute. The kernel's part is what the kernel itself counts of the
//! programs' time, in runs of their own, since counting costs more than the programs do.

use std::fmt::Write as _;

use super::subject::{Subject, Version};
use super::{
    BPF_STATS, CONNECTIONS, SIZES, Stage, figures, files, load, per_request, prepare, publish,
};
use crate::run::say;

const ROUNDS: usize = 3;
const SECONDS: u32 = 3;
const SUBJECTS: [Subject; 4] = [
    Subject::Direct,
    Subject::Unwatched,
    Subject::Tap,
    Subject::Watch,
];

/// What one turn of a subject showed of one size.
struct Turn {
    subject: Subject,
    cell: &'static str,
    requests_per_second: f64,
    p99: String,
    agent_us: f64,
    kernel_us: f64,
    machine_us: f64,
}

/// Runs all subjects over all sizes and writes `docs/bench-tap.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    prepare(Version::Http1)?;
    let mut turns = Vec::new();
    for round in 1..=ROUNDS {
        say(&format!("round {round} of {ROUNDS}"));
        for subject in SUBJECTS {
            turns.extend(take_turn(subject)?);
        }
    }
    publish("tap", &write(&turns)?)
}

fn take_turn(subject: Subject) -> anyhow::Result<Vec<Turn>> {
    let stage = Stage::new(Version::Http1, subject)?;
    let pid = stage.pid();
    let mut turns = Vec::new();
    for cell in files(&SIZES, 1) {
        load::run(&stage, &cell, 1)?;
        let before = pid.map_or(0.0, figures::cpu_seconds);
        let busy_before = figures::busy_seconds();
        let report = load::run(&stage, &cell, SECONDS)?;
        let used = pid.map_or(0.0, figures::cpu_seconds) - before;
        let busy = figures::busy_seconds() - busy_before;
        let kernel_us = match pid {
            Some(pid) => kernel_time(&stage, &cell, pid)?,
            None => 0.0,
        };
        let [_, p99] = report.times;
        turns.push(Turn {
            subject,
            cell: cell.name,
            requests_per_second: report.requests / f64::from(SECONDS),
            p99,
            agent_us: per_request(used, report.requests),
            kernel_us,
            machine_us: per_request(busy, report.requests),
        });
    }
    Ok(turns)
}

/// Time of the kernel programs per request, in microseconds.
fn kernel_time(stage: &Stage, cell: &super::Cell, pid: u32) -> anyhow::Result<f64> {
    std::fs::write(BPF_STATS, "1")?;
    let before = figures::program_seconds(pid);
    let report = load::run(stage, cell, 1);
    let used = figures::program_seconds(pid) - before;
    std::fs::write(BPF_STATS, "0")?;
    Ok(per_request(used, report?.requests))
}

fn write(turns: &[Turn]) -> anyhow::Result<String> {
    let mut text = format!(
        "# What seeing costs\n\nWritten by `cargo xtask bench tap`: wrk ({CONNECTIONS} connections, {SECONDS} s a \
         cell) in one pod, nginx in another, on one node, through an agent that watches nothing, that taps the port, \
         and that proxies it; medians of {ROUNDS} rounds in which they take turns, p99 of the first. Agent is user \
         and system time of the agent's process; programs is the time of the kernel programs by the kernel's own \
         count, told from runs in which it counts; machine is all time that no core was idle, client and server \
         included. The cost of the tap is what it adds to an agent that watches nothing, in agent and programs.\n\n\
         | body | through | requests/s | of direct | p99 | agent | programs | machine | cost per request |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for (cell, _) in SIZES {
        for subject in SUBJECTS {
            let of = |subject, figure: fn(&Turn) -> f64| {
                let mine = turns
                    .iter()
                    .filter(|turn| turn.subject == subject && turn.cell == cell);
                median(mine.map(figure).collect())
            };
            let speed = |turn: &Turn| turn.requests_per_second;
            let cost = |turn: &Turn| turn.agent_us + turn.kernel_us;
            let p99 = turns
                .iter()
                .find(|turn| turn.subject == subject && turn.cell == cell);
            writeln!(
                text,
                "| {cell} | {} | {:.0} | {:.3} | {} | {:.2} µs | {:.2} µs | {:.1} µs | {:.2} µs |",
                subject.name(),
                of(subject, speed),
                of(subject, speed) / of(Subject::Direct, speed),
                p99.map_or("-", |turn| &turn.p99),
                of(subject, |turn| turn.agent_us),
                of(subject, |turn| turn.kernel_us),
                of(subject, |turn| turn.machine_us),
                of(subject, cost) - of(Subject::Unwatched, cost).min(of(subject, cost)),
            )?;
        }
    }
    Ok(text)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
