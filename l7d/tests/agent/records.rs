//! What the kernel tells of packets and connections: every one of them is counted, its end tells what it
//! was, and levels of aggregation say how much of it is told one by one.

use anyhow::Context as _;
use serde_json::Value;
use testbed::{Attach, Host, Process};

use crate::node::{Node, output};

/// Takes connections one after the other, and reads each to its end.
const SINK: &str = r#"
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("serving", flush=True)
while True:
    connection, _ = server.accept()
    while connection.recv(65536): pass
    connection.close()
"#;

/// Sends so many bytes, and leaves when the server has.
const SOURCE: &str = r#"
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
s.sendall(b"x" * int(sys.argv[3]))
s.shutdown(socket.SHUT_WR)
s.recv(1)
"#;

/// Connects, and says what became of it.
const KNOCK: &str = r#"
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))
    print("open")
except OSError as error:
    print(type(error).__name__)
"#;

/// Takes a connection, and reads nothing until it is told to.
const SLEEPER: &str = r#"
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
print("serving", flush=True)
connection, _ = server.accept()
sys.stdin.readline()
while connection.recv(65536): pass
connection.close()
print("done", flush=True)
"#;

fn two_pods(more: &str) -> anyhow::Result<Node> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Routed)])?;
    node.configure(more)?;
    Ok(node)
}

fn python(host: &Host, name: &str, program: &str, arguments: &[&str]) -> anyhow::Result<Process> {
    let mut command = host.command("python3");
    command.args(["-c", program]).args(arguments);
    host.start(name, command)
}

fn sink(host: &Host, port: &str) -> anyhow::Result<Process> {
    let mut server = python(host, &format!("sink{port}"), SINK, &[port])?;
    server.wait_for("serving")?;
    Ok(server)
}

/// Flows of everything so far that these arguments let through.
fn flows(node: &Node, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let text = node.observe(&[arguments, &["--all", "-o", "jsonpb"]].concat())?;
    text.lines().map(flow).collect()
}

fn flow(line: &str) -> anyhow::Result<Value> {
    let response: Value = serde_json::from_str(line)?;
    response.get("flow").cloned().context("a flow")
}

/// The flow that tells of the end of a connection to a port.
fn end(node: &Node, port: &str) -> anyhow::Result<Value> {
    let mut observer = node.follow_only(&["--to-port", port, "-o", "jsonpb"])?;
    observer.wait_for(r#""end":"#)?;
    let text = observer.output();
    let line = text.lines().find(|line| line.contains(r#""end":"#));
    flow(line.unwrap_or_default())
}

fn number(flow: &Value, name: &str) -> u64 {
    let text = flow.pointer(&format!("/extensions/value/{name}"));
    text.and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// What the pod itself counted of a port: packets and bytes, out and in.
fn counted(host: &Host) -> anyhow::Result<[u64; 4]> {
    let text = output(host, &["nft", "list", "table", "inet", "count"])?;
    let mut words = text.split_whitespace();
    let mut numbers: Vec<u64> = Vec::new();
    while let Some(word) = words.next() {
        if matches!(word, "packets" | "bytes") {
            numbers.extend(words.next().and_then(|number| number.parse::<u64>().ok()));
        }
    }
    numbers
        .try_into()
        .map_err(|numbers| anyhow::anyhow!("{numbers:?} in {text}"))
}

#[test]
fn an_end_has_counted_every_packet() -> anyhow::Result<()> {
    let node = two_pods("")?;
    let (client, server) = (&node.pod("client").host, node.pod("server"));
    let rules = "table inet count { \
        chain out { type filter hook output priority 0; tcp dport 9000 counter; }; \
        chain in { type filter hook input priority 0; tcp sport 9000 counter; }; }";
    output(client, &["nft", rules])?;
    let _sink = sink(&server.host, "9000")?;
    let _agent = node.agent()?;
    let words = ["python3", "-c", SOURCE, &server.v4, "9000", "3000000"];
    output(client, &words)?;
    let end = end(&node, "9000")?;
    assert_eq!(end["extensions"]["value"]["end"], "closed", "{end:#}");
    assert_eq!(end["source"]["pod_name"], "client");
    assert_eq!(end["destination"]["pod_name"], "server");
    let told = [
        "sent_packets",
        "sent_bytes",
        "received_packets",
        "received_bytes",
    ];
    let told = told.map(|name| number(&end, name));
    assert_eq!(told, counted(client)?, "{end:#}");
    assert!(number(&end, "handshake_us") > 0, "{end:#}");
    assert!(number(&end, "sent_min_rtt_us") > 0, "{end:#}");
    // All that led there is of the same connection, and its runs of packets are not more than it had.
    let connection = &end["extensions"]["value"]["connection"];
    let all = flows(&node, &["--type", "trace", "--to-port", "9000"])?;
    let left: u64 = all
        .iter()
        .filter(|flow| &flow["extensions"]["value"]["connection"] == connection)
        .filter(|flow| flow["trace_observation_point"] == "TO_STACK")
        .map(|flow| number(flow, "packets"))
        .sum();
    assert!(left > 0 && left <= told[0], "{left} of {told:?}");
    Ok(())
}

#[test]
fn a_connection_that_does_not_come_to_be_tells_why() -> anyhow::Result<()> {
    let node = two_pods("")?;
    let (client, server) = (&node.pod("client").host, node.pod("server"));
    let deaf =
        "table inet deaf { chain in { type filter hook input priority 0; tcp dport 9002 drop; }; }";
    output(&server.host, &["nft", deaf])?;
    let _agent = node.agent()?;
    let refused = output(client, &["python3", "-c", KNOCK, &server.v4, "9001", "5"])?;
    assert!(refused.contains("ConnectionRefusedError"), "{refused}");
    let refusal = end(&node, "9001")?;
    assert_eq!(
        refusal["extensions"]["value"]["end"], "refused",
        "{refusal:#}"
    );
    let silence = output(client, &["python3", "-c", KNOCK, &server.v4, "9002", "3.5"])?;
    assert!(silence.to_lowercase().contains("timeout"), "{silence}");
    let silence = end(&node, "9002")?;
    assert_eq!(
        silence["extensions"]["value"]["end"], "no_answer",
        "{silence:#}"
    );
    assert!(number(&silence, "sent_retransmits") >= 1, "{silence:#}");
    let again = flows(&node, &["--to-port", "9002", "--tcp-flags", "SYN"])?;
    let again = again
        .iter()
        .filter(|flow| flow["extensions"]["value"]["tcp_event"] == "syn_again");
    assert!(again.count() >= 1, "each attempt is told");
    Ok(())
}

#[test]
fn what_is_sent_again_and_windows_that_close_are_counted() -> anyhow::Result<()> {
    let node = two_pods("")?;
    let (client, server) = (&node.pod("client").host, node.pod("server"));
    let mut command = server.host.command("python3");
    command.args(["-c", SLEEPER, "9003"]);
    let mut sleeper = server.host.converse("sleeper", command)?;
    sleeper.wait_for("serving")?;
    let _agent = node.agent()?;
    let _source = python(client, "source", SOURCE, &[&server.v4, "9003", "4000000"])?;
    let mut observer = node.follow_only(&["--from-port", "9003", "-o", "jsonpb"])?;
    observer.wait_for(r#""tcp_event":"zero_window""#)?;
    // The window opens again, but what tells so is lost for a while.
    let deaf =
        "table inet deaf { chain in { type filter hook input priority 0; tcp dport 9003 drop; }; }";
    output(&server.host, &["nft", deaf])?;
    sleeper.say("read\n")?;
    let mut observer = node.follow_only(&["--to-port", "9003", "-o", "jsonpb"])?;
    observer.wait_for(r#""retransmits":"#)?;
    output(&server.host, &["nft", "delete", "table", "inet", "deaf"])?;
    sleeper.wait_for("done")?;
    let end = end(&node, "9003")?;
    assert_eq!(end["extensions"]["value"]["end"], "closed", "{end:#}");
    assert!(number(&end, "received_zero_windows") >= 1, "{end:#}");
    assert!(number(&end, "sent_retransmits") >= 1, "{end:#}");
    Ok(())
}

#[test]
fn levels_of_aggregation_are_followed_while_the_agent_runs() -> anyhow::Result<()> {
    let node = two_pods("flows: { aggregation: none }\n")?;
    let (client, server) = (&node.pod("client").host, node.pod("server"));
    let _agent = node.agent()?;
    let points = |flows: &[Value], point: &str| {
        let at = |flow: &&Value| flow["trace_observation_point"] == point;
        flows.iter().filter(at).count()
    };
    let ping = |count: &str| output(client, &["ping", "-c", count, "-i", "0.1", &server.v4]);
    ping("4")?;
    let all = flows(&node, &["--protocol", "icmpv4", "--type", "trace"])?;
    // Four requests and four replies, each told where it comes from and where it goes, twice.
    assert_eq!(points(&all, "FROM_ENDPOINT"), 8, "{all:#?}");
    assert_eq!(points(&all, "TO_STACK"), 8);
    assert_eq!(points(&all, "TO_ENDPOINT"), 8);
    let mut before = all.len();
    for (level, expected) in [("low", 16), ("medium", 4), ("maximum", 1)] {
        node.configure(&format!("flows: {{ aggregation: {level} }}\n"))?;
        wait_for_level(&node, level)?;
        ping("4")?;
        let all = flows(&node, &["--protocol", "icmpv4", "--type", "trace"])?;
        assert_eq!(
            all.len() - before,
            expected,
            "{level}: {:#?}",
            &all[before..]
        );
        assert_eq!(points(&all[before..], "FROM_ENDPOINT"), 0);
        before = all.len();
    }
    Ok(())
}

/// `l7d status` tells the level in force.
fn wait_for_level(node: &Node, level: &str) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let status = node.l7d("status", &[])?;
        let line = status.lines().find(|line| line.contains("Aggregation"));
        if line.is_some_and(|line| line.contains(level)) {
            return Ok(());
        }
        anyhow::ensure!(std::time::Instant::now() < deadline, "{status}");
        std::thread::yield_now();
    }
}

#[test]
fn traffic_with_the_node_and_the_outside_is_told_at_its_points() -> anyhow::Result<()> {
    let node = two_pods("")?;
    let server = node.pod("server");
    let outside = node.world.outside();
    let _sinks = [sink(&outside, "9004")?, sink(&node.world.node(), "9005")?];
    let _agent = node.agent()?;
    for (address, port) in [("192.0.2.2", "9004"), ("10.244.1.1", "9005")] {
        let words = ["python3", "-c", SOURCE, address, port, "1000"];
        output(&server.host, &words)?;
        end(&node, port)?;
    }
    let points = |port| -> anyhow::Result<Vec<String>> {
        let all = flows(
            &node,
            &["--type", "trace", "--to-port", port, "--tcp-flags", "SYN"],
        )?;
        let point = |flow: &Value| flow["trace_observation_point"].to_string();
        Ok(all.iter().map(point).collect())
    };
    assert_eq!(points("9004")?, ["\"TO_STACK\"", "\"TO_NETWORK\""]);
    assert_eq!(points("9005")?, ["\"TO_HOST\""]);
    Ok(())
}
