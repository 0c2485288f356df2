//! A memory cgroup of its own, of either version, in which the kernel ends whom it is told to end first.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use testbed::{Host, Process};

use crate::node::wait_until;

/// What may be taken beyond what is taken already.
const ROOM: u64 = 8 << 20;
/// Takes memory bit by bit until the kernel has ended somebody in its group.
const HUNGRY: &str = r#"
import sys, time
taken = []
while "oom_kill 0" in open(sys.argv[1]).read():
    taken.append(bytearray(1 << 20))
time.sleep(1000)
"#;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The files of a version (`cgroup-v1/memory.rst`, `cgroup-v2.rst`).
#[derive(Debug, Clone, Copy)]
struct Files {
    used: &'static str,
    limit: &'static str,
    kills: &'static str,
    /// What keeps it from the swap, where there is one.
    swap: (&'static str, &'static str),
}

const V1: Files = Files {
    used: "memory.usage_in_bytes",
    limit: "memory.limit_in_bytes",
    kills: "memory.oom_control",
    swap: ("memory.swappiness", "0"),
};
const V2: Files = Files {
    used: "memory.current",
    limit: "memory.max",
    kills: "memory.events",
    swap: ("memory.swap.max", "0"),
};

/// A group, until dropped.
pub(super) struct MemoryGroup {
    folder: PathBuf,
    files: Files,
}

/// Where the memory controller is: its own hierarchy, or the unified one.
fn hierarchy() -> anyhow::Result<(PathBuf, Files)> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut unified = None;
    for line in mounts.lines() {
        let Some((mount, rest)) = line.split_once(" - ") else {
            continue;
        };
        let mut rest = rest.split(' ');
        let place = mount.split(' ').nth(4).map(PathBuf::from);
        let (kind, options) = (rest.next(), rest.nth(1).unwrap_or_default());
        if kind == Some("cgroup") && options.split(',').any(|option| option == "memory") {
            return Ok((place.context("a place")?, V1));
        }
        if kind == Some("cgroup2") {
            unified = place;
        }
    }
    let root = unified.context("this kernel has no memory controller")?;
    // Where it is passed on already, this changes nothing.
    std::fs::write(root.join("cgroup.subtree_control"), "+memory")
        .context("the memory controller cannot be used")?;
    Ok((root, V2))
}

impl MemoryGroup {
    pub(super) fn new() -> anyhow::Result<Self> {
        let (root, files) = hierarchy()?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("l7d-test-{}-{number}", std::process::id());
        let group = Self {
            folder: root.join(name),
            files,
        };
        std::fs::create_dir(&group.folder)?;
        let (swap, none) = files.swap;
        if group.folder.join(swap).exists() {
            group.write(swap, none)?;
        }
        Ok(group)
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(file);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.folder.join(file))?)
    }

    /// What to start a program with, so that it is in here; the kernel ends it before others.
    pub(super) fn words(&self) -> Vec<String> {
        self.words_with("echo 1000 > /proc/self/oom_score_adj")
    }

    fn words_with(&self, more: &str) -> Vec<String> {
        let folder = self.folder.display();
        let script = format!("echo $$ > {folder}/cgroup.procs && {more} && exec \"$@\"");
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// Leaves little room, and has somebody take it, until the kernel ends whoever is to go first.
    pub(super) fn exhaust(&self, host: &Host) -> anyhow::Result<Process> {
        let used: u64 = self.read(self.files.used)?.trim().parse()?;
        self.write(self.files.limit, &(used + ROOM).to_string())?;
        let mut command = host.command("sh");
        command.args(self.words_with("true").get(1..).unwrap_or_default());
        command.args(["python3", "-c", HUNGRY]);
        command.arg(self.folder.join(self.files.kills));
        let hungry = host.start("hungry", command)?;
        let killed = || self.killed().map_err(|error| error.to_string());
        // It may go as well, before what was taken by the first one is free.
        let is_any = |killed: &Result<u64, String>| killed.as_ref().is_ok_and(|count| *count > 0);
        wait_until(killed, is_any).with_context(|| hungry.output())?;
        Ok(hungry)
    }

    /// Processes that the kernel has ended in here.
    fn killed(&self) -> anyhow::Result<u64> {
        let text = self.read(self.files.kills)?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(count.context("no count")?.trim().parse()?)
    }
}

/// Ends whoever is left in a group.
fn empty(folder: &Path) {
    let left = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in left.lines().filter_map(|line| line.parse().ok()) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _gone = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let began = Instant::now();
        // A process that has just ended is in it for a moment.
        while std::fs::remove_dir(&self.folder).is_err() && began.elapsed() < Duration::from_secs(5)
        {
            empty(&self.folder);
            std::thread::yield_now();
        }
    }
}
