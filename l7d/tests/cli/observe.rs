//! `l7d observe` of files, and what every command does alike.

use std::io::Write;
use std::process::Stdio;

use crate::{assert_golden, err, flows_file, l7d, out, run};

#[test]
fn prints_a_file_in_every_form() {
    let file = flows_file();
    for form in ["compact", "dict", "json", "table"] {
        let output = run(&["observe", "--input-file", &file, "-o", form]);
        assert_eq!(output.status.code(), Some(0), "{form}: {}", err(&output));
        assert_golden(&format!("{form}.out"), &out(&output));
        assert_golden(&format!("{form}.err"), &err(&output));
    }
}

#[test]
fn selects_from_a_file() {
    let file = flows_file();
    let lines = |arguments: &[&str]| {
        let mut all = vec!["observe", "--input-file", &file];
        all.extend_from_slice(arguments);
        let output = run(&all);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            err(&output)
        );
        out(&output).lines().count()
    };
    assert_eq!(lines(&["--verdict", "AUDIT"]), 1);
    assert_eq!(lines(&["--first", "3"]), 3);
    assert_eq!(lines(&["--last", "2", "--verdict", "DROPPED"]), 2);
    assert_eq!(
        lines(&["--since", "2026-03-04T09:15:33Z", "--protocol", "http"]),
        1
    );
    assert_eq!(
        lines(&["--until", "2026-03-04T09:15:28Z", "--protocol", "http"]),
        2
    );
    assert_eq!(
        lines(&["--protocol", "http", "--not", "--http-path", "items"]),
        1
    );
    assert_eq!(lines(&["-n", "nowhere"]), 0);
}

#[test]
fn reads_what_it_wrote() {
    let file = flows_file();
    let first = run(&["observe", "--input-file", &file, "-o", "json", "-s"]);
    let mut child = l7d()
        .args(["observe", "--input-file", "-", "-o", "json", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let written = first.stdout.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&written));
    let second = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(out(&first), out(&second));
}

#[test]
fn skips_and_names_lines_that_are_no_flows() {
    let mut child = l7d()
        .args(["observe", "--input-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"{\"flow\":{\"verdict\":\"DROPPED\",\"new\":1}}\n\nnonsense\n")
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(out(&output).contains("DROPPED"));
    assert!(
        err(&output).starts_with("l7d: -:3: not a flow, skipped: "),
        "{}",
        err(&output)
    );
}

#[test]
fn keeps_its_exit_codes() {
    for (arguments, code, message) in [
        (vec!["version"], 0, ""),
        (vec![], 2, "Usage: l7d"),
        (
            vec!["observe", "--input-file", "/nonexistent"],
            1,
            "cannot open /nonexistent",
        ),
        (
            vec!["observe", "--server", "unix:///nonexistent"],
            1,
            "is the agent running?",
        ),
        (
            vec!["status", "--server", "unix:///nonexistent"],
            1,
            "cannot reach the server",
        ),
        (
            vec!["observe", "--first", "1", "--last", "2"],
            2,
            "cannot set both --first and --last",
        ),
        (
            vec!["observe", "-f", "-o", "table"],
            2,
            "not compatible with follow mode",
        ),
        (
            vec!["observe", "-f", "--input-file", "-"],
            2,
            "cannot use --follow with --input-file",
        ),
        (
            vec!["observe", "--input-file", "-", "--port", "x"],
            2,
            "invalid port \"x\"",
        ),
        (
            vec!["observe", "--time-format", "x"],
            2,
            "expected one of StampMilli",
        ),
        (vec!["agent"], 2, "--config <FILE>"),
    ] {
        let output = run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            err(&output)
        );
        assert!(
            err(&output).contains(message),
            "{arguments:?}: {}",
            err(&output)
        );
    }
}

#[test]
fn keeps_quiet_when_asked_to() {
    let output = run(&["observe", "-s", "--server", "unix:///nonexistent"]);
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(1), ""));
}

#[test]
fn suggests_what_was_meant() {
    for (arguments, suggestion) in [
        (vec!["obsrve"], "'observe'"),
        (vec!["observe", "--colour", "never"], "'--color'"),
        (vec!["observe", "--verdit", "DROPPED"], "'--verdict'"),
        (
            vec!["observe", "--allowlist", r#"{"verdicts":["DROPPED"]}"#],
            "\"verdict\"",
        ),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            err(&output).contains(suggestion),
            "{arguments:?}: {}",
            err(&output)
        );
    }
}

#[test]
fn ends_quietly_when_the_reader_goes_away() {
    let file = flows_file();
    let mut child = l7d()
        .args(["observe", "--input-file", &file, "-o", "json", "-s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
}

#[test]
fn writes_completion_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completion", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains("drop-reason-desc"), "{shell}");
    }
}

#[test]
fn prints_raw_filters() {
    let output = run(&[
        "observe",
        "--print-raw-filters",
        "-n",
        "b",
        "--not",
        "--port",
        "80",
    ]);
    assert_eq!(
        out(&output),
        "allowlist:\n    - '{\"source_pod\":[\"b/\"]}'\n    - '{\"destination_pod\":[\"b/\"]}'\n\
         denylist:\n    - '{\"source_port\":[\"80\"]}'\n    - '{\"destination_port\":[\"80\"]}'\n"
    );
}
