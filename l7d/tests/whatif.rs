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
    for command in ["replay", "suggest"] {
        let output = l7d(&["policy", command, "--help"]);
        assert_golden(&format!("help-policy-{command}.txt"), &out(&output));
    }
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
fn what_left_its_sender_and_was_dropped_at_its_receiver_was_denied_before() {
    let output = l7d(&[
        "policy",
        "replay",
        "--policy",
        "doubts.yaml",
        "--flows",
        "halfway.jsonl",
        "--endpoints",
        "doubts-endpoints.yaml",
    ]);
    let shown = out(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("Would stay: 1 allowed, 1 denied."),
        "{shown}"
    );
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

/// What is suggested, with exit code 0.
fn suggested(arguments: &[&str]) -> String {
    let output = l7d(&[&["policy", "suggest"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    out(&output)
}

#[test]
fn policies_are_suggested_from_what_was_seen() {
    for (arguments, name) in [
        (vec!["--flows", "shop.jsonl"], "policy-suggest-shop.txt"),
        (vec!["--flows", "names.jsonl"], "policy-suggest-names.txt"),
        (
            vec!["--flows", "user-service.jsonl"],
            "policy-suggest-user-service.txt",
        ),
        (
            vec!["--flows", "shop.jsonl", "--kind", "kubernetes"],
            "policy-suggest-kubernetes.txt",
        ),
        (
            vec![
                "--flows",
                "names.jsonl",
                "--kind",
                "kubernetes",
                "--for",
                "app=mailer",
            ],
            "policy-suggest-kubernetes-names.txt",
        ),
        (
            vec![
                "--flows",
                "shop.jsonl",
                "--for",
                "shop/cart",
                "--egress",
                "--include-once",
            ],
            "policy-suggest-cart.txt",
        ),
        (
            vec!["--flows", "shop.jsonl", "--namespace", "pay", "-o", "json"],
            "policy-suggest-pay.json",
        ),
    ] {
        assert_golden(name, &suggested(&arguments));
    }
}

#[test]
fn captures_are_a_source_like_recorded_flows() {
    let source = [
        "--pcap",
        "../pcaps/http1-keep-alive.pcap",
        "../pcaps/dns-addresses.pcap",
        "--endpoints",
        "pcap-endpoints.yaml",
    ];
    let yaml = suggested(&[source.as_slice(), &["--include-once"]].concat());
    assert_golden("policy-suggest-pcap.txt", &yaml);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("suggested.yaml");
    std::fs::write(&file, yaml).unwrap();
    let policy = ["policy", "replay", "--policy", file.to_str().unwrap()];
    let output = l7d(&[policy.as_slice(), &source].concat());
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        out(&output),
        err(&output)
    );
}

#[test]
fn the_order_of_flows_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    for recording in ["shop.jsonl", "names.jsonl"] {
        let text = std::fs::read_to_string(testdata().join(recording)).unwrap();
        let reversed: Vec<&str> = text.lines().rev().collect();
        let file = folder.path().join(recording);
        std::fs::write(&file, reversed.join("\n")).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(
            suggested(&["--flows", recording]),
            suggested(&["--flows", file])
        );
    }
}

#[test]
fn what_is_suggested_keeps_what_passed() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["cilium", "kubernetes"] {
        let file = folder.path().join(format!("{kind}.yaml"));
        let flags = ["--flows", "shop.jsonl", "--include-once", "--kind", kind];
        std::fs::write(&file, suggested(&flags)).unwrap();
        let policy = file.to_str().unwrap();
        let output = l7d(&[
            "policy",
            "replay",
            "--policy",
            policy,
            "--flows",
            "shop.jsonl",
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    }
}

#[test]
fn nothing_is_suggested_for_nobody() {
    let output = l7d(&[
        "policy",
        "suggest",
        "--flows",
        "shop.jsonl",
        "--namespace",
        "none",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("nothing can be suggested"),
        "{}",
        err(&output)
    );
}
