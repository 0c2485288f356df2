//! Pods with an agent on their node: servers whose requests are judged, a client, an attacker.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use testbed::{Attach, Host, Pod, Process, World};

use super::Run;
use crate::run::{cargo, run as succeed, say, target, workspace};
use crate::{ebpf, setup};

const PODS: [&str; 4] = ["attacker", "client", "server", "victim"];
const POLICY: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: soak, namespace: default}\n\
    spec:\n  endpointSelector: {}\n  ingress:\n  - fromEndpoints: [ {} ]\n    toPorts:\n    - ports: [ {port: \"80\", protocol: TCP} ]\n      \
    rules: {http: [ {method: GET, path: \"/get.*\"} ]}\n";
const REQUEST: &[u8] = b"GET /get HTTP/1.1\r\nHost: soak\r\n\r\n";

/// A world of its own, until dropped.
pub(super) struct Lab {
    pub(super) pods: Vec<Pod>,
    agent: Option<Process>,
    servers: Vec<Process>,
    world: World,
}

/// Builds what is needed.
pub(super) fn prepare(run: &Run) -> anyhow::Result<()> {
    if run.is_built {
        return Ok(());
    }
    setup::everything()?;
    ebpf::build()?;
    say("building for release: l7d");
    succeed(&mut cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "l7d",
    ]))
}

impl Lab {
    pub(super) fn new() -> anyhow::Result<Self> {
        Self::with(POLICY)
    }

    /// With these policies.
    pub(super) fn with(policies: &str) -> anyhow::Result<Self> {
        let mut lab = Self::without_agent()?;
        lab.agent = Some(start(&lab.world, &lab.pods, policies)?);
        Ok(lab)
    }

    /// The pods alone: what the machine does by itself.
    pub(super) fn without_agent() -> anyhow::Result<Self> {
        let mut world = World::new()?;
        let pods: Vec<Pod> = PODS
            .iter()
            .map(|name| world.pod(name, Attach::Bridged))
            .collect::<anyhow::Result<_>>()?;
        let servers = pods.get(2..).unwrap_or_default();
        let servers = servers.iter().map(|pod| serve(&world, pod));
        let servers = servers.collect::<anyhow::Result<_>>()?;
        Ok(Self {
            pods,
            agent: None,
            servers,
            world,
        })
    }

    /// Has the victim serve HTTP/2 on port 8080 and DNS on 53 as well, and something of a mebibyte.
    pub(super) fn serve_more(&mut self) -> anyhow::Result<()> {
        let folder = self.world.folder();
        std::fs::write(folder.join("big"), vec![b'b'; 1 << 20])?;
        let victim = &self.pod("victim")?.host;
        let mut command = victim.command("nghttpd");
        command.args(["--no-tls", "-d"]).arg(folder).arg("8080");
        let http2 = victim.start("nghttpd", command)?;
        victim.wait_listening(8080)?;
        let mut command = victim.command("python3");
        command.arg(workspace().join("l7d/tests/agent/hostile/resolver.py"));
        let mut resolver = victim.start("resolver", command)?;
        resolver.wait_for("serving")?;
        self.servers.extend([http2, resolver]);
        Ok(())
    }

    pub(super) fn pod(&self, name: &str) -> anyhow::Result<&Pod> {
        let found = self.pods.iter().find(|pod| pod.name == name);
        found.with_context(|| name.to_owned())
    }

    /// Where a pod serves.
    pub(super) fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        Ok(SocketAddr::new(self.pod(name)?.v4.parse()?, 80))
    }

    /// What of the agent's memory is resident.
    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        let status = std::fs::read_to_string(self.process()?.join("status"))?;
        Ok(Memory {
            own: number(&status, "RssAnon:").unwrap_or(0),
            peak: number(&status, "VmHWM:").unwrap_or(0),
        })
    }

    /// Has the most that was resident begin anew (`/proc/PID/clear_refs`, proc(5)).
    pub(super) fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(self.process()?.join("clear_refs"), "5")?)
    }

    fn process(&self) -> anyhow::Result<PathBuf> {
        let agent = self.agent.as_ref().context("there is no agent")?;
        Ok(Path::new("/proc").join(agent.pid().to_string()))
    }

    /// What the agent takes now.
    pub(super) fn taken(&self) -> anyhow::Result<Taken> {
        let process = self.process()?;
        Ok(Taken {
            memory: self.memory()?.own,
            descriptors: std::fs::read_dir(process.join("fd"))?.count() as u64,
            maps: map_bytes(&process.join("fdinfo"))? >> 10,
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Pins outlive their agent on purpose.
        if let Some(name) = self.world.folder().file_name() {
            let _gone = std::fs::remove_dir_all(Path::new("/sys/fs/bpf").join(name));
        }
    }
}

/// Memory in KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// The process's own.
    pub(super) memory: u64,
    pub(super) descriptors: u64,
    /// Of the kernel.
    pub(super) maps: u64,
}

/// Of a process, in KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// `RssAnon`: what was asked of the allocator, stacks, and nothing that others have too.
    pub(super) own: u64,
    /// `VmHWM`: the most that was resident, pages of files and of the kernel's rings among it.
    pub(super) peak: u64,
}

fn number(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

fn map_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut known = BTreeSet::new();
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        // Some are gone by now.
        let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
        if number(&text, "map_id:").is_some_and(|id| known.insert(id)) {
            bytes += number(&text, "memlock:").unwrap_or(0);
        }
    }
    Ok(bytes)
}

fn serve(world: &World, pod: &Pod) -> anyhow::Result<Process> {
    let (root, name) = (world.folder().display(), &pod.name);
    std::fs::write(world.folder().join("get"), "served\n")?;
    let file = world.folder().join(format!("{name}.conf"));
    std::fs::write(
        &file,
        format!(
            "daemon off; user root; worker_processes 1; pid {root}/{name}.pid; error_log {root}/{name}.err;\n\
             events {{ worker_connections 8192; }}\nhttp {{ access_log off; keepalive_requests 1000000000;\n\
             server {{ listen 80; location / {{ root {root}; }} }} }}\n"
        ),
    )?;
    let mut command = pod.host.command("nginx");
    command.arg("-c").arg(&file);
    let process = pod.host.start(&format!("nginx-{name}"), command)?;
    pod.host.wait_listening(80)?;
    Ok(process)
}

fn start(world: &World, pods: &[Pod], policies: &str) -> anyhow::Result<Process> {
    let folder = world.folder();
    let name = folder.file_name().and_then(|name| name.to_str());
    let (root, name) = (folder.display(), name.unwrap_or("l7d-soak"));
    std::fs::create_dir_all(folder.join("policies"))?;
    std::fs::write(folder.join("policies/soak.yaml"), policies)?;
    let mut config = format!(
        "node: soak\napi: {{ socket: {root}/l7d.sock }}\nruntimeDir: {root}/run\n\
         datapath: {{ pinDir: /sys/fs/bpf/{name} }}\npolicies: {{ directory: {root}/policies }}\n\
         proxy: {{ workers: 1, headTimeout: 5s }}\nendpoints:\n"
    );
    for pod in pods {
        writeln!(
            config,
            "- {{ name: {}, labels: {{ app: {} }}, ips: [{}, \"{}\"], interface: {} }}",
            pod.name, pod.name, pod.v4, pod.v6, pod.interface
        )?;
    }
    std::fs::write(folder.join("l7d.yaml"), config)?;
    let node = world.node();
    let mut command = node.command(&target().join("release/l7d").display().to_string());
    command
        .args(["agent", "--config"])
        .arg(folder.join("l7d.yaml"));
    let mut process = node.start("agent", command)?;
    process.wait_for("l7d: ready")?;
    Ok(process)
}

/// Asks over one connection at a time, a new one after every hundred requests, one request each `pace`:
/// how long each took.
#[expect(clippy::disallowed_methods, reason = "a load has a pace")]
pub(super) fn ask(
    host: &Host,
    address: SocketAddr,
    pace: Duration,
    time: Duration,
) -> anyhow::Result<Vec<Duration>> {
    host.inside(|| {
        let began = Instant::now();
        let mut times = Vec::new();
        let mut connection = None;
        let mut due = began;
        while began.elapsed() < time {
            if times.len() % 100 == 0 {
                connection = None;
            }
            let stream = match connection.take() {
                Some(stream) => stream,
                None => connect(address)?,
            };
            let asked = Instant::now();
            connection = Some(answered(stream)?);
            times.push(asked.elapsed());
            due = (due + pace).max(Instant::now());
            std::thread::sleep(due.saturating_duration_since(Instant::now()).min(pace));
        }
        Ok(times)
    })
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Asks, and reads the answer to its end.
fn answered(mut stream: TcpStream) -> anyhow::Result<TcpStream> {
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 2048];
    while !answer.ends_with(b"\r\n\r\nserved\n") {
        let count = stream.read(&mut buffer)?;
        anyhow::ensure!(count > 0, "closed in the middle of an answer");
        answer.extend(buffer.get(..count).unwrap_or_default());
    }
    anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "another answer");
    Ok(stream)
}

/// The time that so many of a hundred keep.
pub(super) fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    let at = times.len() * percent / 100;
    times.get(at).copied().unwrap_or_default()
}
