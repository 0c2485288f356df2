//! `cargo xtask bench dns`: queries over UDP, answered from memory.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use testbed::{Pod, Process, World};

use super::subject::Version;
use super::table::{self, Row};
use super::{Cell, Report, SECONDS, Stage, measure_all, publish};

const ZONES: usize = 100;
const NAMES_PER_ZONE: usize = 10;
const CLIENTS: u32 = 16;
/// Of all clients together.
const OUTSTANDING: u32 = 128;

/// Runs all subjects and writes `docs/bench-dns.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    let cell = Cell {
        name: "A",
        path: String::new(),
        streams: 1,
    };
    let rows = measure_all(Version::Dns, &[cell], ask)?;
    publish("dns", &write(&rows)?)
}

/// unbound with a record for every name, and the names in a file for the load.
pub(super) fn serve(world: &World, pod: &Pod) -> anyhow::Result<Process> {
    let mut config = String::from(
        "server:\n  interface: 0.0.0.0\n  access-control: 0.0.0.0/0 allow\n  do-daemonize: no\n  use-syslog: no\n  \
         logfile: \"\"\n  verbosity: 1\n  chroot: \"\"\n  username: \"\"\n  directory: \"/\"\n  pidfile: \"\"\n  \
         num-threads: 1\n  local-zone: test. static\n",
    );
    let mut queries = String::new();
    for zone in 0..ZONES {
        for name in 0..NAMES_PER_ZONE {
            let name = format!("name{name}.zone{zone}.test");
            writeln!(config, "  local-data: \"{name}. 60 A 192.0.2.7\"")?;
            writeln!(queries, "{name} A")?;
        }
    }
    config.push_str("remote-control:\n  control-enable: no\n");
    std::fs::write(world.folder().join("queries"), queries)?;
    let file = world.folder().join("unbound.conf");
    std::fs::write(&file, config)?;
    let mut command = pod.host.command("unbound");
    command.args(["-d", "-p", "-c"]).arg(file);
    let mut process = pod.host.start("unbound", command)?;
    process.wait_for("start of service")?;
    Ok(process)
}

/// Lets dnsperf ask for a while; anything but an answer without error is a fault.
fn ask(stage: &Stage, _: &Cell, seconds: u32) -> anyhow::Result<Report> {
    let [address, port] = stage.address();
    let queries = stage.world.folder().join("queries").display().to_string();
    let [seconds, clients, outstanding] =
        [seconds, CLIENTS, OUTSTANDING].map(|number| number.to_string());
    let words = [
        "dnsperf",
        "-s",
        &address,
        "-p",
        &port,
        "-d",
        &queries,
        "-l",
        &seconds,
        "-c",
        &clients,
        "-q",
        &outstanding,
    ];
    let output = stage.client.host.output(&words)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.trim_start().strip_prefix(name))
            .map(str::trim_start)
            .with_context(|| format!("dnsperf told no `{name}`:\n{text}"))
    };
    let completed = value("Queries completed:")?;
    let completed: f64 = completed
        .split(' ')
        .next()
        .and_then(|count| count.parse().ok())
        .context("a count")?;
    let codes = value("Response codes:")?;
    anyhow::ensure!(
        codes.starts_with("NOERROR") && !codes.contains(','),
        "dnsperf got errors:\n{text}"
    );
    // `0.000800 (min 0.000110, max 0.003240)`
    let times = value("Average Latency (s):")?;
    let times: Vec<f64> = times
        .split(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .filter_map(|figure| figure.parse().ok())
        .collect();
    let [mean, _least, greatest] = times[..] else {
        anyhow::bail!("dnsperf told no times:\n{text}");
    };
    Ok(Report {
        requests: completed,
        times: [mean, greatest].map(|time| format!("{:.2}ms", time * 1e3)),
    })
}

/// Passes on what is in its zones, and keeps no answers.
pub(super) fn dnsmasq(folder: &Path, server: &Pod) -> String {
    let mut text = format!(
        "port=8080\nlisten-address=10.244.1.1\nbind-interfaces\nno-resolv\nno-hosts\ncache-size=0\n\
         dns-forward-max=10000\nuser=root\npid-file\nlog-queries\nlog-facility={}/dnsmasq.log\n",
        folder.display()
    );
    for zone in 0..ZONES {
        let _infallible = writeln!(text, "server=/zone{zone}.test/{}", server.v4);
    }
    text
}

/// Refuses what is in none of its zones, and keeps no answers.
pub(super) fn dnsdist(folder: &Path, server: &Pod) -> String {
    let mut text = format!(
        "setLocal(\"10.244.1.1:8080\")\nsetACL(\"0.0.0.0/0\")\nsetSecurityPollSuffix(\"\")\n\
         newServer({{address=\"{}:53\"}}):setUp()\nallowed = newSuffixMatchNode()\n",
        server.v4
    );
    for zone in 0..ZONES {
        let _infallible = writeln!(text, "allowed:add(\"zone{zone}.test.\")");
    }
    let _infallible = write!(
        text,
        "addAction(NotRule(SuffixMatchNodeRule(allowed)), RCodeAction(DNSRCode.REFUSED))\n\
         addAction(AllRule(), LogAction(\"{}/dnsdist.log\", false, false, true))\n",
        folder.display()
    );
    text
}

/// A pattern per zone.
pub(super) fn policy() -> String {
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { name: bench, namespace: default }\n\
         spec:\n  endpointSelector: { matchLabels: { app: client } }\n  egress:\n  - toEndpoints: [ {} ]\n    \
         toPorts:\n    - ports: [ { port: \"53\", protocol: UDP } ]\n      rules:\n        dns:\n",
    );
    for zone in 0..ZONES {
        let _infallible = writeln!(text, "        - {{ matchPattern: \"*.zone{zone}.test\" }}");
    }
    text
}

fn write(rows: &[Row]) -> anyhow::Result<String> {
    let mut text = format!(
        "# DNS through one worker\n\nWritten by `cargo xtask bench dns`: dnsperf ({CLIENTS} clients, {OUTSTANDING} \
         queries on the way at once, {SECONDS} s a cell) in one pod, unbound in another, on one node; queries for a \
         thousand names over UDP, answered from memory. CPU is user and system time of the proxy process; softirq is \
         that of the whole machine, client and server included, so that a row is to be compared with `direct`. Every \
         proxy judges the name by a hundred zones, keeps no answers and logs each query; l7d keeps two flows of it \
         instead, of the query and of its answer. dnsdist and dnsmasq are asked openly; through l7d the client asks \
         the server, which sees the client's own address. dnsdist has one thread for queries and one for answers.\n\n\
         | query | through | queries/s | of direct | mean | max | CPU per query | against dnsdist | softirq per query | RSS |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    table::add(rows, &mut text)?;
    Ok(text)
}
