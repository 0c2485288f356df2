//! `cargo xtask bench records`: what it costs that the kernel sees every packet.
//!
//! Times of the programs come twice: of one packet again and again (`BPF_PROG_TEST_RUN`), which
//! repeats well, and of real traffic by the kernel's own count. Speeds are of subjects that take
//! turns in worlds of their own; medians are told.

mod agent;
mod events;
mod frame;
mod kernel;
mod lab;
mod single;
mod speed;
mod statistics;
mod traffic;

use std::fmt::Write as _;
use std::time::Duration;

use super::build_release;
use crate::run::say;
use crate::{ebpf, setup};

/// How long everything takes.
#[derive(Clone, Copy)]
struct Plan {
    /// Of one measurement.
    time: Duration,
    /// Of subjects that take turns.
    rounds: usize,
    /// Runs of a program with one packet.
    repeat: u32,
}

impl Plan {
    const FULL: Self = Self {
        time: Duration::from_secs(3),
        rounds: 3,
        repeat: 1_000_000,
    };
    const QUICK: Self = Self {
        time: Duration::from_secs(1),
        rounds: 1,
        repeat: 200_000,
    };
}

/// Measures, and writes `docs/bench-records.md`; the quick form only shows.
pub(crate) fn run(is_quick: bool) -> anyhow::Result<()> {
    setup::everything()?;
    setup::bench_records()?;
    ebpf::build()?;
    build_release(&["--package", "l7d"])?;
    let plan = if is_quick { Plan::QUICK } else { Plan::FULL };
    let mut text = String::from(
        "# What it costs to see packets\n\nWritten by `cargo xtask bench records`. Pods, node and outside host are \
         network namespaces of one machine, whose cores they share with the load.\n",
    );
    let empty = kernel::Empty::load()?;
    let floor = empty.measure(plan.repeat)?;
    writeln!(
        text,
        "\nA program that does nothing takes {:.0} ns in `BPF_PROG_TEST_RUN`. While the kernel counts the time of \
         programs, each run takes {:.0} ns more, of which {:.0} ns are in the count. All figures below are without \
         these.",
        floor.run, floor.counting, floor.counted
    )?;
    let sections: [(&str, Section); 5] = [
        ("one packet", single::measure),
        ("programs by the kernel's count", statistics::measure),
        ("speeds", speed::measure),
        ("records per second", events::measure),
        ("the agent beside others", agent::measure),
    ];
    super::print(&text);
    for (name, section) in sections {
        say(&format!("measuring {name}"));
        let mut part = String::new();
        section(plan, &floor, &mut part)?;
        // Shown as it comes: all of it takes a while.
        super::print(&part);
        text.push_str(&part);
    }
    if is_quick {
        return Ok(());
    }
    super::keep("records", &text)
}

/// Measures one thing and adds its table.
type Section = fn(Plan, &kernel::Floor, &mut String) -> anyhow::Result<()>;

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
