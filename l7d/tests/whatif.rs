//! `l7d policy replay` and `l7d policy suggest` on small recordings in the form that the stock hubble
//! CLI writes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A recording or policy of `testdata/whatif`, as the commands name it.
fn l7d(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_l7d"))
        .args(arguments)
        .current_dir(testdata())
        .stdin(Stdio::null())
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/whatif")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Compares with a golden file; `UPDATE_GOLDEN=1` writes it instead, to be read as a difference.
fn assert_golden(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, shown).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, golden, "{name}");
}

#[test]
fn help_is_stable() {
    let output = l7d(&["policy", "replay", "--help"]);
    assert_golden("help-policy-replay.txt", &out(&output));
}

#[test]
fn a_misspelt_label_is_found_before_it_is_applied() {
    let output = l7d(&[
        "policy",
        "replay",
        "--policy",
        "faulty.yaml",
        "--flows",
        "user-service.jsonl",
    ]);
    assert_golden("policy-replay-faulty.txt", &out(&output));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("the policies deny what was allowed"),
        "{}",
        err(&output)
    );
    let output = l7d(&[
        "policy",
        "replay",
        "--policy",
        "fixed.yaml",
        "--flows",
        "user-service.jsonl",
    ]);
    assert_golden("policy-replay-fixed.txt", &out(&output));
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn the_nearest_rule_of_a_request_is_named() {
    let output = l7d(&[
        "policy",
        "replay",
        "--policy",
        "l7.yaml",
        "--flows",
        "user-service.jsonl",
        "-o",
        "json",
    ]);
    assert_golden("policy-replay-l7.json", &out(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_baseline_stands_in_for_what_was_recorded() {
    let baseline = [
        "policy",
        "replay",
        "--policy",
        "fixed.yaml",
        "--baseline",
        "faulty.yaml",
        "--flows",
        "user-service.jsonl",
    ];
    let output = l7d(&baseline);
    assert_golden("policy-replay-baseline.txt", &out(&output));
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn what_flows_do_not_tell_is_undecidable_with_the_reason() {
    let output = l7d(&[
        "policy",
        "replay",
        "--policy",
        "doubts.yaml",
        "--flows",
        "doubts.jsonl",
    ]);
    assert_golden("policy-replay-doubts.txt", &out(&output));
    let told = [
        "policy",
        "replay",
        "--policy",
        "doubts.yaml",
        "--flows",
        "doubts.jsonl",
        "--endpoints",
        "doubts-endpoints.yaml",
    ];
    assert_golden("policy-replay-doubts-told.txt", &out(&l7d(&told)));
}

#[test]
fn a_source_of_flows_is_needed() {
    for (arguments, fault) in [
        (
            vec!["--policy", "l7.yaml"],
            "one of --flows, --pcap and --live",
        ),
        (
            vec!["--policy", "l7.yaml", "--flows", "a", "--last", "3"],
            "go with --live",
        ),
        (vec!["--policy", "l7.yaml", "--pcap", "a"], "--endpoints"),
    ] {
        let output = l7d(&[&["policy", "replay"], arguments.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(err(&output).contains(fault), "{}", err(&output));
    }
}
