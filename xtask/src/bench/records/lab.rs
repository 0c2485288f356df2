//! Two pods and an outside host, with an agent on their node or none.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;
use testbed::{Attach, Pod, Process, World};

use crate::bench::{figures, forget_pins};
use crate::run::target;

/// How much the agent tells of packets.
pub(super) const LEVELS: [&str; 2] = ["none", "medium"];

/// What the agent is to do.
#[derive(Clone, Copy)]
pub(super) struct Agent {
    /// One of [`LEVELS`].
    pub(super) level: &'static str,
    /// A list of ports to look at, as the configuration has it.
    pub(super) visibility: &'static str,
    /// Whether the node has a policy of its own.
    pub(super) guards_host: bool,
}

impl Agent {
    /// It sees packets, and nothing else.
    pub(super) const fn at(level: &'static str) -> Self {
        Self {
            level,
            visibility: "",
            guards_host: false,
        }
    }
}

/// A world of its own, until dropped.
pub(super) struct Lab {
    pub(super) client: Pod,
    pub(super) server: Pod,
    agent: Option<Process>,
    pub(super) world: World,
}

impl Lab {
    pub(super) fn new(agent: Option<Agent>) -> anyhow::Result<Self> {
        let mut world = World::new()?;
        let client = world.pod("client", Attach::Bridged)?;
        let server = world.pod("server", Attach::Bridged)?;
        let agent = match agent {
            Some(agent) => Some(start(&agent, &world, &[&client, &server])?),
            None => None,
        };
        Ok(Self {
            client,
            server,
            agent,
            world,
        })
    }

    /// Process id of the agent.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.agent.as_ref().map(Process::pid).context("an agent")
    }

    /// Records that the kernel has made so far, and those of them for which there was no room.
    pub(super) fn ledger(&self) -> anyhow::Result<[u64; 2]> {
        let socket = format!("unix://{}/l7d.sock", self.world.folder().display());
        let words = [&*binary(), "status", "-o", "json", "--server", &socket];
        let output = self.world.node().output(&words)?;
        let status: Value = serde_json::from_slice(&output.stdout)?;
        let rows = status.pointer("/l7d/ledger").and_then(Value::as_array);
        let ring = rows.into_iter().flatten().find(|row| {
            let place = row.get("place").and_then(Value::as_str);
            place == Some("kernel_ring")
        });
        let ring = ring.with_context(|| format!("no kernel_ring in {status}"))?;
        let number = |name: &str| {
            let value = ring.get(name)?;
            // 64-bit numbers are texts in the JSON form of protobuf.
            value.as_u64().or_else(|| value.as_str()?.parse().ok())
        };
        Ok([
            number("seen").context("seen")?,
            number("lost").unwrap_or_default(),
        ])
    }

    /// Index of an interface of the node.
    pub(super) fn interface(&self, name: &str) -> anyhow::Result<u32> {
        let file = format!("/sys/class/net/{name}/ifindex");
        // `ip netns exec` would mount this namespace's own; nsenter does not.
        let output = self
            .world
            .node()
            .output(&["ip", "-j", "link", "show", name])?;
        let told: Value = serde_json::from_slice(&output.stdout).context(file)?;
        let index = told.get(0).and_then(|link| link.get("ifindex"));
        let index = index.and_then(Value::as_u64).context("an index")?;
        Ok(u32::try_from(index)?)
    }

    /// What the agent has used of cores, in seconds, exactly.
    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        Ok(figures::scheduled_seconds(self.pid()?))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.agent = None;
        forget_pins(&self.world);
    }
}

fn binary() -> String {
    target().join("release/l7d").display().to_string()
}

fn start(agent: &Agent, world: &World, pods: &[&Pod]) -> anyhow::Result<Process> {
    let folder = world.folder();
    std::fs::create_dir_all(folder.join("policies"))?;
    if agent.guards_host {
        std::fs::write(folder.join("policies/host.yaml"), HOST_POLICY)?;
    }
    let file = folder.join("l7d.yaml");
    std::fs::write(&file, config(agent, folder, pods)?)?;
    let node = world.node();
    let mut command = node.command(&binary());
    command.args(["agent", "--config"]).arg(&file);
    let mut process = node.start("agent", command)?;
    process.wait_for("l7d: ready")?;
    Ok(process)
}

/// Lets everybody in, by rules that must be asked.
const HOST_POLICY: &str = "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: { name: host }\n\
                           spec:\n  nodeSelector: {}\n  ingress:\n  - fromEntities: [all]\n  egress:\n  - toEntities: [all]\n";

fn config(agent: &Agent, folder: &Path, pods: &[&Pod]) -> anyhow::Result<String> {
    let name = folder.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or("l7d-bench");
    let root = folder.display();
    let mut text = format!(
        "node: bench\napi: {{ socket: {root}/l7d.sock }}\nruntimeDir: {root}/run\n\
         datapath: {{ pinDir: /sys/fs/bpf/{name}, uplinks: [uplink], hostFirewall: {} }}\n\
         visibility: [ {} ]\npolicies: {{ directory: {root}/policies }}\nproxy: {{ workers: 1 }}\n",
        agent.guards_host, agent.visibility
    );
    writeln!(text, "flows: {{ aggregation: {} }}", agent.level)?;
    text.push_str("endpoints:\n");
    for pod in pods {
        let Pod {
            name,
            v4,
            v6,
            interface,
            ..
        } = pod;
        writeln!(
            text,
            "- {{ name: {name}, labels: {{ app: {name} }}, ips: [{v4}, \"{v6}\"], interface: {interface} }}"
        )?;
    }
    Ok(text)
}
