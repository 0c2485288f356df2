//! Looks for inputs that break a property: `cargo xtask fuzz`.
//!
//! The programs are built by the compiler of the workspace: what the fuzzer needs of it are passes
//! of LLVM, which stable compilers have too (see `fuzz/README.md`).

mod seeds;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::run::{run as succeed, say, target, workspace};
use crate::setup;

const HOST: &str = "x86_64-unknown-linux-gnu";
/// What the fuzzer is told by: which edges were taken, and what was compared with what.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing";
/// One input may take so long, in seconds.
const TIMEOUT: u32 = 10;
/// And so much memory, in MiB.
const MEMORY: u32 = 1024;
/// Longest input in bytes: longer ones are slow and find the same.
const LENGTH: u32 = 8192;

/// What became of one target.
struct Outcome {
    name: String,
    executions: u64,
    edges: u64,
    findings: Vec<PathBuf>,
}

/// Builds, seeds and runs these targets, all without names, each for so many seconds.
pub(crate) fn run(names: &[String], seconds: u32) -> anyhow::Result<()> {
    let known = properties::TARGETS.map(|(name, _)| name);
    let unknown = names.iter().find(|name| !known.contains(&name.as_str()));
    if let Some(name) = unknown {
        bail!("{name} is no target: {}", known.join(", "));
    }
    setup::fuzz()?;
    let folder = target().join("fuzz");
    build(&folder)?;
    seeds::make(&folder.join("seeds"))?;
    let mut outcomes = Vec::new();
    for name in known {
        if names.is_empty() || names.iter().any(|chosen| chosen == name) {
            say(&format!("{name}: {seconds} s"));
            outcomes.push(fuzz(&folder, name, seconds)?);
        }
    }
    report(&folder, &outcomes)
}

fn build(folder: &Path) -> anyhow::Result<()> {
    say("building the targets");
    succeed(
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--target",
                HOST,
            ])
            .current_dir(workspace().join("fuzz"))
            .env("RUSTFLAGS", FLAGS)
            .env("CARGO_TARGET_DIR", folder)
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    )
}

fn program(folder: &Path, name: &str) -> PathBuf {
    folder.join(HOST).join("release").join(name)
}

fn fuzz(folder: &Path, name: &str, seconds: u32) -> anyhow::Result<Outcome> {
    let [corpus, artifacts] = ["corpus", "artifacts"].map(|kind| folder.join(kind).join(name));
    let past = workspace().join("fuzz/regressions").join(name);
    let seeds = folder.join("seeds").join(name);
    // What an earlier run found would look like this one's.
    if artifacts.exists() {
        std::fs::remove_dir_all(&artifacts)?;
    }
    for folder in [&corpus, &artifacts, &seeds] {
        std::fs::create_dir_all(folder)?;
    }
    let output = Command::new(program(folder, name))
        .arg(&corpus)
        .arg(&seeds)
        .args(past.is_dir().then_some(&past))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-max_len={LENGTH}"))
        .arg("-print_final_stats=1")
        .output()
        .with_context(|| format!("{name} cannot be run"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    std::fs::write(folder.join(format!("{name}.log")), &output.stderr)?;
    let mut findings = Vec::new();
    for entry in std::fs::read_dir(&artifacts)? {
        findings.push(entry?.path());
    }
    if !output.status.success() && findings.is_empty() {
        bail!("{name} ended with {}:\n{log}", output.status);
    }
    Ok(Outcome {
        name: name.to_owned(),
        executions: figure(&log, "stat::number_of_executed_units:"),
        edges: figure(&log, "cov:"),
        findings,
    })
}

/// The number behind the last such word; a run that ended early may not have told it.
fn figure(log: &str, word: &str) -> u64 {
    let behind = log.rsplit_once(word).map(|(_, behind)| behind);
    let number = behind.and_then(|behind| behind.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn report(folder: &Path, outcomes: &[Outcome]) -> anyhow::Result<()> {
    println!(
        "{:<14} {:>12} {:>8} {:>9}",
        "target", "executions", "edges", "findings"
    );
    for outcome in outcomes {
        println!(
            "{:<14} {:>12} {:>8} {:>9}",
            outcome.name,
            outcome.executions,
            outcome.edges,
            outcome.findings.len()
        );
    }
    let mut count = 0;
    for outcome in outcomes {
        for finding in &outcome.findings {
            let log = folder.join(format!("{}.log", outcome.name));
            let program = program(folder, &outcome.name);
            println!("\n{}: {}", outcome.name, finding.display());
            println!("  log:   {}", log.display());
            println!("  again: {} {}", program.display(), finding.display());
            count += 1;
        }
    }
    if count == 0 {
        Ok(())
    } else {
        bail!("findings: {count}")
    }
}
