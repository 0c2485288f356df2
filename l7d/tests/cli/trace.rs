//! `l7d trace` of files and captures: lists, timelines and their JSON form.

use crate::{assert_golden, err, golden_path, out, run};

fn pcap(name: &str) -> String {
    let file = golden_path(&format!("../../../testdata/pcaps/{name}.pcap"));
    file.to_str().unwrap().to_owned()
}

/// What a command shows that must succeed.
fn shown(arguments: &[&str]) -> String {
    let mut all = vec!["trace"];
    all.extend_from_slice(arguments);
    let output = run(&all);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        err(&output)
    );
    out(&output)
}

#[test]
fn tells_the_stories_of_a_capture() {
    for (name, arguments) in [
        ("trace-resets", vec!["--full"]),
        ("trace-keep-alive", vec![]),
        ("trace-errors", vec!["--failed"]),
    ] {
        let file = match name {
            "trace-resets" => pcap("http1-resets"),
            "trace-keep-alive" => pcap("http1-keep-alive"),
            _ => pcap("grpc-errors"),
        };
        let mut all = vec!["--pcap", &file];
        all.extend(arguments);
        assert_golden(&format!("{name}.txt"), &shown(&all));
    }
    let lookups = pcap("dns-errors");
    assert_golden("trace-lookups.txt", &shown(&["--pcap", &lookups]));
    assert_golden(
        "trace-lookups.jsonl",
        &shown(&["--pcap", &lookups, "--port", "53", "-o", "jsonl"]),
    );
}

#[test]
fn tells_the_stories_of_flows_of_hubble() {
    let flows = golden_path("trace-hubble.jsonl");
    let flows = flows.to_str().unwrap();
    let of = |arguments: &[&str]| {
        let mut all = vec!["--input-file", flows];
        all.extend_from_slice(arguments);
        shown(&all)
    };
    assert_golden("trace-hubble-list.txt", &of(&["shop/web"]));
    assert_golden(
        "trace-hubble.txt",
        &of(&["shop/web", "--to", "cart", "--full"]),
    );
    assert_golden(
        "trace-hubble.json",
        &of(&["shop/web", "--to", "cart", "-o", "json"]),
    );
    assert_golden(
        "trace-hubble-color.txt",
        &of(&["10.0.0.10:51600", "--color", "always"]),
    );
}

#[test]
fn finds_a_connection_by_its_number() {
    let file = pcap("http1-resets");
    let story = shown(&["--pcap", &file, "--connection", "0x2"]);
    assert!(story.contains("[connection 2, seen on replay]"), "{story}");
    assert_eq!(story.matches("-> 10.244.1.11").count(), 1, "{story}");
    let replayed = run(&["replay", "--connection", "2", "-q", &file]);
    let replayed = out(&replayed);
    assert!(
        replayed.contains("41768") && !replayed.contains("41764"),
        "{replayed}"
    );
    let flows = run(&["replay", "-o", "json", "-q", &file]);
    let folder = tempfile::tempdir().unwrap();
    let recorded = folder.path().join("flows.jsonl");
    std::fs::write(&recorded, flows.stdout).unwrap();
    let recorded = recorded.to_str().unwrap();
    let observed = run(&["observe", "--input-file", recorded, "--connection", "2"]);
    assert_eq!(out(&observed), replayed);
    assert_eq!(
        shown(&["--input-file", recorded, "--connection", "2"]),
        story
    );
}

#[test]
fn says_what_makes_no_sense() {
    for (arguments, message) in [
        (vec![], "required"),
        (vec!["what is this"], "no pod and no address"),
        (vec!["web", "--connection", "xyz"], "is no connection"),
        (
            vec!["web", "-f", "-o", "json"],
            "not compatible with follow mode",
        ),
        (vec!["web", "-f", "--pcap", "x"], "cannot be used with"),
    ] {
        let mut all = vec!["trace"];
        all.extend_from_slice(&arguments);
        let output = run(&all);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            err(&output).contains(message),
            "{arguments:?}: {}",
            err(&output)
        );
    }
    let file = pcap("http1-keep-alive");
    let output = run(&["trace", "--pcap", &file, "--failed"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        err(&output),
        "l7d: no connection failed of those that are meant\n"
    );
}
