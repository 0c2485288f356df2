//! The built binary: help texts, exit codes, files in every form, and a server on a unix socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fake_server;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fake_server::FakeServer;

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
        (vec!["status", "--help"], "help-status.txt"),
        (vec!["list", "nodes", "--help"], "help-list-nodes.txt"),
        (vec!["fqdn", "list", "--help"], "help-fqdn-list.txt"),
        (
            vec!["policy", "explain", "--help"],
            "help-policy-explain.txt",
        ),
        (vec!["policy", "check", "--help"], "help-policy-check.txt"),
        (vec!["policy", "test", "--help"], "help-policy-test.txt"),
        (vec!["agent", "--help"], "help-agent.txt"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_golden(name, &out(&output));
    }
}

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

#[test]
fn asks_a_server_over_its_socket() {
    let server = FakeServer::start();
    let output = run(&[
        "observe",
        "--server",
        &server.address(),
        "--last",
        "2",
        "-n",
        "shop",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(
        out(&output),
        "Mar  4 09:15:27.000:  (unknown) <>  (unknown) UNKNOWN FORWARDED (asked for 2, 2 filters)\n"
    );
    let output = l7d()
        .arg("observe")
        .env("HUBBLE_SERVER", server.address())
        .output()
        .unwrap();
    assert!(
        out(&output).contains("asked for 20, 0 filters"),
        "{}",
        err(&output)
    );
}

#[test]
fn holds_policies_against_what_a_server_has_seen() {
    let server = FakeServer::start();
    let policy = golden_path("explain-policy.yaml");
    let output = run(&[
        "policy",
        "replay",
        "--policy",
        policy.to_str().unwrap(),
        "--live",
        "--server",
        &server.address(),
        "--last",
        "5",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("1 flows read\n"), "{}", out(&output));
}

#[test]
fn shows_a_refusal_in_the_servers_words() {
    let server = FakeServer::start();
    let output = run(&["observe", "--server", &server.address(), "--http-path", "("]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        err(&output),
        "l7d: the request for flows was refused: bad regular expression\n"
    );
    let output = run(&["list", "nodes", "--server", &server.address()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("does not offer this"),
        "{}",
        err(&output)
    );
}

#[test]
fn ends_a_stream_when_interrupted() {
    let server = FakeServer::start();
    let mut child = l7d()
        .args(["observe", "-f", "--server", &server.address()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("asked for 0"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn shows_whether_a_server_is_well() {
    let server = FakeServer::start();
    let output = run(&["status", "--server", &server.address()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(
        out(&output),
        format!(
            "Healthcheck (via {}): Ok\nCurrent/Max Flows: 7/4,095 (0.17%)\nFlows/s: 1.50\n",
            server.address()
        )
    );
    let output = run(&["status", "--server", &server.address(), "-o", "json"]);
    assert!(out(&output).starts_with(r#"{"num_flows":"7","max_flows":"4095""#));
    server.stop_serving();
    let output = run(&["status", "--server", &server.address()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        out(&output).ends_with(": Unavailable: NOT_SERVING\n"),
        "{}",
        out(&output)
    );
    assert!(err(&output).contains("not healthy"));
}

#[test]
fn lists_namespaces_and_watches_peers() {
    let server = FakeServer::start();
    let output = run(&[
        "list",
        "namespaces",
        "--server",
        &server.address(),
        "-o",
        "wide",
    ]);
    assert_eq!(
        out(&output),
        "NAMESPACE   CLUSTER\nshop        default\n",
        "{}",
        err(&output)
    );
    let output = run(&["watch", "peers", "--server", &server.address()]);
    assert_eq!(
        out(&output),
        "PEER_ADDED   10.0.0.5:4244 node-1\n",
        "{}",
        err(&output)
    );
}

/// `l7d policy explain` with the policies of the tests.
fn explain(arguments: &[&str]) -> Output {
    let endpoints = golden_path("explain-endpoints.yaml");
    let by_name = golden_path("explain-policy.yaml");
    let audited = golden_path("explain-audited.yaml");
    let by_path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/policies/api-access-l7.yaml");
    l7d()
        .args(["policy", "explain", "--endpoints"])
        .arg(endpoints)
        .arg("--policy")
        .arg(by_name)
        .arg("--policy")
        .arg(by_path)
        .arg("--policy")
        .arg(audited)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn explains_a_verdict_step_by_step() {
    let ask = |question: &str| {
        let words: Vec<&str> = question.split(' ').collect();
        let output = explain(&words);
        assert!(output.status.success(), "{question}: {}", err(&output));
        format!("$ {question}\n{}\n", out(&output))
    };
    let shown: String = [
        "--from api-gateway --to user-service --port 80 --path /get",
        "--from api-gateway --to user-service --port 80 --method POST --path /get",
        "--from api-gateway --to user-service --port 80 --path /get/../admin",
        "--from api-gateway --to user-service --port 80",
        "--from prod-app/frontend --to user-service --port 80 --path /get",
        "--from frontend --to 8.8.8.8 --port 53 --dns api.example.com",
        "--from frontend --to world --port 53 --dns example.org",
        "--from frontend --to api.example.com --port 443",
        "--from frontend --to www.example.com --port 443",
        "--from host --to user-service --port 80 --color always",
        "--from frontend --to kube-apiserver --port 6443 --sni kubernetes.default",
        "--from 10.244.1.11 --to world --port 443 -o json",
        "--from edge-1 --to frontend --port 80",
        "--from edge-1 --to frontend --port 80 --path /",
        "--from edge-1 --to frontend --port 80 --method POST --path /",
        "--from node/inner-1 --to frontend --port 80 --path /",
        "--from frontend --to inner-1 --port 80",
    ]
    .map(ask)
    .concat();
    assert_golden("explain.txt", &shown);
}

#[test]
fn an_end_that_nobody_knows_is_answered_with_what_was_meant() {
    let output = explain(&["--from", "frontned", "--to", "world", "--port", "80"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("no endpoint is called `frontned`"));
    assert!(
        err(&output).contains("did you mean `frontend`?"),
        "{}",
        err(&output)
    );
}

#[test]
fn a_name_of_a_pod_and_of_a_node_is_asked_back() {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = folder.path().join("endpoints.yaml");
    let both = "endpoints: [ { name: web, namespace: shop, ips: [ 10.0.0.1 ] } ]\nnodes: [ { name: web } ]\n";
    std::fs::write(&endpoints, both).unwrap();
    let ask = |from| {
        l7d()
            .args(["policy", "explain", "--endpoints"])
            .arg(&endpoints)
            .arg("--policy")
            .arg(golden_path("explain-policy.yaml"))
            .args(["--from", from, "--to", "world", "--port", "80"])
            .output()
            .unwrap()
    };
    let output = ask("web");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("write one of node/web, shop/web"),
        "{}",
        err(&output)
    );
    assert!(out(&ask("node/web")).starts_with("egress of node web: allowed\n"));
    assert!(out(&ask("shop/web")).starts_with("egress of shop/web: allowed\n"));
}

/// `l7d policy check` in the folder of test data, with who is in that cluster.
fn check(arguments: &[&str]) -> Output {
    l7d()
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata"))
        .args(["policy", "check", "--endpoints", "cluster/pods.yaml"])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn shows_what_is_probably_wrong_in_policies() {
    let table = check(&["policies/mistakes.yaml"]);
    assert_eq!(table.status.code(), Some(1), "{}", err(&table));
    assert_golden("check.txt", &out(&table));
    let colored = check(&["--color", "always", "policies/mistakes.yaml"]);
    assert_eq!(strip_colors(&out(&colored)), out(&table));
    assert_ne!(out(&colored), out(&table));
    for (form, golden) in [("json", "check.json"), ("sarif", "check.sarif")] {
        let output = check(&["-o", form, "policies/mistakes.yaml"]);
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        assert_golden(golden, &out(&output));
    }
}

/// Without the sequences that switch colours on and off.
fn strip_colors(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').unwrap().1)
}

#[test]
fn the_exit_code_of_a_check_follows_what_was_found() {
    let well = "policies/api-access-l7.yaml";
    for (arguments, code) in [
        (vec![well], 0),
        (vec!["--fail-on", "info", well], 1),
        (vec!["--fail-on", "error", "policies/mistakes.yaml"], 0),
        (vec!["policies"], 1),
        (vec!["/nonexistent"], 1),
        (vec!["--fail-on", "nothing", well], 2),
    ] {
        let output = check(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            err(&output)
        );
    }
}

#[test]
fn checks_what_comes_from_standard_input_among_other_objects() {
    let mut child = l7d()
        .args(["policy", "check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let objects = "apiVersion: v1\nkind: List\nitems:\n- { apiVersion: v1, kind: ConfigMap, metadata: { name: a } }\n- { apiVersion: cilium.io/v2, kind: CiliumNetworkPolcy, metadata: { name: a } }\n";
    stdin.write_all(objects.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = out(&output);
    assert!(shown.contains("--> -:5:37"), "{shown}");
    assert!(
        shown.contains("did you mean `CiliumNetworkPolicy`?"),
        "{shown}"
    );
}

/// `l7d policy test` in a folder below this crate's.
fn test_policies(folder: &str, arguments: &[&str]) -> Output {
    l7d()
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .args(["policy", "test"])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn runs_the_cases_of_policies() {
    let output = test_policies(
        "../testdata/policy-tests",
        &["api-access.yaml", "audited.yaml", "names.yaml"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(
        out(&output).ends_with("13 passed in 3 files\n"),
        "{}",
        out(&output)
    );
    for (form, golden) in [
        ("table", "cases.txt"),
        ("json", "cases.json"),
        ("junit", "cases.xml"),
    ] {
        let output = test_policies("tests/golden", &["-o", form, "cases.yaml"]);
        assert_eq!(output.status.code(), Some(1), "{form}: {}", err(&output));
        assert_eq!(err(&output), "", "{form}");
        assert_golden(golden, &out(&output));
    }
}

#[test]
fn faults_of_cases_are_named_at_their_lines_with_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for (cases, fault) in [
        (
            "- { name: a, from: api-gateway, to: user-servce, port: 80, expect: deny }",
            "cases.yaml:4:37: no endpoint is called `user-servce`: did you mean `user-service`?",
        ),
        (
            "- { name: a, form: host, to: world, port: 80, expect: deny }",
            "cases.yaml:4:14: cases[0].form: unknown field (did you mean `from`?)",
        ),
        (
            "- { name: a, from: host, to: world, port: 80, expect: alow }",
            "`alow` is not one of allow, audit, deny, judge (did you mean `allow`?)",
        ),
        (
            "- { name: a, from: host, to: world, port: 80, expect: deny, dns: a, sni: b }",
            "a case has one of `dns`, `http` and `sni`",
        ),
    ] {
        let golden = golden_path("explain-endpoints.yaml");
        let text = format!(
            "policies: []\nendpoints: {}\ncases:\n{cases}\n",
            golden.display()
        );
        std::fs::write(format!("{folder}/cases.yaml"), text).unwrap();
        let output = l7d()
            .current_dir(folder)
            .args(["policy", "test", "cases.yaml"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{cases}");
        assert!(err(&output).contains(fault), "{}", err(&output));
    }
}
