//! What was seen is what was delivered, filtered and lost: each place is overrun for real.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "an answer of another shape fails the test"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use testbed::{Attach, Host, Process};

use crate::node::{Node, curl, output, serve, wait_until};

/// Sends a datagram to each of so many ports of an address, at most so many a second.
const SPRAY: &str = r#"
import socket, sys, time
address, count, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
start = time.monotonic()
for at in range(count):
    # As many ports as there are; then from another port of our own.
    if at % 60000 == 0: s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ahead = at / rate - (time.monotonic() - start)
    if ahead > 0.002: time.sleep(ahead)
    try: s.sendto(b"x", (address, 2000 + at % 60000))
    except ConnectionRefusedError: pass
"#;

/// One row of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    seen: u64,
    delivered: u64,
    filtered: u64,
    lost: u64,
    waiting: u64,
}

impl Row {
    /// Nothing is under way, and every single one is accounted for.
    fn is_balanced(self) -> bool {
        self.waiting == 0 && self.seen == self.delivered + self.filtered + self.lost
    }
}

fn number(object: &Value, name: &str) -> u64 {
    object[name].as_u64().expect("a number")
}

/// What the agent says of itself.
fn status(node: &Node) -> anyhow::Result<Value> {
    let text = node.l7d("status", &["-o", "json"])?;
    Ok(serde_json::from_str::<Value>(&text)?["l7d"].take())
}

fn ledger(node: &Node) -> anyhow::Result<BTreeMap<String, Row>> {
    let status = status(node)?;
    let rows = status["ledger"].as_array().expect("a ledger");
    let row = |row: &Value| {
        let counts = Row {
            seen: number(row, "seen"),
            delivered: number(row, "delivered"),
            filtered: number(row, "filtered"),
            lost: number(row, "lost"),
            waiting: number(row, "waiting"),
        };
        (row["place"].as_str().unwrap_or_default().to_owned(), counts)
    };
    Ok(rows.iter().map(row).collect())
}

/// Waits until a row is as wanted.
fn wait_for(node: &Node, place: &str, wanted: impl Fn(Row) -> bool) -> anyhow::Result<Row> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let row = ledger(node)?[place];
        if wanted(row) {
            return Ok(row);
        }
        anyhow::ensure!(Instant::now() < deadline, "{place}: {row:?}");
    }
}

fn two_pods(datapath: &str, more: &str) -> anyhow::Result<Node> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    node.reconfigure(
        "uplinks: [uplink] }",
        &format!("uplinks: [uplink]{datapath} }}"),
    )?;
    let text = std::fs::read_to_string(node.config_file())?;
    let text = text.replace("visibility: [ { port: 80, mode: proxy } ]\n", "");
    std::fs::write(node.config_file(), format!("{text}{more}"))?;
    Ok(node)
}

fn spray(host: &Host, address: &str, count: u32, rate: u32) -> anyhow::Result<()> {
    let (count, rate) = (count.to_string(), rate.to_string());
    output(host, &["python3", "-c", SPRAY, address, &count, &rate]).map(drop)
}

/// Every line of JSON that a follower has printed so far.
fn lines(observer: &mut Process) -> Vec<Value> {
    let output = observer.output();
    let lines = output.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// How many events followers were told that they are lost, by source.
fn told(lines: &[Value]) -> BTreeMap<String, u64> {
    let mut told = BTreeMap::new();
    for event in lines.iter().filter_map(|line| line.get("lost_events")) {
        let source = event["source"].as_str().unwrap_or_default().to_owned();
        let count: u64 = event["num_events_lost"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a count");
        *told.entry(source).or_default() += count;
    }
    told
}

#[test]
fn records_that_found_no_room_in_the_kernels_ring_are_counted_and_told() -> anyhow::Result<()> {
    let node = two_pods(", ringBytes: 4096", "")?;
    let agent = node.agent()?;
    let mut observer = node.follow_only(&["-o", "json"])?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    // Somebody follows before anything is lost.
    spray(&client.host, &server.v4, 1, 1000)?;
    observer.wait_for("UDP")?;
    agent.process.signal(Signal::STOP)?;
    spray(&client.host, &server.v4, 400, 100_000)?;
    agent.process.signal(Signal::CONT)?;
    let lost = |row: Row| row.lost > 300 && row.is_balanced();
    let row = wait_for(&node, "kernel_ring", lost)?;
    observer.wait_for("PERF_EVENT_RING_BUFFER")?;
    let kernel = BTreeMap::from([("PERF_EVENT_RING_BUFFER".to_owned(), row.lost)]);
    wait_until(|| told(&lines(&mut observer)), |told| *told == kernel)?;
    let all = ledger(&node)?;
    for place in ["decode", "flow_ring"] {
        assert!(
            all[place].is_balanced() && all[place].lost == 0,
            "{place}: {all:?}"
        );
    }
    let text = node.l7d("status", &[])?;
    assert!(
        text.contains("Lost at kernel_ring: raise `datapath.ringBytes`"),
        "{text}"
    );
    Ok(())
}

#[test]
fn segments_that_found_no_room_in_the_taps_ring_are_counted() -> anyhow::Result<()> {
    let node = two_pods(
        "",
        "visibility: [ { port: 80 } ]\ntap: { ringBytes: 4096 }\n",
    )?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let _server = serve(&server.host, 80)?;
    let agent = node.agent()?;
    agent.process.signal(Signal::STOP)?;
    let url = format!("http://{}/{}", server.v4, "a".repeat(1000));
    for _ in 0..20 {
        let (code, answer) = curl(&client.host, &[&url])?;
        assert_eq!(code, 0, "{answer}");
    }
    agent.process.signal(Signal::CONT)?;
    wait_for(&node, "tap_ring", |row| row.lost > 0 && row.is_balanced())?;
    let all = ledger(&node)?;
    assert!(all["decode"].is_balanced(), "{all:?}");
    assert!(all["tap_bytes"].is_balanced(), "{all:?}");
    Ok(())
}

/// Holds connections open on which something was said.
const HOLD: &str = r#"
import signal, socket, sys
held = []
for _ in range(int(sys.argv[2])):
    s = socket.create_connection((sys.argv[1], 80))
    s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    s.recv(1000)
    held.append(s)
print("held", flush=True)
signal.pause()
"#;

#[test]
fn connections_that_the_tap_gives_up_are_counted() -> anyhow::Result<()> {
    let node = two_pods(
        "",
        "visibility: [ { port: 80 } ]\ntap: { connections: 8 }\n",
    )?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let _server = serve(&server.host, 80)?;
    let _agent = node.agent()?;
    let mut command = client.host.command("python3");
    command.args(["-c", HOLD, &server.v4, "20"]);
    let mut holder = client.host.start("holder", command)?;
    holder.wait_for("held")?;
    let row = wait_for(&node, "tap_connections", |row| row.seen == 20)?;
    assert_eq!(row.lost, 20 - row.waiting, "{row:?}");
    assert!(row.waiting <= 8, "{row:?}");
    // Those that are open are counted otherwise as well.
    let open = || status(&node).map(|status| number(&status, "tapped"));
    wait_until(open, |open| {
        open.as_ref().is_ok_and(|open| *open == row.waiting)
    })
}

#[test]
fn connections_that_gave_way_to_others_are_counted() -> anyhow::Result<()> {
    let node = two_pods(", connections: 1024", "")?;
    let _agent = node.agent()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    spray(&client.host, &server.v4, 20_000, 10_000)?;
    let row = wait_for(&node, "conntrack", |row| {
        row.seen >= 20_000 && row.lost + row.delivered + 1024 >= row.seen
    })?;
    // Only those that are still in the table wait.
    assert_eq!(row.seen, row.delivered + row.lost + row.waiting, "{row:?}");
    assert!(row.lost > 0 && row.waiting <= 1024, "{row:?}");
    let text = node.l7d("status", &[])?;
    assert!(
        text.contains("Lost at conntrack: raise `datapath.connections`"),
        "{text}"
    );
    Ok(())
}

/// Sends a head in pieces, the second one of so many bytes.
const LONG_HEAD: &str = r#"
import socket, sys
s = socket.create_connection((sys.argv[1], 80))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Long: ")
s.sendall(b"a" * int(sys.argv[2]) + b"\r\n\r\n")
while s.recv(1000): pass
"#;

#[test]
fn bytes_of_heads_that_the_tap_did_not_copy_are_counted() -> anyhow::Result<()> {
    let node = two_pods(
        "",
        "visibility: [ { port: 80 } ]\ntap: { requestBytes: 256 }\n",
    )?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let _server = serve(&server.host, 80)?;
    let _agent = node.agent()?;
    output(
        &client.host,
        &["python3", "-c", LONG_HEAD, &server.v4, "4000"],
    )?;
    let row = wait_for(&node, "tap_bytes", |row| row.lost > 0 && row.is_balanced())?;
    // All of the head that is beyond what may be copied, and no byte of anything else.
    assert!((3700..4100).contains(&row.lost), "{row:?}");
    Ok(())
}

#[test]
fn a_client_that_is_too_slow_knows_how_much_it_missed() -> anyhow::Result<()> {
    let node = two_pods("", "flows: { ring: 63 }\n")?;
    let _agent = node.agent()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let mut quick = node.follow_as("quick", &["-o", "json", "--port", "2000"])?;
    let mut slow = node.follow_only(&["-o", "json"])?;
    spray(&client.host, &server.v4, 1, 1000)?;
    slow.wait_for("UDP")?;
    slow.signal(Signal::STOP)?;
    // More than sockets and windows between the two hold.
    spray(&client.host, &server.v4, 8000, 4000)?;
    slow.signal(Signal::CONT)?;
    slow.wait_for("HUBBLE_RING_BUFFER")?;
    spray(&client.host, &server.v4, 1, 1000)?;
    let all = |row: Row| row.lost > 0 && row.is_balanced();
    wait_for(&node, "clients", all)?;
    quick.wait_for("UDP")?;
    wait_until(
        || what_clients_know(&node, &mut slow),
        |known| known.as_ref().is_ok_and(Known::is_exact),
    )
}

/// What the agent says of its clients, and what the slow one has printed.
#[derive(Debug)]
struct Known {
    end: u64,
    clients: Vec<Row>,
    printed: u64,
    missed: u64,
}

impl Known {
    /// Both have come past every record; the slow one has printed, or missed, each.
    fn is_exact(&self) -> bool {
        let is_whole = |row: &&Row| row.is_balanced() && row.seen == self.end;
        let is_printed = |row: &Row| {
            row.filtered == 0
                && row.lost > 0
                && (row.delivered, row.lost) == (self.printed, self.missed)
        };
        self.clients.iter().filter(is_whole).count() == 2
            && self.clients.iter().any(|row| row.filtered > 0)
            && self.clients.iter().any(is_printed)
    }
}

fn what_clients_know(node: &Node, slow: &mut Process) -> anyhow::Result<Known> {
    let status = status(node)?;
    let clients = status["clients"].as_array().into_iter().flatten();
    let row = |client: &Value| Row {
        seen: number(client, "seen"),
        delivered: number(client, "delivered"),
        filtered: number(client, "filtered"),
        lost: number(client, "lost"),
        waiting: 0,
    };
    let lines = lines(slow);
    let flows = lines.iter().filter(|line| line.get("flow").is_some());
    Ok(Known {
        end: number(&ledger_row(&status, "flow_ring"), "delivered"),
        clients: clients.map(row).collect(),
        printed: flows.count() as u64,
        missed: told(&lines)
            .get("HUBBLE_RING_BUFFER")
            .copied()
            .unwrap_or_default(),
    })
}

fn ledger_row(status: &Value, place: &str) -> Value {
    let rows = status["ledger"].as_array().into_iter().flatten();
    let mut rows = rows.filter(|row| row["place"] == place);
    rows.next().cloned().expect("a row")
}

/// Asks for names without listening for answers, as soon as it is let go on.
const ASK: &str = r#"
import os, signal, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
query = bytes.fromhex("123401000001000000000000") + b"\x3f" + b"a" * 63 + b"\0\0\1\0\1" + bytes(1200)
print("armed", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
for at in range(int(sys.argv[2])):
    s.sendto(query, (sys.argv[1], 53))
"#;

#[test]
fn datagrams_that_the_proxy_had_no_room_for_are_counted() -> anyhow::Result<()> {
    let node = two_pods("", "visibility: [ { port: 53, protocol: UDP } ]\n")?;
    let agent = node.agent()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let armed = |count: &str| {
        let mut command = client.host.command("python3");
        command.args(["-c", ASK, &server.v4, count]);
        let mut asker = client.host.start("asker", command)?;
        asker.wait_for("armed")?;
        anyhow::Ok(asker)
    };
    // The kernel sends datagrams past a proxy that gives no sign of life: there is half a second.
    let many = armed("20000")?;
    agent.process.signal(Signal::STOP)?;
    many.signal(Signal::CONT)?;
    let mut few = armed("8")?;
    agent.process.signal(Signal::CONT)?;
    // The next one that comes says how many did not.
    wait_until(
        || {
            few.signal(Signal::CONT)?;
            few = armed("8")?;
            Ok(ledger(&node)?["datagrams"])
        },
        |row: &anyhow::Result<Row>| {
            row.as_ref()
                .is_ok_and(|row| row.lost > 0 && row.is_balanced())
        },
    )
}

/// Two and a half seconds; as many as `L7D_FLOWS_SECONDS` says where it does.
#[test]
fn twenty_thousand_flows_a_second_lose_nothing() -> anyhow::Result<()> {
    let node = two_pods("", "")?;
    let _agent = node.agent()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let seconds = std::env::var("L7D_FLOWS_SECONDS").ok();
    let seconds: Option<u32> = seconds.and_then(|seconds| seconds.parse().ok());
    let flows = seconds.map_or(50_000, |seconds| seconds * 20_000);
    spray(&client.host, &server.v4, flows, 20_000)?;
    let is_whole = |row: Row| row.seen >= u64::from(flows) && row.is_balanced();
    wait_for(&node, "kernel_ring", is_whole)?;
    let all = ledger(&node)?;
    // Nobody listens to these datagrams: of what the kernel drops so many are told as were asked for.
    for (place, row) in all.iter().filter(|(place, _)| *place != "drops") {
        assert_eq!(row.lost, 0, "{place}: {all:?}");
    }
    let (made, kept) = (all["kernel_ring"], all["flow_ring"]);
    assert_eq!(made.delivered, kept.delivered, "{all:?}");
    Ok(())
}

#[test]
fn what_nobody_wants_to_keep_is_filtered_before_the_ring() -> anyhow::Result<()> {
    let node = two_pods(
        "",
        "flows:\n  deny:\n  - { destination_port: [\"2003\"] }\n",
    )?;
    let _agent = node.agent()?;
    let mut observer = node.follow()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    spray(&client.host, &server.v4, 10, 1000)?;
    observer.wait_for(":2009")?;
    let row = wait_for(&node, "flow_ring", Row::is_balanced)?;
    assert!(row.filtered > 0 && row.delivered > 0, "{row:?}");
    let flows = observer.output();
    assert!(!flows.contains(":2003"), "{flows}");
    Ok(())
}
