//! Four fifths of what is possible, for long: nothing may grow.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testbed::Host;

use super::Run;
use super::lab::{self, Lab, Taken};
use crate::run::say;

/// Clients that ask at once.
const CLIENTS: u32 = 8;
/// How long it is found out what is possible.
const FINDING: Duration = Duration::from_secs(10);
/// Looks at the agent.
const LOOKS: u32 = 60;

/// What is compared: its name, where it stands, and by how much it may grow beside a twentieth.
type Row = (&'static str, fn(&Taken) -> u64, u64);

/// Prints what the agent takes over time; fails where it has grown.
#[expect(clippy::print_stdout, reason = "the table is this command's result")]
#[expect(clippy::disallowed_methods, reason = "looks come at a pace")]
pub(super) fn run(run: &Run) -> anyhow::Result<()> {
    lab::prepare(run)?;
    let lab = Lab::new()?;
    let (client, address) = (&lab.pod("client")?.host, lab.address("server")?);
    let most = load(client, address, Duration::ZERO, FINDING)?;
    let most = f64::from(u32::try_from(most)?) / FINDING.as_secs_f64();
    let pace = Duration::from_secs_f64(f64::from(CLIENTS) / (most * 0.8));
    say(&format!(
        "{most:.0} requests per second are possible; now four fifths of it"
    ));
    println!(
        "{:>6} {:>10} {:>11} {:>10}",
        "s", "memory KiB", "descriptors", "maps KiB"
    );
    let mut seen = Vec::new();
    let asked = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(client, address, pace, run.time));
        let began = Instant::now();
        for _ in 0..LOOKS {
            std::thread::sleep(run.time / (LOOKS + 1));
            let taken = lab.taken()?;
            let Taken {
                memory,
                descriptors,
                maps,
                ..
            } = taken;
            println!(
                "{:>6} {memory:>10} {descriptors:>11} {maps:>10}",
                began.elapsed().as_secs()
            );
            seen.push(taken);
        }
        load.join()
            .unwrap_or_else(|_panic| anyhow::bail!("the load has panicked"))
    })?;
    println!("{asked} requests, all answered");
    judge(&seen)
}

/// Compares the second quarter with the last one: before, memory is taken for the first time.
fn judge(seen: &[Taken]) -> anyhow::Result<()> {
    let quarter = seen.len() / 4;
    let of = |from: usize, what: fn(&Taken) -> u64| {
        let mut figures: Vec<u64> = seen.iter().skip(from).take(quarter).map(what).collect();
        figures.sort_unstable();
        figures.get(quarter / 2).copied().unwrap_or(0)
    };
    let rows: [Row; 3] = [
        ("memory", |taken| taken.memory, 2048),
        ("descriptors", |taken| taken.descriptors, 4),
        ("maps", |taken| taken.maps, 1024),
    ];
    for (name, what, slack) in rows {
        let (early, late) = (of(quarter, what), of(quarter * 3, what));
        say(&format!(
            "{name}: {early} in the second quarter, {late} in the last"
        ));
        anyhow::ensure!(
            late <= early + early / 20 + slack,
            "{name} have grown: {early} to {late}"
        );
    }
    Ok(())
}

/// All clients at once, each with a request every `pace`: how many were answered.
fn load(host: &Host, address: SocketAddr, pace: Duration, time: Duration) -> anyhow::Result<usize> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(move || lab::ask(host, address, pace, time).map(|times| times.len()))
            })
            .collect();
        let mut all = 0;
        for client in clients {
            let asked = client.join();
            all += asked.unwrap_or_else(|_panic| anyhow::bail!("a client has panicked"))?;
        }
        Ok(all)
    })
}
