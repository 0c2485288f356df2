//! `cargo xtask test`: what CI and a human run.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::run::{cargo, run as succeed, say, workspace};
use crate::{ebpf, house, image, setup, truth};

/// Members that are linted and documented; kernel programs are built by their own toolchain.
const MEMBERS: [&str; 10] = [
    "apiserver-double",
    "capture",
    "charts",
    "parsers",
    "policy-l7",
    "properties",
    "testbed",
    "xtask",
    "l7d",
    "l7d-ebpf",
];

/// Counted over all test programs.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Runs every stage; the first that fails ends it.
#[expect(
    clippy::print_stdout,
    reason = "the closing line is this command's result"
)]
pub(crate) fn run() -> anyhow::Result<()> {
    stage("set-up", setup::everything)?;
    stage("kernel programs", ebpf::build)?;
    stage("house", house::run)?;
    stage("dependencies", dependencies)?;
    stage("format", || {
        succeed(&mut cargo(&["fmt", "--all", "--check"]))
    })?;
    stage("lints", lints)?;
    stage("documentation", documentation)?;
    stage("truth", || truth::run(None, 20))?;
    let mut count = Count::default();
    let mut result = stage("tests", || tests(&mut count));
    if result.is_ok() {
        result = stage("tests of a proxy that is replaced all the time", || {
            restless_tests(&mut count)
        });
    }
    if result.is_ok() {
        result = stage("image", || {
            count.passed += image::check_tested()?;
            Ok(())
        });
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    result
}

/// Runs what follows a cluster against the one that `$KUBECONFIG` names. Tests never take that variable by
/// themselves: whoever has it set for their daily work does not want pods made up there.
pub(crate) fn run_in_cluster() -> anyhow::Result<()> {
    let given = std::env::var_os("KUBECONFIG").context("KUBECONFIG has to name a configuration")?;
    let given = std::path::absolute(given)?;
    anyhow::ensure!(
        given.is_file(),
        "KUBECONFIG: there is no file {}",
        given.display()
    );
    setup::everything()?;
    ebpf::build()?;
    for what in [
        &[
            "--package",
            "apiserver-double",
            "--test",
            "serving",
            "kubectl",
        ][..],
        &["--package", "l7d", "--test", "cluster"],
        &["--package", "l7d", "--test", "agent", "cluster::"],
    ] {
        let words = [&["test", "--quiet"], what, &["--", "--test-threads", "2"]].concat();
        succeed(cargo(&words).env("L7D_TESTS_KUBECONFIG", &given))?;
    }
    Ok(())
}

fn stage(name: &str, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let began = Instant::now();
    work().with_context(|| format!("stage: {name}"))?;
    say(&format!("{name}: good, {} s", began.elapsed().as_secs()));
    Ok(())
}

/// Licences, bans and sources; advisories need a database from the network, and are asked for
/// before a release.
fn dependencies() -> anyhow::Result<()> {
    let program = setup::deny()?;
    succeed(
        Command::new(program)
            .args([
                "--log-level",
                "error",
                "check",
                "licenses",
                "bans",
                "sources",
            ])
            .current_dir(workspace()),
    )?;
    // Built by nobody here, and left behind easily.
    succeed(cargo(&["fetch", "--quiet", "--locked"]).current_dir(workspace().join("fuzz")))
}

fn lints() -> anyhow::Result<()> {
    for member in MEMBERS {
        succeed(&mut cargo(&[
            "clippy",
            "--quiet",
            "--no-deps",
            "--package",
            member,
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))?;
    }
    Ok(())
}

fn documentation() -> anyhow::Result<()> {
    let mut command = cargo(&["doc", "--quiet", "--no-deps", "--document-private-items"]);
    for member in MEMBERS.iter().filter(|member| **member != "xtask") {
        command.args(["--package", member]);
    }
    // The binary `l7d` is documented by its library.
    succeed(
        command
            .arg("--lib")
            .env("RUSTDOCFLAGS", "-D rustdoc::broken_intra_doc_links"),
    )
}

/// All tests, the privileged ones included: they fail where they cannot run.
fn tests(count: &mut Count) -> anyhow::Result<()> {
    run_tests(cargo(&["test", "--workspace", "--no-fail-fast"]), count)
}

/// The proxy's once more, with a proxy that is replaced all the time.
fn restless_tests(count: &mut Count) -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--package", "l7d", "--test", "proxy", "--"]);
    // A worker that does not move gives nothing up.
    command.args(["--skip", "a_worker_that_is_held_up"]);
    command.env("L7D_TEST_HANDOVER_MS", "15");
    run_tests(command, count)
}

fn run_tests(mut command: Command, count: &mut Count) -> anyhow::Result<()> {
    let mut child = command
        .current_dir(workspace())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test")?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            note(&line?, count);
        }
    }
    let status = child.wait()?;
    if status.success() && count.failed == 0 {
        Ok(())
    } else {
        bail!("tests failed: {status}")
    }
}

#[expect(clippy::print_stdout, reason = "the tests' own output is passed on")]
fn note(line: &str, count: &mut Count) {
    println!("{line}");
    let Some(result) = line.strip_prefix("test result: ") else {
        return;
    };
    let figure = |word: &str| {
        let before = result.split(word).next()?;
        before.trim_end().rsplit(' ').next()?.parse::<u64>().ok()
    };
    count.passed += figure(" passed").unwrap_or(0);
    count.failed += figure(" failed").unwrap_or(0);
}
