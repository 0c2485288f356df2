//! `cargo xtask demo`: three pods, real servers, two stories, and the flows as a user sees them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use testbed::{Attach, Pod, Process, World};

use crate::run::{cargo, run as succeed, say, target, workspace};
use crate::{ebpf, setup};

/// The demo's world with an agent on its node.
struct Demo {
    // Dropped in this order: the agent first, then the servers, then the namespaces.
    agent: Process,
    _servers: Vec<Process>,
    pods: Vec<Pod>,
    world: World,
    binary: PathBuf,
}

/// Builds everything, tells both stories, and tears everything down.
pub(crate) fn run(keep: bool) -> anyhow::Result<()> {
    setup::everything()?;
    ebpf::build()?;
    say("building l7d");
    succeed(&mut cargo(&[
        "build",
        "--quiet",
        "--profile",
        "quick",
        "--package",
        "l7d",
    ]))?;
    let mut demo = Demo::new()?;
    demo.typo()?;
    demo.get_not_post()?;
    if keep {
        demo.explore()?;
    }
    demo.end()
}

impl Demo {
    fn new() -> anyhow::Result<Self> {
        say("making three pods: frontend, api-gateway, user-service");
        let mut world = World::new()?;
        let pods = ["frontend", "api-gateway", "user-service"]
            .iter()
            .map(|name| world.pod(name, Attach::Bridged))
            .collect::<anyhow::Result<Vec<Pod>>>()?;
        let servers = pods.iter().map(serve).collect::<anyhow::Result<Vec<_>>>()?;
        std::fs::create_dir_all(world.folder().join("policies"))?;
        std::fs::write(world.folder().join("l7d.yaml"), config(&world, &pods)?)?;
        let binary = target().join("quick/l7d");
        let mut command = world.node().command(&binary.display().to_string());
        command
            .args(["agent", "--config"])
            .arg(world.folder().join("l7d.yaml"));
        let mut agent = world.node().start("agent", command)?;
        agent.wait_for("l7d: ready")?;
        Ok(Self {
            agent,
            _servers: servers,
            pods,
            world,
            binary,
        })
    }

    fn pod(&self, name: &str) -> anyhow::Result<&Pod> {
        self.pods
            .iter()
            .find(|pod| pod.name == name)
            .context("a pod of the demo")
    }

    /// Story 1: a selector with a typo closes the way out of the gateway.
    fn typo(&mut self) -> anyhow::Result<()> {
        title("1. Silently dropped: api-gateway cannot reach user-service");
        self.policy("story-1-typo.yaml", 1)?;
        self.ask("frontend", "api-gateway", &[], "/")?;
        self.ask("api-gateway", "user-service", &[], "/users")?;
        self.observe(&["--from-pod", "prod-app/api-gateway", "--verdict", "DROPPED"])?;
        let log = self.agent.output();
        if let Some(warning) = log.lines().find(|line| line.contains("did you mean")) {
            let text = warning.split("WARN").nth(1).unwrap_or(warning);
            print(&format!(
                "The agent had said so when it read the policy:\n  {}",
                text.trim()
            ));
        }
        print("With the label corrected:");
        self.policy("story-1-fixed.yaml", 2)?;
        self.ask("api-gateway", "user-service", &[], "/users")?;
        self.observe(&["--protocol", "http", "--last", "2"])
    }

    /// Story 2: one method on one path.
    fn get_not_post(&mut self) -> anyhow::Result<()> {
        title("2. GET /get yes, POST /post no");
        self.policy("story-2-get-not-post.yaml", 3)?;
        self.ask("api-gateway", "user-service", &[], "/get")?;
        self.ask(
            "api-gateway",
            "user-service",
            &["-d", "{\"key\":\"value\"}"],
            "/post",
        )?;
        self.ask("frontend", "user-service", &[], "/get")?;
        self.observe(&[
            "--to-label",
            "app=user-service",
            "--protocol",
            "http",
            "--last",
            "3",
        ])?;
        self.observe(&[
            "--from-pod",
            "prod-app/frontend",
            "--verdict",
            "DROPPED",
            "--last",
            "2",
        ])
    }

    /// Puts a policy in force and waits for it.
    fn policy(&mut self, file: &str, count: usize) -> anyhow::Result<()> {
        let fresh = self.world.folder().join("policy.new");
        std::fs::copy(workspace().join("demo").join(file), &fresh)?;
        std::fs::rename(&fresh, self.world.folder().join("policies/policy.yaml"))?;
        print(&format!("policy: demo/{file}"));
        self.agent.wait_for_count("policies applied", count)
    }

    /// One request, and what its client saw.
    fn ask(&self, from: &str, to: &str, more: &[&str], path: &str) -> anyhow::Result<()> {
        let url = format!("http://{}{path}", self.pod(to)?.v4);
        let words = [
            &["curl", "-s", "-m", "2", "-w", "%{http_code}"],
            more,
            &[&url],
        ]
        .concat();
        let output = self.pod(from)?.host.output(&words)?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let method = if more.is_empty() { "GET" } else { "POST" };
        let outcome = match output.status.code() {
            Some(0) => answer
                .chars()
                .rev()
                .take(3)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect(),
            Some(28) => "no answer (timed out)".to_owned(),
            code => format!("curl's exit code {code:?}"),
        };
        print(&format!("  {from} -> {to}: {method} {path}: {outcome}"));
        Ok(())
    }

    /// The flows, as `l7d observe` shows them.
    fn observe(&self, arguments: &[&str]) -> anyhow::Result<()> {
        print(&format!(
            "$ l7d observe --print-policy-names {}",
            arguments.join(" ")
        ));
        let output = Command::new(&self.binary)
            .args([
                "observe",
                "--print-policy-names",
                "--server",
                &self.server(),
            ])
            .args(arguments)
            .output()?;
        print(String::from_utf8_lossy(&output.stdout).trim_end());
        Ok(())
    }

    fn server(&self) -> String {
        format!("unix://{}/l7d.sock", self.world.folder().display())
    }

    /// Waits for Ctrl-C, and says what there is to see.
    fn explore(&mut self) -> anyhow::Result<()> {
        title("Running. Ctrl-C ends it.");
        let binary = self.binary.display();
        print(&format!(
            "{binary} observe --follow --server {}",
            self.server()
        ));
        print(&format!("{binary} status --server {}", self.server()));
        for pod in &self.pods {
            let shell = format!("{:?}", pod.host.command("bash")).replace('"', "");
            print(&format!("{:<13} {:<12} {shell}", pod.name, pod.v4));
        }
        // The terminal sends Ctrl-C to this process; the agent is in a group of its own.
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        ctrlc::set_handler(move || {
            // A second Ctrl-C finds the first one waiting.
            let _full = sender.try_send(());
        })?;
        receiver.recv().context("Ctrl-C")
    }

    /// Stops the agent and removes what it left in the kernel.
    fn end(mut self) -> anyhow::Result<()> {
        self.agent.signal(rustix::process::Signal::TERM)?;
        self.agent.wait()?;
        let mut command = self
            .world
            .node()
            .command(&self.binary.display().to_string());
        command
            .args(["agent", "--cleanup", "--config"])
            .arg(self.world.folder().join("l7d.yaml"));
        succeed(&mut command)?;
        say("pods, agent and namespaces are gone");
        Ok(())
    }
}

fn serve(pod: &Pod) -> anyhow::Result<Process> {
    let mut command = pod.host.command("python3");
    command.arg(workspace().join("demo/httpbin.py")).arg("80");
    let mut process = pod.host.start("httpbin", command)?;
    process.wait_for("serving")?;
    Ok(process)
}

fn config(world: &World, pods: &[Pod]) -> anyhow::Result<String> {
    let folder = world.folder().display();
    let name = world
        .folder()
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("l7d-demo");
    let mut text = format!(
        "node: demo-node\napi: {{ socket: {folder}/l7d.sock }}\nruntimeDir: {folder}/run\n\
         datapath: {{ pinDir: /sys/fs/bpf/{name}, uplinks: [uplink] }}\n\
         visibility: [ {{ port: 80 }} ]\npolicies: {{ directory: {folder}/policies }}\n\
         proxy: {{ workers: 1 }}\nendpoints:\n"
    );
    let tiers = ["presentation", "logic", "data"];
    for (pod, tier) in pods.iter().zip(tiers) {
        let Pod {
            name,
            v4,
            v6,
            interface,
            ..
        } = pod;
        writeln!(
            text,
            "- {{ name: {name}, namespace: prod-app, labels: {{ app: {name}, tier: {tier} }}, \
             ips: [{v4}, \"{v6}\"], interface: {interface} }}"
        )?;
    }
    Ok(text)
}

fn title(text: &str) {
    print(&format!("\n== {text}\n"));
}

#[expect(clippy::print_stdout, reason = "the demo is what it prints")]
fn print(text: &str) {
    println!("{text}");
}
