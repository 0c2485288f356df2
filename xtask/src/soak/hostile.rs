//! What attacks on one endpoint cost another one's client.

use std::time::Duration;

use testbed::Process;

use super::Run;
use super::lab::{self, Lab};
use crate::run::workspace;

/// What the tests' attackers can do, and how often at a time.
const ATTACKS: [(&str, u32); 11] = [
    ("slow_heads", 1000),
    ("long_heads", 50),
    ("unread", 500),
    ("bytewise", 200),
    ("resets", 1000),
    ("connections", 4000),
    ("half_open", 20_000),
    ("http2_resets", 900),
    ("http2_pings", 5000),
    ("http2_continuation", 100),
    ("http2_bomb", 4000),
];
/// A request each so long.
const PACE: Duration = Duration::from_millis(2);

/// Prints the 99th percentile of a client's requests while another server is attacked, beside its quiet
/// value.
#[expect(clippy::print_stdout, reason = "the table is this command's result")]
pub(super) fn run(run: &Run) -> anyhow::Result<()> {
    lab::prepare(run)?;
    let lab = Lab::new()?;
    let turns = u32::try_from(ATTACKS.len())? + 1;
    let p99 = || {
        let client = &lab.pod("client")?.host;
        let times = lab::ask(client, lab.address("server")?, PACE, run.time / turns)?;
        anyhow::Ok(lab::percentile(times, 99))
    };
    let quiet = p99()?;
    println!(
        "{:<20} {:>9} {:>6} {:>14}",
        "attack", "p99 µs", "ratio", "agent's peak"
    );
    println!("{:<20} {:>9} {:>6}", "none", quiet.as_micros(), 1);
    for (kind, count) in ATTACKS {
        let attack = attack(&lab, kind, count)?;
        let under = p99()?;
        drop(attack);
        println!(
            "{kind:<20} {:>9} {:>6.2} {:>10} KiB",
            under.as_micros(),
            under.as_secs_f64() / quiet.as_secs_f64().max(1e-9),
            lab.taken()?.peak
        );
    }
    Ok(())
}

/// Attacks again and again.
fn attack(lab: &Lab, kind: &str, count: u32) -> anyhow::Result<Process> {
    let peers = workspace().join("l7d/tests/agent/hostile/peers.py");
    let (attacker, victim) = (&lab.pod("attacker")?.host, &lab.pod("victim")?.v4);
    let script = format!(
        "trap 'kill $!; exit' TERM; while :; do timeout 3 python3 {} {kind} {victim} 80 {count} & wait $!; done",
        peers.display()
    );
    let mut command = attacker.command("sh");
    command.args(["-c", &script]);
    attacker.start(kind, command)
}
