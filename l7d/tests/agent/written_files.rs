//! Which files an agent writes to: all that it opens, makes, renames or removes from its start to its end is
//! looked at, that of the programs that it starts among it, and compared with what `docs/rights.md` says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::lifecycle::{L7, two_pods};
use crate::node::{curl, serve, wait_until};

/// Calls that change files, or open them to be changed.
const CALLS: &str = "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,\
                     unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,chmod,fchmodat,chown,fchownat,\
                     lchown,truncate,setxattr,utimensat,bind";

/// What a line of strace says was written to; nothing where it failed, or only read.
fn written(line: &str) -> Vec<PathBuf> {
    let Some((call, answer)) = line.rsplit_once(" = ") else {
        return Vec::new();
    };
    let opens = call.contains("open(") || call.contains("openat(") || call.contains("openat2(");
    let changes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];
    if answer.starts_with('-') || (opens && !changes.iter().any(|flag| call.contains(flag))) {
        return Vec::new();
    }
    if call.contains("bind(") && !call.contains("sun_path=\"") {
        return Vec::new();
    }
    // The descriptor that was opened has its whole path behind it.
    if let Some((_, path)) = answer.split_once('<').filter(|_| opens) {
        return vec![path.trim_end_matches(['>', '\n']).into()];
    }
    // Each path is in quotes, behind the folder that it counts from where there is one.
    let mut paths = Vec::new();
    let mut folder = PathBuf::new();
    for part in call.split(['(', ',']) {
        let part = part.trim();
        if let Some((_, name)) = part.split_once('<') {
            folder = name.trim_end_matches('>').into();
        } else if let Some((_, name)) = part.split_once('"') {
            paths.push(folder.join(name.trim_end_matches(['"', '}', ')'])));
        }
    }
    paths
}

#[test]
fn lines_of_strace_tell_what_was_written() {
    let paths = |line: &str| -> Vec<String> {
        let paths = written(line);
        paths
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    };
    for (line, expected) in [
        (
            r#"7 openat(AT_FDCWD</x>, "a", O_WRONLY|O_CREAT, 0600) = 4</x/a>"#,
            vec!["/x/a"],
        ),
        (
            r#"7 openat(AT_FDCWD</x>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 4</etc/hosts>"#,
            vec![],
        ),
        (
            r#"7 openat(AT_FDCWD</x>, "/y/b", O_RDWR) = -1 EACCES (Permission denied)"#,
            vec![],
        ),
        (
            r#"7 rename("/y/b.new", "/y/b") = 0"#,
            vec!["/y/b.new", "/y/b"],
        ),
        (r#"7 unlinkat(5</y>, "c", 0) = 0"#, vec!["/y/c"]),
        (
            r#"7 bind(9<socket:[1]>, {sa_family=AF_UNIX, sun_path="/y/s"}, 18) = 0"#,
            vec!["/y/s"],
        ),
        (
            r"7 bind(9<socket:[1]>, {sa_family=AF_INET, sin_port=htons(0)}, 16) = 0",
            vec![],
        ),
    ] {
        assert_eq!(paths(line), expected, "{line}");
    }
}

#[test]
fn an_agent_writes_to_its_own_folders_alone() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    let traces = tempfile::tempdir()?;
    let trace = traces.path().join("trace");
    let exported = tempfile::tempdir()?;
    let flows = exported.path().join("flows.json");
    let exports = format!(
        "exports: [ {{ name: a, file: {{ path: {} }} }} ]\n",
        flows.display()
    );
    node.configure(&exports)?;

    let mut command = node.world.node().command("strace");
    // The agent is the process that was started, and strace a child of its own.
    command.args([
        "-D",
        "-f",
        "-q",
        "-y",
        "-s",
        "4096",
        "-e",
        "signal=none",
        "-e",
    ]);
    command.arg(format!("trace={CALLS}")).arg("-o").arg(&trace);
    command
        .args([env!("CARGO_BIN_EXE_l7d"), "agent", "--config"])
        .arg(node.config_file());
    let mut agent = node.world.node().start("agent", command)?;
    agent.wait_for("l7d: ready")?;

    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let gateway = &node.pod("api-gateway").host;
    let get = format!("http://{}/get", service.v4);
    assert!(curl(gateway, &[&get])?.1.ends_with("200"));
    node.configure(&format!(
        "{exports}drops: {{ netfilterRules: true }}\nvisibility: [ {{ port: 80, mode: proxy }} ]\n"
    ))?;
    agent.wait_for("configuration applied")?;
    node.policy(&L7.replace("/get", "/other"))?;
    agent.wait_for("policies applied")?;
    assert!(curl(gateway, &[&get])?.1.ends_with("403"));
    wait_until(
        || std::fs::metadata(&flows).is_ok_and(|of| of.len() > 0),
        |is_told| *is_told,
    )?;
    agent.signal(Signal::TERM)?;
    agent.wait()?;
    let whole = || std::fs::read_to_string(&trace).unwrap_or_default();
    let own = format!("{} ", agent.pid());
    let is_over = |trace: &String| {
        let mut ends = trace
            .lines()
            .filter(|line| line.contains("+++ exited with"));
        ends.any(|line| line.starts_with(&own))
    };
    wait_until(whole, is_over)?;

    let folder = node.world.folder();
    let socket = folder.join("l7d.sock");
    let own = [
        folder.join("run"),
        node.pin_dir(),
        exported.path().to_owned(),
        "/proc/sys/net".into(),
    ];
    let all: BTreeSet<PathBuf> = whole().lines().flat_map(written).collect();
    let is_own = |path: &Path| path == socket || own.iter().any(|own| path.starts_with(own));
    let foreign: Vec<_> = all.iter().filter(|path| !is_own(path)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    // The list is no longer than it must be.
    for own in own.iter().chain([&socket]) {
        assert!(
            all.iter().any(|path| path.starts_with(own)),
            "nothing in {}",
            own.display()
        );
    }
    Ok(())
}
