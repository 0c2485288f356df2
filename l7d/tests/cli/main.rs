//! The built binary: help texts, exit codes, files in every form, and a server on a unix socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../guide/blocks.rs"]
mod blocks;
mod commands;
mod config;
mod fake_server;
mod guide;
mod map;
mod observe;
mod packaging;
mod policy;
mod server;
mod trace;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn l7d() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_l7d"));
    // Only what a test says, whatever the environment of the tests holds.
    command.env_clear().env("COLUMNS", "100");
    command
}

fn run(arguments: &[&str]) -> Output {
    l7d().args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Compares with a golden file; `UPDATE_GOLDEN=1` writes it instead, to be read as a difference.
fn assert_golden(name: &str, shown: &str) {
    let path = golden_path(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, shown).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, golden, "{name}");
}

fn flows_file() -> String {
    golden_path("flows.jsonl").to_str().unwrap().to_owned()
}

#[test]
fn explains_itself() {
    for (arguments, name) in [
        (vec!["--help"], "help.txt"),
        (vec!["observe", "-h"], "help-observe-short.txt"),
        (vec!["observe", "--help"], "help-observe.txt"),
        (vec!["replay", "--help"], "help-replay.txt"),
        (vec!["trace", "-h"], "help-trace-short.txt"),
        (vec!["trace", "--help"], "help-trace.txt"),
        (vec!["map", "--help"], "help-map.txt"),
        (vec!["ui", "--help"], "help-ui.txt"),
        (vec!["status", "--help"], "help-status.txt"),
        (vec!["list", "nodes", "--help"], "help-list-nodes.txt"),
        (vec!["config", "--help"], "help-config.txt"),
        (vec!["man", "--help"], "help-man.txt"),
        (vec!["fqdn", "list", "--help"], "help-fqdn-list.txt"),
        (
            vec!["policy", "explain", "--help"],
            "help-policy-explain.txt",
        ),
        (vec!["policy", "check", "--help"], "help-policy-check.txt"),
        (vec!["policy", "test", "--help"], "help-policy-test.txt"),
        (vec!["agent", "--help"], "help-agent.txt"),
        (vec!["doctor", "--help"], "help-doctor.txt"),
        (vec!["relay", "--help"], "help-relay.txt"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_golden(name, &out(&output));
    }
}
