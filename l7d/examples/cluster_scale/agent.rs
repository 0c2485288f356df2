//! A whole agent on a node of its own, with the maps of the kernel: its memory, and how long it takes until
//! packets are judged by what the API server was told.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use apiserver_double::{Bind, Double, Options};
use l7d::clock::Monotonic;
use serde_json::{Value, json};
use testbed::{Attach, Pod, Process, World};

use super::pods::{NAMESPACES, namespace, pod};
use super::window::{Stream, pause, shares};

const PODS: usize = 5_000;
const RATE: u32 = 100;
const TIMES: usize = 200;
const OUTSIDE: &str = "192.0.2.2";

/// What may not leave, and what only a friend may enter.
const POLICIES: [(&str, &str); 2] = [("late", "Egress"), ("server", "Ingress")];

struct Rig {
    world: World,
    double: Double,
    late: Pod,
    server: Pod,
}

impl Rig {
    fn new() -> anyhow::Result<Self> {
        let mut world = World::new()?;
        let late = world.pod("late", Attach::Bridged)?;
        let server = world.pod("server", Attach::Bridged)?;
        let node = world.node();
        let bind = move |port| {
            let listener = node.inside(|| Ok(TcpListener::bind(("127.0.0.1", port))?));
            listener.map_err(std::io::Error::other)
        };
        let double = Double::with(Options {
            bind: Bind::by(0, bind),
            ..Options::default()
        })?;
        let rig = Self {
            world,
            double,
            late,
            server,
        };
        rig.put(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "bench" },
            "status": { "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }] },
        }))?;
        rig.put(
            &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "lab" } }),
        )?;
        for (app, direction) in POLICIES {
            let mut spec = json!({
                "podSelector": { "matchLabels": { "app": app } }, "policyTypes": [direction],
            });
            if direction == "Ingress" {
                let friend = json!({ "podSelector": { "matchLabels": { "app": "friend" } } });
                spec["ingress"] = json!([{ "from": [friend] }]);
            }
            rig.put(&json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": { "name": app, "namespace": "lab" }, "spec": spec,
            }))?;
        }
        rig.put(&local("server", Some(&rig.server)))?;
        rig.put(&local("late", None))?;
        Ok(rig)
    }

    fn put(&self, object: &Value) -> anyhow::Result<()> {
        let put = self.double.put(object);
        put.map(drop)
            .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
    }

    fn fill(&self) -> anyhow::Result<()> {
        for number in 0..NAMESPACES {
            self.put(&namespace(number))?;
        }
        (0..PODS).try_for_each(|index| self.put(&pod(index, 0)))
    }

    fn start(&self, binary: &str) -> anyhow::Result<Process> {
        let folder = self.world.folder();
        let root = folder.display();
        std::fs::write(folder.join("kubeconfig"), self.double.kubeconfig(None))?;
        let mut text = format!(
            "node: bench\napi: {{ socket: {root}/l7d.sock }}\nruntimeDir: {root}/run\nstateDir: {root}/state\n\
             datapath: {{ pinDir: {}, uplinks: [uplink] }}\n",
            self.pins().display()
        );
        writeln!(
            text,
            "kubernetes: {{ kubeconfig: {root}/kubeconfig, status: false }}"
        )?;
        std::fs::write(folder.join("l7d.yaml"), text)?;
        let node = self.world.node();
        let mut command = node.command(binary);
        command
            .args(["agent", "--config"])
            .arg(folder.join("l7d.yaml"));
        let mut agent = node.start("agent", command)?;
        agent.wait_for("l7d: ready")?;
        let began = Monotonic::now();
        while !self.status(binary)?.contains("Its policies: in force") {
            ensure!(
                Monotonic::now().nanos_since(began) < 60_000_000_000,
                "a cluster"
            );
            pause(Duration::from_millis(100));
        }
        // What comes with the lists has been put into force.
        pause(Duration::from_secs(3));
        Ok(agent)
    }

    fn status(&self, binary: &str) -> anyhow::Result<String> {
        let socket = format!("unix://{}/l7d.sock", self.world.folder().display());
        let words = [binary, "status", "--server", &socket];
        let output = self.world.node().output(&words)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn pins(&self) -> std::path::PathBuf {
        let name = self.world.folder().file_name().unwrap_or_default();
        Path::new("/sys/fs/bpf").join(name)
    }

    /// From a new pod's address at the server to the last of its packets that nobody judged.
    fn new_pod(&self) -> anyhow::Result<u64> {
        let outside = self.world.outside();
        let stream = Stream::start(&self.late.host, &outside, OUTSIDE)?;
        stream.until_heard()?;
        let told = Monotonic::now();
        self.put(&local("late", Some(&self.late)))?;
        let last = stream.until_unheard()?;
        drop(stream);
        self.double.remove("Pod", "lab", "late");
        self.put(&local("late", None))?;
        // Until it is nobody's once more.
        Stream::start(&self.late.host, &outside, OUTSIDE)?.until_heard()?;
        Ok(last.nanos_since(told))
    }

    /// From a pod of another node at the server to its first packet that is let in here.
    fn new_peer(&self) -> anyhow::Result<u64> {
        let friend = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "friend", "namespace": "lab", "labels": { "app": "friend" } },
            "spec": { "nodeName": "elsewhere", "containers": [{ "name": "c", "image": "i" }] },
            "status": { "phase": "Running", "podIP": OUTSIDE, "podIPs": [{ "ip": OUTSIDE }] },
        });
        let outside = self.world.outside();
        let stream = Stream::start(&outside, &self.server.host, &self.server.v4)?;
        stream.until_unheard()?;
        let told = Monotonic::now();
        self.put(&friend)?;
        let first = stream.until_heard()?;
        drop(stream);
        self.double.remove("Pod", "lab", "friend");
        Stream::start(&outside, &self.server.host, &self.server.v4)?.until_unheard()?;
        Ok(first.nanos_since(told))
    }

    fn times(&self, agent: &Process) -> anyhow::Result<Value> {
        let began = (Monotonic::now(), cpu(agent.pid())?);
        let new_pods: Vec<u64> = (0..TIMES)
            .map(|_| self.new_pod())
            .collect::<anyhow::Result<_>>()?;
        let peers: Vec<u64> = (0..TIMES)
            .map(|_| self.new_peer())
            .collect::<anyhow::Result<_>>()?;
        let seconds = nanos_to_seconds(Monotonic::now().nanos_since(began.0));
        Ok(json!({
            "new_pod": shares(new_pods)?, "new_peer": shares(peers)?,
            "cpu": (cpu(agent.pid())? - began.1) / seconds,
        }))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(self.pins());
    }
}

fn nanos_to_seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

/// A pod of this node; without an address where none has been told yet.
fn local(name: &str, pod: Option<&Pod>) -> Value {
    let status = pod.map_or_else(
        || json!({ "phase": "Pending" }),
        |pod| json!({ "phase": "Running", "podIP": pod.v4, "podIPs": [{ "ip": pod.v4 }, { "ip": pod.v6 }] }),
    );
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "lab", "labels": { "app": name } },
        "spec": { "nodeName": "bench", "containers": [{ "name": "c", "image": "i" }] },
        "status": status,
    })
}

/// User and system time of a process, in seconds.
fn cpu(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(") ").context("a name")?;
    let fields = rest.split(' ').skip(11).take(2);
    let ticks: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

fn memory(pid: u32) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |what: &str| {
        let line = text.lines().find(|line| line.starts_with(what))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Ok(json!({ "kib": kib("VmRSS:"), "peak_kib": kib("VmHWM:"), "maps_kib": maps(pid)? / 1024 }))
}

/// Bytes that the kernel keeps for the maps of a process.
fn maps(pid: u32) -> anyhow::Result<u64> {
    let mut seen = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Descriptors come and go.
        let Ok(text) = std::fs::read_to_string(entry?.path()) else {
            continue;
        };
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            seen.insert(id, bytes);
        }
    }
    Ok(seen.values().sum())
}

/// Pods of other nodes come and go: every second change takes the pod away that came twenty before.
fn churn(rig: &Rig, is_over: &AtomicBool) {
    const STAY: usize = 20;
    let began = Monotonic::now();
    for turn in 0..u32::MAX {
        let index = PODS + turn as usize;
        // The server refuses nothing of this.
        let _made = rig.put(&pod(index, 0));
        if turn as usize >= STAY {
            let gone = pod(index - STAY, 0);
            let text = |at: &str| gone["metadata"][at].as_str().unwrap_or_default();
            rig.double.remove("Pod", text("namespace"), text("name"));
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let due = Duration::from_secs(2) / RATE * (turn + 1);
        let taken = Duration::from_nanos(Monotonic::now().nanos_since(began));
        pause(due.saturating_sub(taken));
    }
}

pub(super) fn measure(binary: &str) -> anyhow::Result<Value> {
    let rig = Rig::new()?;
    let mut agent = rig.start(binary)?;
    let alone = memory(agent.pid())?;
    agent.signal(rustix::process::Signal::TERM)?;
    agent.wait()?;
    rig.fill()?;
    let agent = rig.start(binary)?;
    let filled = memory(agent.pid())?;
    let quiet = rig.times(&agent)?;
    let is_over = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        let churning = scope.spawn(|| churn(&rig, &is_over));
        let busy = rig.times(&agent);
        is_over.store(true, Ordering::Relaxed);
        let _panicked = churning.join();
        busy
    })?;
    let behind = memory(agent.pid())?;
    drop(agent);
    Ok(json!({
        "pods": PODS, "rate": RATE, "alone": alone, "filled": filled, "quiet": quiet, "busy": busy,
        "behind": behind,
    }))
}
