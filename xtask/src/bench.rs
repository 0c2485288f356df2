//! `cargo xtask bench http1`: one client pod, one server pod, and different things between them.
//!
//! All subjects do the same work in the same run: wrk in the client pod, nginx in the server pod,
//! one worker. Figures that machines disagree on least come first: CPU time of the proxy process
//! per request. Speeds are told, never asserted.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use testbed::{Attach, Pod, Process, World};

use crate::run::{cargo, run as succeed, say, target, workspace};
use crate::{ebpf, setup};

const SECONDS: u32 = 6;
const CONNECTIONS: u32 = 64;
const SIZES: [(&str, usize); 3] = [("64 B", 64), ("16 KiB", 16 << 10), ("1 MiB", 1 << 20)];

/// What stands between client and server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Direct,
    Watch,
    Enforce,
    Haproxy,
    Nginx,
}

/// One row of the table.
struct Row {
    subject: &'static str,
    size: &'static str,
    requests_per_second: f64,
    p50: String,
    p99: String,
    cpu_us: f64,
    rss_mib: f64,
}

/// Runs all subjects over all sizes and writes `docs/bench-http1.md`.
pub(crate) fn http1() -> anyhow::Result<()> {
    setup::everything()?;
    setup::bench()?;
    ebpf::build()?;
    say("building l7d (release)");
    succeed(&mut cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "l7d",
    ]))?;
    let mut rows = Vec::new();
    for subject in [
        Subject::Direct,
        Subject::Haproxy,
        Subject::Nginx,
        Subject::Watch,
        Subject::Enforce,
    ] {
        rows.extend(measure(subject)?);
    }
    let table = table(&rows)?;
    print(&table);
    std::fs::write(workspace().join("docs/bench-http1.md"), table)?;
    Ok(())
}

fn measure(subject: Subject) -> anyhow::Result<Vec<Row>> {
    say(&format!("measuring {}", subject.name()));
    let mut world = World::new()?;
    let client = world.pod("client", Attach::Bridged)?;
    let server = world.pod("server", Attach::Bridged)?;
    let _nginx = serve(&world, &server)?;
    let proxy = subject.start(&world, &[&client, &server])?;
    let address = match subject {
        Subject::Haproxy | Subject::Nginx => "10.244.1.1:8080".to_owned(),
        Subject::Direct | Subject::Watch | Subject::Enforce => format!("{}:80", server.v4),
    };
    let mut rows = Vec::new();
    for (size, bytes) in SIZES {
        let url = format!("http://{address}/path7/{bytes}");
        let pid = proxy.as_ref().map(|proxy| worker_pid(proxy.pid()));
        load(&client, &url, 1)?;
        let before = pid.map_or(0.0, cpu_seconds);
        let report = load(&client, &url, SECONDS)?;
        let used = pid.map_or(0.0, cpu_seconds) - before;
        let requests = field(&report, "requests in").parse::<f64>().unwrap_or(0.0);
        let errors = field(&report, "Non-2xx");
        anyhow::ensure!(
            errors.is_empty(),
            "{}: wrk saw errors:\n{report}",
            subject.name()
        );
        rows.push(Row {
            subject: subject.name(),
            size,
            requests_per_second: requests / f64::from(SECONDS),
            p50: percentile(&report, "50%"),
            p99: percentile(&report, "99%"),
            cpu_us: if requests > 0.0 {
                used * 1e6 / requests
            } else {
                0.0
            },
            rss_mib: pid.map_or(0.0, rss_mib),
        });
    }
    drop(proxy);
    if let Some(name) = world.folder().file_name() {
        // Pins outlive their agent on purpose; there are none for the other subjects.
        let _gone = std::fs::remove_dir_all(Path::new("/sys/fs/bpf").join(name));
    }
    Ok(rows)
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Watch => "l7d, watching",
            Self::Enforce => "l7d, enforcing 100 rules",
            Self::Haproxy => "HAProxy, 100 rules",
            Self::Nginx => "nginx, 100 rules",
        }
    }

    fn start(self, world: &World, pods: &[&Pod]) -> anyhow::Result<Option<Process>> {
        let node = world.node();
        let folder = world.folder();
        let server = pods.last().context("a server")?;
        match self {
            Self::Direct => Ok(None),
            Self::Haproxy => {
                let file = folder.join("haproxy.cfg");
                std::fs::write(&file, haproxy(server))?;
                let mut command = node.command("haproxy");
                command.arg("-db").arg("-f").arg(&file);
                let process = node.start("haproxy", command)?;
                node.wait_listening(8080)?;
                Ok(Some(process))
            }
            Self::Nginx => {
                let file = folder.join("proxy.conf");
                std::fs::write(&file, nginx_proxy(folder, server))?;
                let mut command = node.command("nginx");
                command.arg("-c").arg(&file);
                let process = node.start("nginx", command)?;
                node.wait_listening(8080)?;
                Ok(Some(process))
            }
            Self::Watch | Self::Enforce => {
                std::fs::create_dir_all(folder.join("policies"))?;
                if self == Self::Enforce {
                    std::fs::write(folder.join("policies/bench.yaml"), policy())?;
                }
                std::fs::write(folder.join("l7d.yaml"), config(world, pods)?)?;
                let binary = target().join("release/l7d");
                let mut command = node.command(&binary.display().to_string());
                command
                    .args(["agent", "--config"])
                    .arg(folder.join("l7d.yaml"));
                let mut process = node.start("agent", command)?;
                process.wait_for("l7d: ready")?;
                Ok(Some(process))
            }
        }
    }
}

/// nginx with bodies of the sizes, under every path.
fn serve(world: &World, pod: &Pod) -> anyhow::Result<Process> {
    let folder = world.folder();
    for (_, bytes) in SIZES {
        std::fs::write(folder.join(format!("{bytes}")), vec![b'x'; bytes])?;
    }
    let file = folder.join("server.conf");
    let root = folder.display();
    std::fs::write(
        &file,
        format!(
            "daemon off; user root; worker_processes 1; pid {root}/server.pid; error_log {root}/server.err;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n\
             server {{ listen 80; location ~ ^/path[0-9]+/(.*)$ {{ alias {root}/$1; }} }} }}\n"
        ),
    )?;
    let mut command = pod.host.command("nginx");
    command.arg("-c").arg(&file);
    let process = pod.host.start("nginx", command)?;
    pod.host.wait_listening(80)?;
    Ok(process)
}

fn haproxy(server: &Pod) -> String {
    let mut rules = String::new();
    for number in 0..100 {
        let _infallible = writeln!(rules, "  acl allowed path_reg ^/path{number}/.*$");
    }
    format!(
        "global\n  nbthread 1\n  log /dev/null local0\ndefaults\n  mode http\n  log global\n  option httplog\n  \
         timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n  option http-keep-alive\n\
         frontend f\n  bind 10.244.1.1:8080\n{rules}  http-request deny unless METH_GET allowed\n  default_backend b\n\
         backend b\n  http-reuse always\n  server s {}:80\n",
        server.v4
    )
}

fn nginx_proxy(folder: &Path, server: &Pod) -> String {
    let root = folder.display();
    let mut locations = String::new();
    for number in 0..100 {
        let _infallible = writeln!(
            locations,
            "location ~ ^/path{number}/.*$ {{ proxy_pass http://b; }}"
        );
    }
    format!(
        "daemon off; user root; worker_processes 1; pid {root}/proxy.pid; error_log {root}/proxy.err;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log {root}/access.log; keepalive_requests 1000000;\n\
         upstream b {{ server {}:80; keepalive 128; keepalive_requests 1000000; }}\n\
         server {{ listen 10.244.1.1:8080; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         {locations} location / {{ return 403; }} }} }}\n",
        server.v4
    )
}

fn policy() -> String {
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { name: bench, namespace: default }\n\
         spec:\n  endpointSelector: { matchLabels: { app: server } }\n  ingress:\n  - fromEndpoints: [ {} ]\n    \
         toPorts:\n    - ports: [ { port: \"80\", protocol: TCP } ]\n      rules:\n        http:\n",
    );
    for number in 0..100 {
        let _infallible = writeln!(
            text,
            "        - {{ method: GET, path: \"/path{number}/.*\" }}"
        );
    }
    text
}

fn config(world: &World, pods: &[&Pod]) -> anyhow::Result<String> {
    let folder = world.folder().display();
    let name = world
        .folder()
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("l7d-bench");
    let mut text = format!(
        "node: bench\napi: {{ socket: {folder}/l7d.sock }}\nruntimeDir: {folder}/run\n\
         datapath: {{ pinDir: /sys/fs/bpf/{name} }}\nvisibility: [ {{ port: 80 }} ]\n\
         policies: {{ directory: {folder}/policies }}\nproxy: {{ workers: 1 }}\nendpoints:\n"
    );
    for Pod {
        name,
        v4,
        v6,
        interface,
        ..
    } in pods
    {
        writeln!(
            text,
            "- {{ name: {name}, labels: {{ app: {name} }}, ips: [{v4}, \"{v6}\"], interface: {interface} }}"
        )?;
    }
    Ok(text)
}

/// wrk's report.
fn load(client: &Pod, url: &str, seconds: u32) -> anyhow::Result<String> {
    let duration = format!("{seconds}s");
    let connections = CONNECTIONS.to_string();
    let words = [
        "wrk",
        "--latency",
        "-t1",
        "-c",
        &connections,
        "-d",
        &duration,
        url,
    ];
    let output = client.host.output(&words)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The word before `what`, in its line.
fn field(report: &str, what: &str) -> String {
    let line = report.lines().find(|line| line.contains(what));
    let before = line
        .and_then(|line| line.split(what).next())
        .unwrap_or_default();
    let text = before.trim();
    if text.is_empty() {
        line.unwrap_or_default().to_owned()
    } else {
        text.to_owned()
    }
}

fn percentile(report: &str, which: &str) -> String {
    let line = report
        .lines()
        .find(|line| line.trim_start().starts_with(which));
    line.and_then(|line| line.split_whitespace().nth(1))
        .unwrap_or("-")
        .to_owned()
}

/// nginx works in a child; the others are the process itself.
fn worker_pid(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let first = children
        .unwrap_or_default()
        .split_whitespace()
        .next()
        .and_then(|c| c.parse().ok());
    first.unwrap_or(pid)
}

/// User and system time of a process.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    // USER_HZ is 100 on every architecture that runs here.
    ticks / 100.0
}

fn rss_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

fn table(rows: &[Row]) -> anyhow::Result<String> {
    let mut text = format!(
        "# HTTP/1 through one worker\n\nWritten by `cargo xtask bench http1`: wrk ({CONNECTIONS} connections, \
         {SECONDS} s a cell) in one pod, nginx in another, on one node. CPU is user and system time of the proxy \
         process; time in softirq on its behalf is not in it. l7d also keeps flows of every request. The client's \
         address reaches the server through l7d only.\n\n\
         | body | through | requests/s | p50 | p99 | CPU per request | against HAProxy | RSS |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let peer = rows
            .iter()
            .find(|peer| peer.subject.starts_with("HAProxy") && peer.size == row.size);
        let ratio = match peer {
            Some(peer) if peer.cpu_us > 0.0 && row.cpu_us > 0.0 => {
                format!("{:.2}", row.cpu_us / peer.cpu_us)
            }
            Some(_) | None => "-".to_owned(),
        };
        writeln!(
            text,
            "| {} | {} | {:.0} | {} | {} | {:.1} µs | {ratio} | {:.1} MiB |",
            row.size,
            row.subject,
            row.requests_per_second,
            row.p50,
            row.p99,
            row.cpu_us,
            row.rss_mib
        )?;
    }
    Ok(text)
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print(text: &str) {
    println!("{text}");
}
