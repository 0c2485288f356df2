//! The unit, as it is packaged, with a real systemd.
//!
//! `L7D_TEST_RESTARTS` and `L7D_TEST_TAKEOVER_CONNECTIONS` make it longer: `cargo xtask soak restarts`.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::Process;

use crate::node::{Node, from_environment};
use crate::takeover::{self, Askers, PEERS, PYTHON};

const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent/systemd/boot.sh");
const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/l7d.service");

/// A systemd that knows one service: process 1 of its own processes, on the network of the node. What it
/// has started ends with it.
struct Manager<'a> {
    node: &'a Node,
    process: Process,
}

impl<'a> Manager<'a> {
    fn start(node: &'a Node) -> anyhow::Result<Self> {
        let folder = node.world.folder();
        let own = folder.join("systemd");
        std::fs::create_dir_all(own.join("policies"))?;
        let policy = std::fs::read(folder.join("policies/policy.yaml"))?;
        std::fs::write(own.join("policies/policy.yaml"), policy)?;
        // Where the unit's directories are.
        let told = std::fs::read_to_string(node.config_file())?;
        let mut told = told.replace(
            &format!("{}/policies", folder.display()),
            "/etc/l7d/policies",
        );
        told = told.replace(&format!("{}/state", folder.display()), "/var/lib/l7d");
        told = told.replace(&format!("{}/run", folder.display()), "/run/l7d");
        told = told.replace(
            &format!("{}/l7d.sock", folder.display()),
            "/run/l7d/l7d.sock",
        );
        std::fs::write(own.join("l7d.yaml"), told)?;
        let mut command = node.world.node().command("unshare");
        let namespaces = ["--mount", "--pid", "--cgroup", "--uts", "--ipc"];
        command.args(namespaces).args(["--fork", "--kill-child"]);
        command.args(["sh", BOOT]).arg(own);
        command.args([env!("CARGO_BIN_EXE_l7d"), UNIT]);
        let process = node.world.node().start("systemd", command)?;
        let manager = Self { node, process };
        let began = Instant::now();
        while !manager
            .run(&["systemctl", "start", "l7d"])?
            .status
            .success()
        {
            anyhow::ensure!(
                began.elapsed() < Duration::from_secs(30),
                "{}\n{}",
                manager.process.output(),
                manager.told()
            );
        }
        Ok(manager)
    }

    /// Runs a program beside the service.
    fn run(&self, words: &[&str]) -> anyhow::Result<Output> {
        let parent = self.process.pid();
        let children = format!("/proc/{parent}/task/{parent}/children");
        let child = std::fs::read_to_string(children)?;
        let inside = ["--mount", "--pid", "--cgroup", "--root", "--wd=/"];
        let words = [&["nsenter", "--target", child.trim()], &inside[..], words].concat();
        self.node.world.node().output(&words)
    }

    /// Does something to the service, and waits until it is done.
    fn systemctl(&self, verb: &str) -> anyhow::Result<()> {
        let output = self.run(&["systemctl", verb, "l7d"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{verb}: {said}\n{}", self.told());
        Ok(())
    }

    fn property(&self, name: &str) -> anyhow::Result<String> {
        let output = self.run(&["systemctl", "show", "--value", "--property", name, "l7d"])?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn told(&self) -> String {
        let status = self.run(&["systemctl", "status", "--full", "l7d"]);
        let status = status.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        );
        let log = self.node.world.folder().join("systemd/log/l7d");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        format!("{status}\n{log}")
    }
}

#[test]
fn connections_outlive_reloads_and_restarts_of_the_service() -> anyhow::Result<()> {
    let node = takeover::node()?;
    let service = node.pod("user-service");
    let server = takeover::serve(&service.host, [PYTHON, PEERS])?;
    let manager = Manager::start(&node)?;
    let gateway = &node.pod("api-gateway").host;
    let mut former = manager.property("MainPID")?;
    let share = (from_environment("L7D_TEST_TAKEOVER_CONNECTIONS", 30)? / 3).to_string();
    let restarts = from_environment("L7D_TEST_RESTARTS", 2)?;
    for verb in ["reload", "restart"].into_iter().cycle().take(2 * restarts) {
        let arguments = [service.v4.as_str(), &share, &share, &share];
        let askers = Askers::begin(gateway, [PYTHON, PEERS], &arguments)?;
        manager.systemctl(verb)?;
        let now = manager.property("MainPID")?;
        assert_ne!(now, former, "{verb}: {}", manager.told());
        former = now;
        let asked = askers.end()?;
        println!("{verb}: {asked}");
        let told = manager.told();
        let failures = asked["failures"].as_array().into_iter().flatten();
        let mut failures: Vec<&str> = failures.filter_map(Value::as_str).collect();
        // Nobody judges new ones where a restart takes longer than a beat holds, on a busy machine.
        if verb == "restart" {
            failures.retain(|failure| !failure.starts_with("dns") && !failure.starts_with("fresh"));
        }
        assert!(failures.is_empty(), "{verb}: {failures:?} {told}");
    }
    assert!(!server.output().contains("/admin"), "{}", server.output());
    manager.systemctl("stop")?;
    assert_eq!(manager.property("ActiveState")?, "inactive");
    assert_eq!(manager.property("NFileDescriptorStore")?, "0");
    Ok(())
}
