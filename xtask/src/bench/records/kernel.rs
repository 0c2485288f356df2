//! Kernel programs from outside: run with one packet, or counted while they see traffic. `bpftool`
//! does both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testbed::Host;

use crate::bench::BPF_STATS;
use crate::run::run as succeed;

/// An empty program, assembled: what remains of a figure when nothing is done.
const NOTHING: &str = ".section tc,\"ax\",@progbits\n.globl nothing\n.type nothing,@function\nnothing:\n r0 = 0\n exit\n\
                       .size nothing, .-nothing\n.section license,\"aw\",@progbits\n.asciz \"GPL\"\n";
const ASSEMBLER: &str = "/usr/lib/llvm-22/bin/llvm-mc";

/// What measuring itself takes, in nanoseconds.
pub(super) struct Floor {
    /// Of a run that does nothing.
    pub(super) run: f64,
    /// What each run takes longer while the kernel counts.
    pub(super) counting: f64,
    /// What the kernel counts of a run that does nothing.
    pub(super) counted: f64,
}

/// The empty program in the kernel, until dropped.
pub(super) struct Empty {
    pin: PathBuf,
}

impl Empty {
    pub(super) fn load() -> anyhow::Result<Self> {
        let name = format!("l7d-bench-nothing-{}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder)?;
        let [source, object] = ["nothing.s", "nothing.o"].map(|file| folder.join(file));
        std::fs::write(&source, NOTHING)?;
        let assembled = succeed(
            Command::new(ASSEMBLER)
                .args(["-triple", "bpfel", "-filetype=obj", "-o"])
                .args([&object, &source]),
        );
        let pin = Path::new("/sys/fs/bpf").join(name);
        let loaded = assembled.and_then(|()| {
            succeed(
                Command::new("bpftool")
                    .args(["prog", "load"])
                    .args([&object, &pin])
                    .args(["type", "classifier"]),
            )
        });
        std::fs::remove_dir_all(folder)?;
        loaded.map(|()| Self { pin })
    }

    pub(super) fn measure(&self, repeat: u32) -> anyhow::Result<Floor> {
        let shown = || {
            tool(
                Command::new("bpftool")
                    .args(["-j", "prog", "show", "pinned"])
                    .arg(&self.pin),
            )
        };
        let id = number(&shown()?, "id")?;
        let here = |words: &[&str]| {
            let mut command = Command::new("bpftool");
            command.args(words);
            command
        };
        let run = test_run(here, id, &[0; 64], &[], repeat)?;
        let _counting = Counting::start()?;
        let with_ns = test_run(here, id, &[0; 64], &[], repeat)?;
        let counted = shown()?;
        Ok(Floor {
            run,
            counting: with_ns - run,
            counted: ratio(
                number(&counted, "run_time_ns")?,
                number(&counted, "run_cnt")?,
            ),
        })
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.pin);
    }
}

/// While it is there, the kernel counts the runs of programs and their time.
pub(super) struct Counting(());

impl Counting {
    pub(super) fn start() -> anyhow::Result<Self> {
        std::fs::write(BPF_STATS, "1")?;
        Ok(Self(()))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let _told = std::fs::write(BPF_STATS, "0");
    }
}

/// What the kernel has counted of a program.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) runs: u64,
    pub(super) ns: u64,
}

/// The programs of a process, by name.
pub(super) struct Programs {
    ids: BTreeMap<String, u64>,
    pid: u32,
}

impl Programs {
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let mut ids = BTreeMap::new();
        for id in counts(pid)?.into_keys() {
            let id_text = id.to_string();
            let shown = tool(Command::new("bpftool").args(["-j", "prog", "show", "id", &id_text]))?;
            let name = shown.get("name").and_then(Value::as_str);
            ids.insert(name.unwrap_or_default().to_owned(), id);
        }
        Ok(Self { ids, pid })
    }

    pub(super) fn id(&self, name: &str) -> anyhow::Result<u64> {
        self.ids
            .get(name)
            .copied()
            .with_context(|| format!("no program {name} in the kernel"))
    }

    /// What has been counted so far.
    pub(super) fn counts(&self) -> anyhow::Result<BTreeMap<String, Count>> {
        let counts = counts(self.pid)?;
        let named = self.ids.iter();
        Ok(named
            .map(|(name, id)| (name.clone(), counts.get(id).copied().unwrap_or_default()))
            .collect())
    }
}

/// What `/proc` tells of the programs that a process has open.
fn counts(pid: u32) -> anyhow::Result<BTreeMap<u64, Count>> {
    let mut programs = BTreeMap::new();
    for descriptor in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        // It may be closed by now.
        let text = std::fs::read_to_string(descriptor.path()).unwrap_or_default();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(ns), Some(runs)) = (
            number("prog_id:"),
            number("run_time_ns:"),
            number("run_cnt:"),
        ) {
            programs.insert(id, Count { runs, ns });
        }
    }
    Ok(programs)
}

/// Mean time of a run with a packet at an interface of a host.
pub(super) fn run_at(
    host: &Host,
    id: u64,
    frame: &[u8],
    context: &[u8],
    repeat: u32,
) -> anyhow::Result<f64> {
    let command = |words: &[&str]| {
        let mut command = host.command("bpftool");
        command.args(words);
        command
    };
    test_run(command, id, frame, context, repeat)
}

fn test_run(
    bpftool: impl Fn(&[&str]) -> Command,
    id: u64,
    frame: &[u8],
    context: &[u8],
    repeat: u32,
) -> anyhow::Result<f64> {
    let folder = std::env::temp_dir();
    let pid = std::process::id();
    let [data, skb] = ["data", "skb"].map(|what| folder.join(format!("l7d-bench-{pid}-{what}")));
    std::fs::write(&data, frame)?;
    std::fs::write(&skb, context)?;
    let id = id.to_string();
    let repeat = repeat.to_string();
    let mut command = bpftool(&["-j", "prog", "run", "id", &id, "repeat", &repeat, "data_in"]);
    command.arg(&data);
    if !context.is_empty() {
        command.arg("ctx_in").arg(&skb);
    }
    let told = tool(&mut command);
    for file in [data, skb] {
        std::fs::remove_file(file)?;
    }
    let told = told?;
    Ok(number(&told, "duration")?.to_string().parse()?)
}

fn tool(command: &mut Command) -> anyhow::Result<Value> {
    let output = command.output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{command:?}: {told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&told).with_context(|| format!("{command:?}: {told}"))
}

fn number(told: &Value, name: &str) -> anyhow::Result<u64> {
    told.get(name)
        .and_then(Value::as_u64)
        .with_context(|| format!("no {name} in {told}"))
}

/// Counts that are small enough to be exact.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures of a bench are below 2^52"
)]
pub(super) fn ratio(sum: u64, count: u64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    sum as f64 / count as f64
}
