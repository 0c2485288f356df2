//! Commands that ask a server.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::fake_server::FakeServer;
use crate::{err, golden_path, l7d, out, run};

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
