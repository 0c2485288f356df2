//! The guide's commands that need an agent and pods, run as they stand there: with the default
//! paths, and so in a mount namespace of their own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use testbed::{Attach, Process, World};

use crate::blocks::{self, Block, blocks, page};
use crate::node::serve;

/// Files of the agent's at their usual places, seen by nobody else. `/etc` keeps what is in it, and
/// what is written is in memory.
const OWN_PLACES: &str = "set -e
mount -t tmpfs tmpfs \"$1\"
mkdir \"$1/upper\" \"$1/work\"
mount -t overlay overlay -o \"lowerdir=/etc,upperdir=$1/upper,workdir=$1/work\" /etc
mount -t tmpfs tmpfs /run
mkdir /run/l7d
mount -t bpf bpf /sys/fs/bpf
echo made
exec sleep infinity";

/// The guide's node: its pods have the addresses that stand there.
struct Place {
    // Dropped in this order.
    agent: Option<Process>,
    _servers: Vec<Process>,
    /// Holds the mount namespace.
    holder: Process,
    pods: Vec<testbed::Pod>,
    world: World,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let mut world = World::new()?;
        let names = ["api-gateway", "user-service"];
        let pods = names.map(|name| world.pod(name, Attach::Bridged));
        let pods = pods.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let server = serve(&pods.last().context("a pod")?.host, 80)?;
        let own = world.folder().join("own");
        let programs = world.folder().join("bin");
        std::fs::create_dir_all(&own)?;
        std::fs::create_dir_all(&programs)?;
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_l7d"), programs.join("l7d"))?;
        // The test is root already, and not every machine has sudo.
        let sudo = programs.join("sudo");
        std::fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n")?;
        std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755))?;
        let mut command = world.node().command("unshare");
        command
            .args(["--mount", "sh", "-c", OWN_PLACES, "sh"])
            .arg(&own);
        let mut holder = world.node().start("holder", command)?;
        holder.wait_for("made")?;
        Ok(Self {
            agent: None,
            _servers: vec![server],
            holder,
            pods,
            world,
        })
    }

    /// A shell on the node, with the agent's files.
    fn shell(&self, text: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.holder.pid()))
            .args(["--net", "--mount", "/bin/sh", "-c"])
            .arg(format!("exec 2>&1\n{text}"));
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        let programs = self.world.folder().join("bin");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
        command.env("PATH", path).env("COLUMNS", "100");
        command.current_dir(self.world.folder());
    }

    /// Runs commands until each has done what the page says: what has happened is told soon, not at
    /// once.
    fn run(&self, block: &Block, shell: impl Fn(&str) -> Command) -> anyhow::Result<()> {
        for command in block.commands() {
            self.until(block, &command, &shell)?;
        }
        Ok(())
    }

    fn until(
        &self,
        block: &Block,
        command: &blocks::Command,
        shell: impl Fn(&str) -> Command,
    ) -> anyhow::Result<()> {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let output = shell(&command.text).output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let Err(difference) = command.compare(output.status.code(), &text) else {
                return Ok(());
            };
            if std::time::Instant::now() > deadline {
                let log = self.agent.as_ref().map(Process::output);
                bail!(
                    "docs/guide.md:{}: {difference}\nthe agent's log:\n{}",
                    block.line,
                    log.unwrap_or_default()
                );
            }
        }
    }

    /// Writes a file on the node. A policy is in force when the agent says so.
    fn write(&mut self, path: &str, text: &str) -> anyhow::Result<()> {
        let fresh = self.world.folder().join("fresh");
        std::fs::write(&fresh, text)?;
        let applied = "policies applied";
        let before = self
            .agent
            .as_ref()
            .map(|agent| agent.output().matches(applied).count());
        let folder = Path::new(path).parent().context("a folder")?;
        let command = format!(
            "mkdir -p {0} && cp {1} {0}/.fresh && mv {0}/.fresh {path}",
            folder.display(),
            fresh.display()
        );
        let output = self.shell(&command).output()?;
        anyhow::ensure!(output.status.success(), "{path}: {output:?}");
        match (self.agent.as_mut(), before) {
            (Some(agent), Some(before)) => agent.wait_for_count(applied, before + 1),
            _ => Ok(()),
        }
    }

    fn start(&mut self, block: &Block) -> anyhow::Result<()> {
        for command in block.commands() {
            let shell = self.shell(&format!("exec {}", command.text));
            let mut agent = self.world.node().start("agent", shell)?;
            agent.wait_for("l7d: ready")?;
            self.agent = Some(agent);
        }
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let mut agent = self.agent.take().context("an agent")?;
        agent.signal(Signal::TERM)?;
        anyhow::ensure!(agent.wait()?.success(), "{}", agent.output());
        Ok(())
    }

    fn follow(&mut self, block: &Block) -> anyhow::Result<()> {
        if let Some(path) = block.mark.strip_prefix("node-file=") {
            return self.write(path, &block.body);
        }
        if let Some(name) = block.mark.strip_prefix("run=pod:") {
            let pod = self.pods.iter().find(|pod| pod.name == name);
            let pod = pod.with_context(|| format!("line {}: no pod {name}", block.line))?;
            return self.run(block, |text| {
                let mut command = pod.host.command("/bin/sh");
                command.args(["-c", &format!("exec 2>&1\n{text}")]);
                self.surround(&mut command);
                command
            });
        }
        match block.mark.as_str() {
            "run=node" => self.run(block, |text| self.shell(text)),
            "run=node-background" => self.start(block),
            "run=node-stopped" => {
                self.stop()?;
                self.run(block, |text| self.shell(text))
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn what_the_guide_does_on_a_node_does_what_it_says() -> anyhow::Result<()> {
    let page = page();
    let mut place = Place::new()?;
    let (gateway, service) = (&place.pods[0], &place.pods[1]);
    for pod in [gateway, service] {
        assert!(page.contains(&format!("ips: [{}]", pod.v4)), "{}", pod.v4);
    }
    for block in blocks(&page) {
        place.follow(&block)?;
    }
    assert!(
        place.agent.is_none(),
        "the guide ends by stopping the agent"
    );
    Ok(())
}
