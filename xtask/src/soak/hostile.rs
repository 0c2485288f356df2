//! What attacks on one endpoint cost another one's client, and the agent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use testbed::Process;

use super::Run;
use super::lab::{self, Lab};
use crate::run::workspace;

/// What an attacker of the tests does.
struct Attack {
    kind: &'static str,
    port: u16,
    /// How often at a time.
    count: u32,
    /// Of these so many connections stay open: each may have its buffers.
    connections: u64,
}

const HTTP1: u16 = 80;
const HTTP2: u16 = 8080;
const DNS: u16 = 53;

const ATTACKS: [Attack; 26] = [
    attack("slow_heads", HTTP1, 1000, 1000),
    attack("long_heads", HTTP1, 50, 1),
    attack("unread", HTTP1, 500, 500),
    attack("sips", HTTP1, 100, 100),
    attack("bytewise", HTTP1, 200, 1),
    attack("resets", HTTP1, 1000, 1),
    attack("connections", HTTP1, 4000, 4000),
    attack("half_open", HTTP1, 60_000, 0),
    attack("syns", HTTP1, 60_000, 0),
    attack("rsts", HTTP1, 60_000, 0),
    attack("http2_resets", HTTP2, 900, 1),
    attack("http2_pings", HTTP2, 5000, 1),
    attack("http2_priority", HTTP2, 5000, 1),
    attack("http2_settings", HTTP2, 100, 1),
    attack("http2_empty", HTTP2, 300, 1),
    attack("http2_continuation", HTTP2, 100, 1),
    attack("http2_windows", HTTP2, 60_000, 1),
    attack("http2_bomb", HTTP2, 4000, 1),
    attack("http2_unread", HTTP2, 90, 1),
    attack("http2_dribble", HTTP2, 90, 1),
    attack("lookups", DNS, 20_000, 0),
    attack("dns_loop", DNS, 2000, 0),
    attack("dns_pointers", DNS, 2000, 0),
    attack("dns_oversize", DNS, 1000, 0),
    attack("dns_slow", DNS, 500, 500),
    attack("dns_unread", DNS, 20_000, 1),
];

const fn attack(kind: &'static str, port: u16, count: u32, connections: u64) -> Attack {
    Attack {
        kind,
        port,
        count,
        connections,
    }
}

/// Requests of other paths are refused, those of the attacker are judged as well, and its look-ups.
const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: soak, namespace: default }
spec:
  endpointSelector: {}
  ingress:
  - fromEndpoints: [ {} ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP }, { port: "8080", protocol: TCP } ]
      rules: { http: [ { method: GET, path: "/(get|big).*" } ] }
  - fromEndpoints: [ {} ]
    toPorts: [ { ports: [ { port: "53", protocol: ANY } ] } ]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: names, namespace: default }
spec:
  endpointSelector: { matchLabels: { app: attacker } }
  egress:
  - toEndpoints: [ {} ]
    toPorts: [ { ports: [ { port: "1", endPort: 52, protocol: TCP }, { port: "54", endPort: 65535, protocol: TCP } ] } ]
  - toEndpoints: [ {} ]
    toPorts:
    - ports: [ { port: "53", protocol: ANY } ]
      rules: { dns: [ { matchPattern: "*.flood" } ] }
"#;

/// A request each so long.
const PACE: Duration = Duration::from_millis(2);
/// Between two looks at the agent's memory.
const LOOK: Duration = Duration::from_millis(50);
/// The other client's 99th percentile may be so many times the highest without an attack or without an agent,
/// and so much more: cores are taken from a virtual machine at times, and there are few of them.
const TIMES: u32 = 2;
const FLOOR: Duration = Duration::from_micros(500);
/// Memory of its own that an attack may take beside what its connections may hold, in KiB: 20,000 look-ups
/// that wait for an answer among it.
const SLACK_KIB: u64 = 32 << 10;
/// Most that a connection through the proxy holds: a buffer for each direction.
const CONNECTION_KIB: u64 = 2 * 68;

/// What was measured.
struct Row {
    /// Under the same attack where no agent is: what the machine itself takes.
    alone: Duration,
    before: Duration,
    under: Duration,
    after: Duration,
    /// Memory of the agent's own in KiB: before, and at most.
    own: [u64; 2],
    /// The most that was resident, pages of files and rings among it.
    resident: u64,
}

impl Row {
    /// What twice of is allowed: the highest that has nothing to do with how the agent bears the attack.
    fn usual(&self) -> Duration {
        self.before.max(self.after).max(self.alone)
    }

    fn ratio(&self) -> f64 {
        self.under.as_secs_f64() / self.usual().as_secs_f64().max(1e-9)
    }

    /// What is more than it may be.
    fn faults(&self, attack: &Attack) -> Vec<String> {
        let mut faults = Vec::new();
        let most = self.usual() * TIMES + FLOOR;
        if self.under > most {
            let (under, most) = (self.under.as_micros(), most.as_micros());
            faults.push(format!("{}: {under} µs of {most}", attack.kind));
        }
        let [before, peak] = self.own;
        let (taken, most) = (
            peak.saturating_sub(before),
            SLACK_KIB + attack.connections * CONNECTION_KIB,
        );
        if taken > most {
            faults.push(format!("{}: it took {taken} KiB of {most}", attack.kind));
        }
        faults
    }

    #[expect(clippy::print_stdout, reason = "the table is this command's result")]
    fn print(&self, attack: &Attack) {
        let times = [self.alone, self.before, self.under, self.after];
        let [alone, before, under, after] = times.map(|time| time.as_micros());
        let [own, peak] = self.own;
        println!(
            "{:<20} {alone:>9} {before:>9} {under:>9} {after:>9} {:>6.2} {own:>9} {peak:>9} {:>9}",
            attack.kind,
            self.ratio(),
            self.resident
        );
    }
}

/// Prints the 99th percentile of a client's requests while another server is attacked, beside its quiet
/// value before and after, what the attack does where no agent is, and the most memory that the agent took.
/// Fails where the value under attack or the memory is too much.
#[expect(clippy::print_stdout, reason = "the table is this command's result")]
pub(super) fn run(run: &Run) -> anyhow::Result<()> {
    let attacks = asked_for(run)?;
    lab::prepare(run)?;
    let mut alone = Lab::without_agent()?;
    alone.serve_more()?;
    let mut lab = Lab::with(POLICY)?;
    lab.serve_more()?;
    let phase = run.time / (u32::try_from(attacks.len())? * 3 + 2);
    println!(
        "{:<20} {:>9} {:>9} {:>9} {:>9} {:>6} {:>9} {:>9} {:>9}",
        "attack", "alone µs", "quiet", "under it", "after", "ratio", "own KiB", "peak", "resident"
    );
    let mut faults = Vec::new();
    // Memory and caches of who has just started are not those of who has served for a while.
    let _warm = p99(&lab, phase)?;
    let mut before = p99(&lab, phase)?;
    for attack in attacks {
        let row = measure(attack, [&alone, &lab], phase, before)?;
        row.print(attack);
        faults.extend(row.faults(attack));
        before = row.after;
    }
    anyhow::ensure!(faults.is_empty(), "too much:\n{}", faults.join("\n"));
    Ok(())
}

fn asked_for(run: &Run) -> anyhow::Result<Vec<&'static Attack>> {
    let is_known = |name: &&String| ATTACKS.iter().any(|attack| attack.kind == *name);
    if let Some(name) = run.attacks.iter().find(|name| !is_known(name)) {
        let known = ATTACKS.map(|attack| attack.kind);
        bail!("no attack `{name}`; there are: {}", known.join(", "));
    }
    let is_asked_for = |attack: &&Attack| {
        run.attacks.is_empty() || run.attacks.iter().any(|name| name == attack.kind)
    };
    Ok(ATTACKS.iter().filter(is_asked_for).collect())
}

/// One attack, where no agent is and where one is.
fn measure(
    attack: &Attack,
    [alone, lab]: [&Lab; 2],
    phase: Duration,
    before: Duration,
) -> anyhow::Result<Row> {
    let attacker = begin(alone, attack)?;
    let without = p99(alone, phase)?;
    drop(attacker);
    lab.forget_peak()?;
    let own = lab.memory()?.own;
    let attacker = begin(lab, attack)?;
    let (under, peak) = while_looking(lab, || p99(lab, phase))?;
    drop(attacker);
    Ok(Row {
        alone: without,
        before,
        under,
        resident: lab.memory()?.peak,
        after: p99(lab, phase)?,
        own: [own, peak.max(own)],
    })
}

/// The other client's 99th percentile.
fn p99(lab: &Lab, time: Duration) -> anyhow::Result<Duration> {
    let client = &lab.pod("client")?.host;
    let times = lab::ask(client, lab.address("server")?, PACE, time)?;
    Ok(lab::percentile(times, 99))
}

/// What is found out, and the most memory of its own that the agent took meanwhile.
#[expect(clippy::disallowed_methods, reason = "looks come at a pace")]
fn while_looking<T: Send>(
    lab: &Lab,
    find_out: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, u64)> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(lab.memory()?.own);
                std::thread::sleep(LOOK);
            }
            anyhow::Ok(most)
        });
        let found = find_out();
        is_over.store(true, Ordering::Relaxed);
        let most = looks
            .join()
            .unwrap_or_else(|_panic| anyhow::bail!("who looks has panicked"))?;
        Ok((found?, most))
    })
}

/// Attacks again and again, every three seconds.
fn begin(lab: &Lab, attack: &Attack) -> anyhow::Result<Process> {
    let Attack {
        kind, port, count, ..
    } = attack;
    let (attacker, victim) = (&lab.pod("attacker")?.host, &lab.pod("victim")?.v4);
    let mut command = attacker.command("python3");
    command
        .arg(workspace().join("l7d/tests/agent/hostile/peers.py"))
        .args([kind, victim.as_str()])
        .args([port.to_string(), count.to_string(), "3".to_owned()]);
    attacker.start(kind, command)
}
