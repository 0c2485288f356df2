//! What a running agent has given up, and that it goes on all the same.

use crate::lifecycle::{L7, two_pods};
use crate::node::{Node, curl, serve, wait_until};

/// Runs a program on a kernel that knows neither landlock nor filters of system calls: their calls are
/// answered as such a kernel answers them.
const OLD_KERNEL: &str = r#"
import ctypes, os, struct, sys
landlock, seccomp = 444, {"x86_64": 317, "aarch64": 277}[os.uname().machine]
load, equal, answer, missing = 0x20, 0x15, 0x06, 0x00050000 | 38
program = b"".join(struct.pack("HBBI", *line) for line in [
    (load, 0, 0, 0), (equal, 1, 0, landlock), (equal, 0, 1, seccomp), (answer, 0, 0, missing),
    (answer, 0, 0, 0x7fff0000)])
lines = ctypes.create_string_buffer(program, len(program))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("lines", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(5, ctypes.addressof(lines)))) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// A line of `/proc` of each thread of a process.
fn of_threads(pid: u32, name: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let status = std::fs::read_to_string(thread.path().join("status"))?;
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        found.extend(value.map(|value| value.trim().to_owned()));
    }
    Ok(found)
}

/// Requests are judged.
fn judges(node: &Node) -> anyhow::Result<()> {
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let gateway = &node.pod("api-gateway").host;
    for (path, status) in [("get", "200"), ("other", "403")] {
        let (_, answer) = curl(gateway, &[&format!("http://{}/{path}", service.v4)])?;
        assert!(answer.ends_with(status), "{path}: {answer}");
    }
    Ok(())
}

#[test]
fn every_thread_of_a_running_agent_has_given_up_system_calls() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    let agent = node.agent()?;
    judges(&node)?;
    let pid = agent.process.pid();
    let filtered = of_threads(pid, "Seccomp:")?;
    assert!(filtered.len() > 4, "{filtered:?}");
    assert!(filtered.iter().all(|mode| mode == "2"), "{filtered:?}");
    assert!(of_threads(pid, "NoNewPrivs:")?.iter().all(|set| set == "1"));
    let status = node.l7d("status", &[])?;
    let rights = status.lines().find(|line| line.contains("Rights"));
    let rights = rights.unwrap_or_default();
    assert!(rights.contains("allowed (seccomp)"), "{status}");
    assert!(rights.contains("its own (landlock "), "{status}");
    Ok(())
}

#[test]
fn an_export_to_a_folder_that_the_agent_did_not_start_with_waits_for_a_restart()
-> anyhow::Result<()> {
    let node = two_pods()?;
    // The agent may write beside its socket, which is in the node's own folder.
    let elsewhere = tempfile::tempdir()?;
    let (known, new) = (elsewhere.path().join("known"), elsewhere.path().join("new"));
    let exports = |files: &[&std::path::Path]| {
        let each = files
            .iter()
            .enumerate()
            .map(|(at, file)| format!("{{ name: e{at}, file: {{ path: {} }} }}", file.display()));
        format!("exports: [ {} ]\n", each.collect::<Vec<_>>().join(", "))
    };
    let first = known.join("a.json");
    node.configure(&exports(&[&first]))?;
    let mut agent = node.agent()?;
    wait_until(|| first.is_file(), |is_there| *is_there)?;

    let second = known.join("b.json");
    node.configure(&exports(&[&first, &second]))?;
    agent.process.wait_for("configuration applied")?;
    wait_until(|| second.is_file(), |is_there| *is_there)?;

    let third = new.join("c.json");
    node.configure(&exports(&[&first, &third]))?;
    agent
        .process
        .wait_for("configuration refused, the former one stays")?;
    let said = format!(
        "this agent may not write to {}, which was not in its configuration when it started: restart it",
        new.display()
    );
    let log = agent.process.output();
    assert!(log.contains(&said), "{log}");
    let status = node.l7d("status", &[])?;
    assert!(status.contains("restart it"), "{status}");
    assert!(!new.exists(), "nothing was made there");

    drop(agent);
    let _agent = node.agent()?;
    wait_until(|| third.is_file(), |is_there| *is_there)
}

#[test]
fn a_kernel_that_confines_nothing_is_told_of_and_no_obstacle() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    let host = node.world.node();
    let mut command = host.command("python3");
    command
        .args(["-c", OLD_KERNEL, env!("CARGO_BIN_EXE_l7d"), "agent"])
        .arg("--config")
        .arg(node.config_file());
    let mut agent = host.start("agent", command)?;
    agent.wait_for("l7d: ready")?;
    judges(&node)?;
    let status = node.l7d("status", &[])?;
    for told in [
        "no landlock",
        "system calls are not filtered: the kernel takes no filter",
    ] {
        assert!(status.contains(told), "{told}: {status}");
        assert!(agent.output().contains(told), "{told}: {}", agent.output());
    }
    Ok(())
}

#[test]
fn walls_can_be_left_out() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    node.configure(
        "visibility: [ { port: 80, mode: proxy } ]\nrights: { seccomp: false, landlock: false }\n",
    )?;
    let agent = node.agent()?;
    judges(&node)?;
    let filtered = of_threads(agent.process.pid(), "Seccomp:")?;
    assert!(filtered.iter().all(|mode| mode == "0"), "{filtered:?}");
    let status = node.l7d("status", &[])?;
    assert!(status.contains("all (rights.seccomp: false)"), "{status}");
    assert!(status.contains("all (rights.landlock: false)"), "{status}");
    Ok(())
}
