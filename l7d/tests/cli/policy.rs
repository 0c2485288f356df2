//! `l7d policy`.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::{assert_golden, err, golden_path, l7d, out};

/// `l7d policy explain` with the policies of the tests.
fn explain(arguments: &[&str]) -> Output {
    let endpoints = golden_path("explain-endpoints.yaml");
    let by_name = golden_path("explain-policy.yaml");
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    let audited = testdata.join("policy-tests/audited-policy.yaml");
    let by_path = testdata.join("policies/api-access-l7.yaml");
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
