//! A hundred agents that say a thousand flows a second each, a relay, and a client: what the relay takes
//! for it, and whether everything comes out in order. Writes figures as JSON; `cargo xtask bench relay`
//! runs it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that cannot go on stops"
)]

mod agents;
mod client;

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use agents::Load;
use client::{Asked, Seen};

const AGENTS: usize = 100;
/// Flows per second of all agents.
const RATE: u64 = 100_000;
const SECONDS: u64 = 10;
/// Flows of the past, of all agents.
const PAST: usize = 1_000_000;

/// A process that ends with the bench.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Relay {
    fn start(program: &str, folder: &Path) -> Self {
        let list = folder.join("agents.yaml");
        let entry = |number| {
            let socket = agents::socket(folder, number);
            format!(
                "- {{ name: node-{number:03}, address: \"unix://{}\" }}\n",
                socket.display()
            )
        };
        std::fs::write(&list, (0..AGENTS).map(entry).collect::<String>()).unwrap();
        let child = Command::new(program)
            .args(["relay", "--listen-address"])
            .arg(format!("unix://{}", client::socket(folder).display()))
            .arg("--peers-file")
            .arg(&list)
            .env("RUST_LOG", "off")
            .spawn()
            .unwrap();
        Self(child)
    }

    /// User and system time so far, in seconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let behind_name = stat.rsplit(')').next().unwrap();
        let ticks = behind_name.split_whitespace().skip(11).take(2);
        // USER_HZ is 100 on every architecture that runs here.
        ticks
            .map(|ticks| ticks.parse::<f64>().unwrap())
            .sum::<f64>()
            / 100.0
    }

    fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        peak.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

fn main() {
    let program = std::env::args().nth(1).expect("the path of l7d");
    let folder = tempfile::tempdir().unwrap();
    let mut cells = Vec::new();
    for burst in [10, 1] {
        cells.push(live(&program, folder.path(), burst));
    }
    let past = past(&program, folder.path());
    let text = serde_json::json!({
        "agents": AGENTS,
        "rate": RATE,
        "seconds": SECONDS,
        "flow_bytes": agents::flow_bytes(),
        "live": cells,
        "past": past,
    });
    client::print(&text.to_string());
}

/// Flows as they happen, so many at a time from each agent.
fn live(program: &str, folder: &Path, burst: u64) -> serde_json::Value {
    let load = Load::Live {
        period: Duration::from_nanos(1_000_000_000 * AGENTS as u64 / RATE),
        burst,
    };
    let agents = agents::start(folder, AGENTS, load);
    let relay = Relay::start(program, folder);
    // What everything takes to get going is not counted.
    let mut client = client::ask(folder, Asked::Live);
    client.read_for(Duration::from_secs(2));
    let (before, began) = (relay.cpu(), Instant::now());
    let seen = client.read_for(Duration::from_secs(SECONDS));
    let (cpu, time) = (relay.cpu() - before, began.elapsed());
    let figures = figures(&seen, cpu, time, &relay);
    drop((client, relay, agents));
    serde_json::json!({ "burst": burst, "figures": figures })
}

/// Everything that there was, as fast as it comes.
fn past(program: &str, folder: &Path) -> serde_json::Value {
    let load = Load::Past {
        each: PAST / AGENTS,
    };
    let agents = agents::start(folder, AGENTS, load);
    let relay = Relay::start(program, folder);
    client::ask(folder, Asked::Past).read_for(Duration::from_mins(5));
    let (before, began) = (relay.cpu(), Instant::now());
    let seen = client::ask(folder, Asked::Past).read_for(Duration::from_mins(5));
    let (cpu, time) = (relay.cpu() - before, began.elapsed());
    assert_eq!(seen.flows, PAST as u64, "nothing is lost");
    let figures = figures(&seen, cpu, time, &relay);
    drop((relay, agents));
    figures
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn figures(seen: &Seen, cpu: f64, time: Duration, relay: &Relay) -> serde_json::Value {
    let flows = seen.flows as f64;
    serde_json::json!({
        "flows_per_second": flows / time.as_secs_f64(),
        "cores": cpu / time.as_secs_f64(),
        "cpu_us_per_flow": cpu * 1e6 / flows,
        "out_of_order": seen.out_of_order,
        "delay_ms": seen.delays(),
        "peak_mib": relay.peak_mib(),
    })
}
