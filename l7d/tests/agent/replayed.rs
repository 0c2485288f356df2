//! Replay is live: what passed the proxy, captured at the client and replayed, gives the flows that
//! the agent gave.

#![expect(clippy::indexing_slicing, reason = "JSON that lacks something is null")]

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;
use testbed::{Attach, Host, Process};

use crate::http2::{RPC, python, serve_grpc, serve_http2};
use crate::node::{Node, curl, serve};

/// Writes every frame of the interface into a capture until it sees the marker.
const RECORDER: &str = r"
import socket, struct, sys, time
seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
seen.bind(('eth0', 0))
seen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
with open(sys.argv[1], 'wb') as capture:
    capture.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
    print('recording', flush=True)
    while True:
        frame = seen.recv(262144)
        if b'l7d: all was said' in frame:
            break
        now = time.time()
        capture.write(struct.pack('<IIII', int(now), int(now % 1 * 1e6), len(frame), len(frame)))
        capture.write(frame)
print('recorded', flush=True)
";

struct Recording {
    process: Process,
    file: PathBuf,
}

impl Recording {
    fn start(node: &Node, host: &Host) -> anyhow::Result<Self> {
        let file = node.world.folder().join("seen.pcap");
        let mut command = host.command("python3");
        command.args(["-c", RECORDER]).arg(&file);
        let mut process = host.start("recorder", command)?;
        process.wait_for("recording")?;
        Ok(Self { process, file })
    }

    /// Everything that was sent until now is in the file.
    fn finish(mut self, host: &Host, to: &str) -> anyhow::Result<PathBuf> {
        let marker = format!(
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'l7d: all was said', ('{to}', 9))"
        );
        host.output(&["python3", "-c", &marker])?;
        self.process.wait_for("recorded")?;
        Ok(self.file)
    }
}

/// What a flow tells of its message and both ends, without times and places.
fn facts(json: &str) -> anyhow::Result<Vec<String>> {
    let mut facts = Vec::new();
    for line in json.lines() {
        let flow: Value = serde_json::from_str(line)?;
        let flow = &flow["flow"];
        let mut l7 = flow["l7"].clone();
        if let Some(l7) = l7.as_object_mut() {
            l7.remove("latency_ns");
            if let Some(dns) = l7.get_mut("dns").and_then(Value::as_object_mut) {
                dns.remove("observation_source");
            }
            // An answer of the proxy's own is recorded without its fields.
            let http = l7.get_mut("http").and_then(Value::as_object_mut);
            if let Some(http) = http.filter(|http| http.get("code") == Some(&403.into())) {
                http.remove("headers");
            }
        }
        let party = |name: &str| flow[name]["pod_name"].clone();
        facts.push(format!(
            "{} {} -> {} {} {l7}",
            flow["verdict"],
            party("source"),
            party("destination"),
            flow["l4"],
        ));
    }
    facts.sort();
    Ok(facts)
}

fn replay(node: &Node, file: &PathBuf, more: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_l7d"))
        .args(["replay", "--quiet", "-o", "json", "--endpoints"])
        .arg(node.config_file())
        .args(more)
        .arg(file)
        .output()
        .context("l7d replay")?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn what_passed_the_proxy_is_replayed_alike() -> anyhow::Result<()> {
    check_replayed("proxy")
}

#[test]
fn what_was_tapped_is_replayed_alike() -> anyhow::Result<()> {
    check_replayed("tap")
}

fn check_replayed(mode: &str) -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    let ports = [80, 8080, 50051].map(|port| format!("{{ port: {port}, mode: {mode} }}"));
    node.configure(&format!("visibility: [ {} ]\n", ports.join(", ")))?;
    let server = node.pod("server");
    let _servers = [
        serve_http2(&node, &server.host)?,
        serve(&server.host, 8080)?,
        serve_grpc(&server.host)?,
    ];
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let recording = Recording::start(&node, client)?;
    let url = |port: u16, path: &str| format!("http://{}:{port}{path}", server.v4);
    curl(
        client,
        &[&url(8080, "/a?b=c"), &url(8080, "/d"), "-d", "body"],
    )?;
    curl(client, &["--http2-prior-knowledge", &url(80, "/get")])?;
    client.output(&["nghttp", "-n", &url(80, "/get"), &url(80, "/none")])?;
    for case in ["unary", "streams", "errors", "cancel"] {
        client.output(&[&python().display().to_string(), RPC, case, &server.v4])?;
    }
    let file = recording.finish(client, &server.v4)?;
    if mode == "tap" {
        // What the kernel has copied is read in turns: this connection is the last.
        curl(client, &[&url(8080, "/last")])?;
        let mut observer = node.follow_only(&["--http-path", "/last$"])?;
        observer.wait_for("http-response")?;
    }
    // A call that its client gave up is told when the connection has ended.
    let live = node.observe(&["--protocol", "http", "-o", "json", "--all"])?;
    let replayed = replay(&node, &file, &["--protocol", "http"])?;
    let (mut live, replayed) = (facts(&live)?, facts(&replayed)?);
    live.retain(|fact| !fact.contains("/last"));
    assert!(live.len() > 30, "{live:#?}");
    assert_eq!(live, replayed);
    Ok(())
}

#[test]
fn what_was_enforced_is_replayed_alike_with_its_policy() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    node.policy(crate::http2::POLICY)?;
    let server = node.pod("server");
    let _server = serve_http2(&node, &server.host)?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let recording = Recording::start(&node, client)?;
    let url = |path: &str| format!("http://{}{path}", server.v4);
    client.output(&["nghttp", "-n", &url("/get"), &url("/admin")])?;
    curl(
        client,
        &["--http2-prior-knowledge", "-d", "x", &url("/post")],
    )?;
    let file = recording.finish(client, &server.v4)?;
    let live = node.observe(&["--protocol", "http", "-o", "json", "--all"])?;
    let policies = node.world.folder().join("policies").display().to_string();
    let replayed = replay(&node, &file, &["--protocol", "http", "--policy", &policies])?;
    let (live, replayed) = (facts(&live)?, facts(&replayed)?);
    assert_eq!(live.len(), 6, "{live:#?}");
    assert_eq!(live, replayed);
    Ok(())
}

#[test]
fn what_was_asked_is_replayed_alike() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("dns", Attach::Bridged)])?;
    node.policy(&crate::dns::POLICY.replace("[ world ]", "[ all ]"))?;
    let dns = node.pod("dns");
    let _server = crate::dns::unbound(&dns.host, node.world.folder())?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let recording = Recording::start(&node, client)?;
    for over in ["+notcp", "+tcp"] {
        for name in ["api.example.com", "lost.example.com", "secret.example.com"] {
            crate::dns::dig(client, &dns.v4, &[over, name])?;
        }
        crate::dns::dig(client, &dns.v4, &[over, "long.example.com", "TXT"])?;
    }
    let file = recording.finish(client, &dns.v4)?;
    let live = node.observe(&["--protocol", "dns", "-o", "json", "--all"])?;
    let policies = node.world.folder().join("policies").display().to_string();
    let replayed = replay(&node, &file, &["--protocol", "dns", "--policy", &policies])?;
    let (live, mut replayed) = (facts(&live)?, facts(&replayed)?);
    // The refusals are our own: nobody tells of them live.
    replayed.retain(|fact| !fact.contains(r#""rcode":5"#));
    assert!(live.len() > 14, "{live:#?}");
    assert_eq!(live, replayed);
    Ok(())
}
