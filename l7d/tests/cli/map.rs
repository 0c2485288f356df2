//! `l7d map` of files and captures, in every form.

use crate::{assert_golden, err, golden_path, out, run};

fn flows() -> String {
    golden_path("map-flows.jsonl").to_str().unwrap().to_owned()
}

/// What a command shows that must succeed.
fn shown(arguments: &[&str]) -> String {
    let flows = flows();
    let mut all = vec!["map", "--input-file", &flows];
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
fn is_written_in_every_form() {
    for (name, arguments) in [
        ("map.txt", vec![]),
        ("map-color.txt", vec!["--color", "always"]),
        ("map.json", vec!["-o", "json"]),
        ("map.dot", vec!["-o", "dot"]),
        ("map.mermaid", vec!["-o", "mermaid"]),
        ("map.svg", vec!["-o", "svg"]),
        ("map-namespaces.txt", vec!["--by", "namespace"]),
        ("map-of-cart.txt", vec!["--of", "shop/cart"]),
        ("map-failed.txt", vec!["--failed"]),
    ] {
        assert_golden(name, &shown(&arguments));
    }
}

#[test]
fn is_compared_with_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let before = folder.path().join("before.json");
    // Before, nothing was denied yet, and nobody asked the bank.
    let recorded = std::fs::read_to_string(flows()).unwrap();
    let earlier: Vec<String> = recorded
        .lines()
        .filter(|line| !line.contains("DROPPED") && !line.contains("bank.example"))
        .map(|line| line.replace("recommendations", "hints"))
        .collect();
    let earlier = earlier.join("\n");
    let file = folder.path().join("earlier.jsonl");
    std::fs::write(&file, earlier).unwrap();
    let output = run(&["map", "--input-file", file.to_str().unwrap(), "-o", "json"]);
    std::fs::write(&before, &output.stdout).unwrap();
    let before = before.to_str().unwrap();
    assert_golden("map-diff.txt", &shown(&["--diff", before]));
    assert_golden("map-diff.svg", &shown(&["--diff", before, "-o", "svg"]));
    let json: serde_json::Value =
        serde_json::from_str(&shown(&["--diff", before, "-o", "json"])).unwrap();
    let changes = json.get("differences").unwrap().as_array().unwrap();
    assert!(changes.iter().all(|one| one.get("notes").is_some()));
}

#[test]
fn a_map_of_another_form_is_refused() {
    let flows = flows();
    let output = run(&["map", "--input-file", &flows, "--diff", &flows]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("l7d map -o json"), "{}", err(&output));
}

#[test]
fn is_made_of_a_capture() {
    let pcap = golden_path("../../../testdata/pcaps/http1-keep-alive.pcap");
    let output = run(&["map", "--pcap", pcap.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("HTTP :"), "{}", out(&output));
}

#[test]
fn hostile_names_do_nothing_to_whoever_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.jsonl");
    let flow = r#"{"flow":{"time":"2026-03-04T09:15:27Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"source":{"namespace":"a","pod_name":"]];\u001b[2J\"><script>alert(1)</script>"},"destination":{"namespace":"a\u001b]0;x\u0007","pod_name":"b\"]\nclick"},"is_reply":false,"l4":{"TCP":{"source_port":1,"destination_port":2,"flags":{"SYN":true}}},"event_type":{"type":4}}}"#;
    std::fs::write(&file, flow).unwrap();
    for form in ["text", "dot", "mermaid", "svg", "json"] {
        let output = run(&["map", "--input-file", file.to_str().unwrap(), "-o", form]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let shown = out(&output);
        assert!(!shown.contains(['\u{1b}', '\u{7}']), "{form}: {shown}");
        let is_markup =
            shown.contains("<script>") && form != "text" && form != "json" && form != "dot";
        assert!(!is_markup, "{form}: {shown}");
        assert!(!shown.contains("\nclick"), "{form}: {shown}");
    }
}

#[test]
fn what_goes_on_needs_a_terminal_or_json() {
    let output = run(&["map", "-f"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("-o json"), "{}", err(&output));
}
