//! `l7d trace`: what became of connections, told from the kernel's records, the tap and the proxy.

use anyhow::Context as _;
use serde_json::Value;
use testbed::{Attach, Host, Process};

use crate::dns::unbound;
use crate::node::{Node, curl, output, serve};

const CLOSED: &str = r"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: no-server, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: client } }
  egressDeny:
  - toEndpoints: [ { matchLabels: { app: server } } ]
  egress: [ { toEntities: [ all ] } ]
";

/// Answers one request when it is told to, and says when it was asked.
const SLOW: &str = r#"
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("serving", flush=True)
connection, _ = server.accept()
connection.recv(9999)
print("asked", flush=True)
sys.stdin.readline()
connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
connection.close()
"#;

/// Two pods; port 80 is tapped, and port 8080 goes through the proxy.
fn two_pods() -> anyhow::Result<Node> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    node.configure("visibility: [ { port: 80 }, { port: 8080, mode: proxy } ]\n")?;
    Ok(node)
}

/// Follows what becomes of the client's connections, from the first on.
fn follow(node: &Node) -> anyhow::Result<Process> {
    let server = format!("unix://{}/l7d.sock", node.world.folder().display());
    let mut command = node.world.node().command(env!("CARGO_BIN_EXE_l7d"));
    command.args(["trace", "prod-app/client", "--since", "1h", "-f"]);
    command.args(["-o", "jsonl", "--server", &server]);
    node.world.node().start("trace", command)
}

/// The one connection that is meant.
fn told(node: &Node, arguments: &[&str]) -> anyhow::Result<Value> {
    let all = [&["prod-app/client"], arguments, &["-o", "jsonl"]].concat();
    let text = node.l7d("trace", &all)?;
    anyhow::ensure!(text.lines().count() == 1, "{arguments:?}: {text}");
    serde_json::from_str(&text).context(text)
}

fn texts(story: &Value) -> Vec<&str> {
    let events = story["events"].as_array().into_iter().flatten();
    events.filter_map(|event| event["text"].as_str()).collect()
}

fn has(story: &Value, text: &str) -> bool {
    texts(story).iter().any(|one| one.contains(text))
}

fn places(story: &Value, text: &str) -> usize {
    let events = story["events"].as_array().into_iter().flatten();
    let mut events = events.filter(|event| event["text"] == text);
    let seen = events.next().and_then(|event| event["seen"].as_array());
    seen.map_or(0, Vec::len)
}

#[test]
fn a_request_is_one_story_by_the_tap_and_through_the_proxy() -> anyhow::Result<()> {
    let node = two_pods()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let _servers = [serve(&server.host, 80)?, serve(&server.host, 8080)?];
    let _agent = node.agent()?;
    let mut stories = follow(&node)?;
    for (count, port) in [(1, "80"), (2, "8080")] {
        let (code, answer) = curl(&client.host, &[&format!("http://{}:{port}/a", server.v4)])?;
        assert_eq!(code, 0, "{answer}");
        stories.wait_for_count("\"outcome\":\"closed\"", count)?;
    }
    for (port, is_proxied) in [("80", false), ("8080", true)] {
        let story = told(&node, &["--to", "server", "--port", port])?;
        assert_eq!(story["is_proxied"], is_proxied, "{story:#}");
        assert_eq!(story["outcome"], "closed", "{story:#}");
        assert_eq!(story["client"]["name"], "prod-app/client");
        assert_eq!(story["server"]["name"], "prod-app/server");
        assert_eq!(story["timing"]["answers"], 1, "{story:#}");
        for text in ["SYN", "SYN ACK", "FIN ACK"] {
            assert!(
                texts(&story).contains(&text) || has(&story, text),
                "{story:#}"
            );
        }
        assert!(has(&story, "HTTP/1.1 GET http://") && has(&story, "HTTP/1.1 200 to GET"));

        let number = story["connections"][0]["connection"].as_str();
        let number = number.context("it has a number")?;
        let by_number = node.l7d("trace", &["--connection", number])?;
        assert!(by_number.contains("HTTP/1.1 200 to GET"), "{by_number}");
        assert_eq!(by_number.contains("through the proxy"), is_proxied);
        let flows = node.observe(&["--connection", number, "--last", "100"])?;
        assert!(flows.contains("TCP Flags: SYN)"), "{flows}");
        assert!(
            flows.contains("http-request") && flows.contains("http-response"),
            "{flows}"
        );
        assert!(
            flows.lines().all(|line| line.contains(&format!(":{port}"))),
            "{flows}"
        );
    }
    // Where the tap looks, two interfaces of this node see each packet: that is one line.
    let story = told(&node, &["--port", "80"])?;
    assert_eq!(places(&story, "SYN"), 2, "{story:#}");
    // Through the proxy both sockets tell how far their ends are.
    let story = told(&node, &["--port", "8080"])?;
    let timing = &story["timing"];
    assert!(timing["server_rtt_us"].as_u64() > Some(0), "{story:#}");
    assert!(timing["client_rtt_us"].as_u64() > Some(0), "{story:#}");
    Ok(())
}

#[test]
fn a_slow_server_is_told_apart_from_the_network() -> anyhow::Result<()> {
    let node = two_pods()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let _agent = node.agent()?;
    for port in ["80", "8080"] {
        let mut command = server.host.command("python3");
        command.args(["-c", SLOW, port]);
        let mut slow = server.host.converse(&format!("slow{port}"), command)?;
        slow.wait_for("serving")?;
        let mut command = client.host.command("curl");
        command.args([
            "-s",
            "-m",
            "20",
            &format!("http://{}:{port}/slow", server.v4),
        ]);
        let mut asking = client.host.start(&format!("curl{port}"), command)?;
        slow.wait_for("asked")?;
        // As long as it takes until the request is told, and then some.
        let mut observer = node.follow_only(&["--protocol", "http", "--port", port])?;
        observer.wait_for("http-request")?;
        slow.say("go\n")?;
        asking.wait()?;
        observer.wait_for("http-response")?;
        let story = told(&node, &["--to", "server", "--port", port])?;
        let slowest = &story["timing"]["slowest"];
        let micros = |name: &str| slowest[name].as_u64().context(name.to_owned());
        let (whole, network) = (micros("latency_us")?, micros("network_us")?);
        let server = micros("server_us")?;
        assert_eq!(whole, network + server, "{story:#}");
        assert!(server > network, "port {port}: {story:#}");
    }
    Ok(())
}

#[test]
fn what_did_not_get_through_is_told_with_its_reason() -> anyhow::Result<()> {
    let node = two_pods()?;
    let client = &node.pod("client").host;
    let server = node.pod("server");
    let outside = node.world.outside();
    let rules = "add table ip quiet; add chain ip quiet input { type filter hook input priority 0; }; \
                 add rule ip quiet input tcp dport 82 drop";
    output(&outside, &["nft", rules])?;
    let _agent = node.agent()?;
    let mut stories = follow(&node)?;

    let (code, _) = curl(client, &[&format!("http://{}:81/", server.v4)])?;
    assert_eq!(code, 7, "refused");
    stories.wait_for("\"outcome\":\"refused\"")?;
    let (code, _) = curl(client, &[&format!("http://{}:8080/", server.v4)])?;
    assert_ne!(code, 0, "nobody listens behind the proxy");
    stories.wait_for_count("\"outcome\":\"refused\"", 2)?;
    let (code, _) = curl(client, &["http://192.0.2.2:82/"])?;
    assert_eq!(code, 28, "nobody answers");
    stories.wait_for("\"outcome\":\"no_answer\"")?;

    let refused = told(&node, &["--port", "81"])?;
    let why = refused["explanation"].as_str().unwrap_or_default();
    assert!(why.contains("answered the SYN with a reset"), "{refused:#}");
    let behind = told(&node, &["--port", "8080"])?;
    let why = behind["explanation"].as_str().unwrap_or_default();
    // By the server's reset, or by what the proxy told of it, as the kernel's records allow.
    let is_told = why.contains("answered the proxy's SYN with a reset")
        || why.contains("was not reached by the proxy: refused");
    assert!(is_told && has(&behind, "upstream refused"), "{behind:#}");
    let quiet = told(&node, &["--port", "82"])?;
    let why = quiet["explanation"].as_str().unwrap_or_default();
    assert!(
        why.starts_with("no answer: ") && why.contains("; it left the "),
        "{quiet:#}"
    );

    let list = node.l7d("trace", &["client", "--failed"])?;
    assert!(list.starts_with("3 connections failed:\n"), "{list}");
    Ok(())
}

#[test]
fn a_policy_that_drops_is_named_in_the_story() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(CLOSED)?;
    let server = node.pod("server");
    let _server = serve(&server.host, 80)?;
    let _agent = node.agent()?;
    let mut stories = follow(&node)?;
    let client = &node.pod("client").host;
    let (code, _) = curl(client, &[&format!("http://{}/", server.v4)])?;
    assert_eq!(code, 28, "a silent drop is a timeout to the client");
    stories.wait_for("\"outcome\":\"dropped\"")?;
    let story = told(&node, &["--to", "prod-app/server", "--failed"])?;
    let why = story["explanation"].as_str().unwrap_or_default();
    assert!(
        why.starts_with("dropped at egress: ")
            && why.contains("by CiliumNetworkPolicy prod-app/no-server of prod-app/client"),
        "{story:#}"
    );
    Ok(())
}

#[test]
fn a_connection_says_what_its_client_had_asked_dns_for() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged)])?;
    node.configure("visibility: [ { port: 80 }, { port: 53, protocol: UDP } ]\n")?;
    let outside: Host = node.world.outside();
    let _dns = unbound(&outside, node.world.folder())?;
    let _server = serve(&outside, 80)?;
    let _agent = node.agent()?;
    let mut stories = follow(&node)?;
    let client = &node.pod("client").host;
    let asked = ["dig", "+short", "@192.0.2.2", "api.example.com", "A"];
    assert_eq!(output(client, &asked)?, "192.0.2.2\n");
    let (code, answer) = curl(client, &["http://192.0.2.2/named"])?;
    assert_eq!(code, 0, "{answer}");
    stories.wait_for("\"outcome\":\"closed\"")?;
    let story = told(&node, &["--port", "80"])?;
    let lookup = story["lookup"]["text"].as_str().unwrap_or_default();
    assert_eq!(
        lookup, "DNS answer 192.0.2.2 to A api.example.com.",
        "{story:#}"
    );
    let list = node.l7d("trace", &["client", "--port", "53"])?;
    assert!(list.contains("DNS query A api.example.com."), "{list}");
    Ok(())
}
