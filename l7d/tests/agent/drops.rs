//! What the kernel drops is told with its reason, its place and what it means; what ends as usual is
//! not told at all.

use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{Attach, Host, Process};

use crate::node::{Node, curl, output, serve};

const BRIDGED: Attach = Attach::Bridged;

/// Two pods on a bridge and a routed one; nothing is watched.
fn three_pods() -> anyhow::Result<Node> {
    let node = Node::new(&[
        ("client", BRIDGED),
        ("server", BRIDGED),
        ("routed", Attach::Routed),
    ])?;
    node.configure("visibility: []\n")?;
    Ok(node)
}

/// The flow of the first drop of which `is_it` says so; waits for it.
fn dropped(node: &Node, is_it: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let told = node.observe(&["--verdict", "DROPPED", "--all", "-o", "json"])?;
        let lines = told.lines().map(serde_json::from_str::<Value>);
        let mut flows = Vec::new();
        for line in lines {
            flows.extend(line?.get("flow").cloned());
        }
        if let Some(flow) = flows.into_iter().find(&is_it) {
            return Ok(flow);
        }
        anyhow::ensure!(Instant::now() < deadline, "no such drop: {told}");
    }
}

/// A text among what Hubble has no field for.
fn extension<'f>(flow: &'f Value, name: &str) -> &'f str {
    let value = flow
        .pointer("/extensions/value")
        .and_then(|all| all.get(name));
    value.and_then(Value::as_str).unwrap_or_default()
}

fn has_reason(reason: &'static str) -> impl Fn(&Value) -> bool {
    move |flow| extension(flow, "drop_reason") == reason
}

/// Runs a Python program, which must succeed.
fn python(host: &Host, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    output(host, &[&["python3", "-c", program], arguments].concat())
}

const SEND_UDP: &str = "
import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[3])): s.sendto(b'x' * 1000, (sys.argv[1], int(sys.argv[2])))
";

#[test]
fn a_closed_port_is_told_with_who_listens_not() -> anyhow::Result<()> {
    let node = three_pods()?;
    let _agent = node.agent()?;
    let (client, server) = (&node.pod("client").host, node.pod("server"));
    for (address, place) in [
        (&server.v4, "__udp4_lib_rcv"),
        (&server.v6, "__udp6_lib_rcv"),
    ] {
        python(client, SEND_UDP, &[address, "9999", "1"])?;
        let flow = dropped(&node, |flow| {
            has_reason("NO_SOCKET")(flow) && flow["IP"]["destination"] == address.as_str()
        })?;
        assert_eq!(extension(&flow, "drop_place"), place);
        assert_eq!(extension(&flow, "drop_site"), "pod");
        assert!(extension(&flow, "drop_meaning").starts_with("nobody listens"));
        assert_eq!(flow["drop_reason_desc"], "SOCKET_LOOKUP_FAILED");
        assert_eq!(flow["source"]["pod_name"], "client");
        assert_eq!(flow["destination"]["pod_name"], "server");
        assert_eq!(flow["l4"]["UDP"]["destination_port"], 9999);
        assert_eq!(flow["traffic_direction"], "INGRESS");
        assert_eq!(flow["is_reply"], false);
        assert_ne!(extension(&flow, "connection"), "");
    }
    let line = node.observe(&["--verdict", "DROPPED", "--all"])?;
    let told = "prod-app/server:9999 (ID:";
    let why = "DROPPED (NO_SOCKET in __udp4_lib_rcv: nobody listens on this port and address";
    let is_whole = |line: &str| line.contains(told) && line.contains(why);
    assert!(line.lines().any(is_whole), "{line}");
    Ok(())
}

#[test]
fn what_the_node_drops_on_the_way_has_its_reason() -> anyhow::Result<()> {
    let node = three_pods()?;
    let _agent = node.agent()?;
    let (routed, server) = (node.pod("routed"), node.pod("server"));
    let ping = |arguments: &[&str]| {
        let words = [&["ping", "-c1", "-W1"], arguments].concat();
        routed.host.output(&words)
    };

    ping(&["-t", "1", &server.v4])?;
    let flow = dropped(&node, |flow| extension(flow, "drop_place") == "ip_forward")?;
    assert_eq!(extension(&flow, "drop_reason"), "IP_INHDR");
    assert_eq!(flow["drop_reason_desc"], "TTL_EXCEEDED");
    assert_eq!(extension(&flow, "drop_site"), "node");

    output(&node.world.node(), &["ip", "route", "del", "default"])?;
    ping(&["198.51.100.7"])?;
    let flow = dropped(&node, has_reason("IP_INNOROUTES"))?;
    assert_eq!(flow["IP"]["destination"], "198.51.100.7");
    assert_eq!(flow["drop_reason_desc"], "FIB_LOOKUP_FAILED");
    assert_eq!(flow["source"]["pod_name"], "routed");

    let strict = format!("net/ipv4/conf/{}/rp_filter", routed.interface);
    node.world.node().set(&strict, "1")?;
    output(
        &routed.host,
        &["ip", "addr", "add", "203.0.113.5/32", "dev", "eth0"],
    )?;
    ping(&["-I", "203.0.113.5", &server.v4])?;
    let flow = dropped(&node, has_reason("IP_RPFILTER"))?;
    assert_eq!(flow["IP"]["source"], "203.0.113.5");
    assert_eq!(flow["drop_reason_desc"], "INVALID_SOURCE_IP");
    assert!(extension(&flow, "drop_meaning").contains("rp_filter"));
    assert_ne!(flow["interface"]["index"], 0);
    Ok(())
}

/// A SYN with a wrong checksum, from a socket that computes none.
const BAD_CHECKSUM: &str = "
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
s.sendto(struct.pack('!HHIIBBHHH', 4711, 80, 1, 0, 0x50, 2, 1024, 0xdead, 0), (sys.argv[1], 0))
";

/// Receives nothing of what it gets.
const DEAF: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
s.bind(('0.0.0.0', 5555))
print('bound', flush=True)
sys.stdin.read()
";

#[test]
fn what_a_pods_own_stack_refuses_has_its_reason() -> anyhow::Result<()> {
    let node = three_pods()?;
    let server = node.pod("server");
    let _server = serve(&server.host, 80)?;
    let mut command = server.host.command("python3");
    command.args(["-c", DEAF]);
    let mut deaf = server.host.converse("deaf", command)?;
    deaf.wait_for("bound")?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;

    python(client, BAD_CHECKSUM, &[&server.v4])?;
    let flow = dropped(&node, has_reason("TCP_CSUM"))?;
    assert_eq!(flow["l4"]["TCP"]["source_port"], 4711);
    assert_eq!(flow["l4"]["TCP"]["flags"]["SYN"], true);
    assert_eq!(flow["drop_reason_desc"], "INVALID_PACKET_DROPPED");

    python(client, SEND_UDP, &[&server.v4, "5555", "50"])?;
    let flow = dropped(&node, has_reason("SOCKET_RCVBUFF"))?;
    assert_eq!(flow["l4"]["UDP"]["destination_port"], 5555);
    assert_eq!(extension(&flow, "bytes"), "1028");
    Ok(())
}

#[test]
fn a_flood_of_drops_is_counted_and_not_told_one_by_one() -> anyhow::Result<()> {
    let node = three_pods()?;
    node.configure("visibility: []\ndrops: { recordsPerSecond: 5 }\n")?;
    let _agent = node.agent()?;
    let server = node.pod("server");
    python(
        &node.pod("client").host,
        SEND_UDP,
        &[&server.v4, "9999", "2000"],
    )?;
    dropped(&node, has_reason("NO_SOCKET"))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let status = node.l7d("status", &[])?;
        let line = status
            .lines()
            .find(|line| line.contains("Kernel drops"))
            .unwrap_or_default();
        if line.contains("over the budget") {
            assert!(line.contains("NO_SOCKET"), "{status}");
            break;
        }
        anyhow::ensure!(Instant::now() < deadline, "{status}");
    }
    let told = node.observe(&["--verdict", "DROPPED", "--all"])?;
    assert!(told.matches("NO_SOCKET").count() < 200, "{told}");
    Ok(())
}

#[test]
fn ordinary_traffic_is_no_drop() -> anyhow::Result<()> {
    let node = three_pods()?;
    node.configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    let server = node.pod("server");
    let _web = serve(&server.host, 80)?;
    let _other = serve(&server.host, 8080)?;
    let _agent = node.agent()?;
    for name in ["client", "routed"] {
        let host = &node.pod(name).host;
        for address in [server.v4.clone(), format!("[{}]", server.v6)] {
            for url in [
                format!("http://{address}/users"),
                format!("http://{address}:8080/users"),
            ] {
                for _ in 0..5 {
                    let body = "x".repeat(100_000);
                    let (code, answer) = curl(host, &["-d", &body, &url, &url])?;
                    assert_eq!(code, 0, "{url}: {answer}");
                }
            }
        }
        for address in [&server.v4, &server.v6] {
            output(host, &["ping", "-c", "2", "-i", "0.1", address])?;
        }
        for group in ["239.1.2.3", "ff0e::123"] {
            python(host, SEND_UDP, &[group, "9999", "3"])?;
        }
        host.wait_quiet()?;
    }
    server.host.wait_quiet()?;
    let told = node.observe(&["--verdict", "DROPPED", "--all"])?;
    assert_eq!(told, "", "{told}");
    Ok(())
}

/// Listens and never accepts: there is room for two connections.
const LISTENER: &str = "
import socket, sys
s = socket.socket(); s.bind(('0.0.0.0', 6666)); s.listen(1)
print('listening', flush=True)
sys.stdin.read()
";

/// A handshake, then two at once, by hand: both SYNs before the first ACK, so that their connections
/// wait for it together.
const HANDSHAKES: &str = "
import socket, struct, sys
here, there = map(socket.inet_aton, sys.argv[1:3])
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
s.settimeout(5)
def total(data):
    words = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    words = (words >> 16) + (words & 0xffff)
    return ~(words + (words >> 16)) & 0xffff
def segment(port, sequence, ack, flags):
    def head(check):
        return struct.pack('!HHIIBBHHH', port, 6666, sequence, ack, 0x50, flags, 8192, check, 0)
    pseudo = here + there + struct.pack('!BBH', 0, 6, 20)
    s.sendto(head(total(pseudo + head(0))), (sys.argv[2], 0))
def shake(ports):
    for port in ports: segment(port, 100, 0, 2)
    answers = {}
    while len(answers) < len(ports):
        packet = s.recv(2048)
        tcp = packet[(packet[0] & 15) * 4:]
        source, port, sequence, ack = struct.unpack('!HHII', tcp[:12])
        if source == 6666 and port in ports and tcp[13] == 0x12: answers[port] = sequence
    for port in ports: segment(port, 101, answers[port] + 1, 0x10)
shake([7001])
shake([7002, 7003])
";

#[test]
fn a_full_accept_queue_is_told() -> anyhow::Result<()> {
    let node = three_pods()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let mut command = server.host.command("python3");
    command.args(["-c", LISTENER]);
    let mut listener = server.host.converse("listener", command)?;
    listener.wait_for("listening")?;
    server.host.set("net/ipv4/tcp_syncookies", "0")?;
    // The client's own stack knows nothing of these connections, and would reset them.
    nft(&client.host, "add table ip quiet")?;
    nft(
        &client.host,
        "add chain ip quiet out { type filter hook output priority 0; }",
    )?;
    nft(
        &client.host,
        "add rule ip quiet out tcp flags & rst == rst drop",
    )?;
    let _agent = node.agent()?;
    python(&client.host, HANDSHAKES, &[&client.v4, &server.v4])?;
    let flow = dropped(&node, has_reason("TCP_LISTEN_OVERFLOW"))?;
    assert_eq!(flow["destination"]["pod_name"], "server");
    assert_eq!(flow["l4"]["TCP"]["destination_port"], 6666);
    assert!(extension(&flow, "drop_meaning").contains("somaxconn"));
    // What the kernel does not let us look at is said.
    let status = node.l7d("status", &[])?;
    let can_look = !status.contains("refuses in silence");
    let syn = python(
        &client.host,
        "
import socket, sys
s = socket.socket(); s.setblocking(False); s.connect_ex((sys.argv[1], 6666))
",
        &[&server.v4],
    );
    syn?;
    if can_look {
        let flow = dropped(&node, |flow| !extension(flow, "drop_queue").is_empty())?;
        assert_eq!(extension(&flow, "drop_place"), "tcp_conn_request");
        assert_eq!(flow["l4"]["TCP"]["flags"]["SYN"], true);
    } else {
        eprintln!("this kernel lets nobody attach to tcp_conn_request: {status}");
    }
    Ok(())
}

const TYPO: &str = include_str!("../../../testdata/policies/api-access-typo.yaml");

/// "Everything looks green": a policy between two services drops in silence, and users cannot check out.
#[test]
fn a_silent_policy_is_one_line_that_says_who_whom_port_which_and_why() -> anyhow::Result<()> {
    let names = ["frontend", "api-gateway", "user-service"];
    let node = Node::new(&names.map(|name| (name, BRIDGED)))?;
    node.configure("visibility: []\n")?;
    node.policy(TYPO)?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let _agent = node.agent()?;
    let gateway = &node.pod("api-gateway").host;
    // One attempt: its only packet is a SYN.
    let attempt = "
import socket, sys
s = socket.socket(); s.setblocking(False); s.connect_ex((sys.argv[1], 80))
";
    python(gateway, attempt, &[&service.v4])?;
    dropped(&node, |flow| flow["drop_reason_desc"] == "POLICY_DENIED")?;
    let told = node.observe(&["--verdict", "DROPPED", "--type", "drop"])?;
    let [line] = told.lines().collect::<Vec<_>>()[..] else {
        anyhow::bail!("told exactly once: {told}");
    };
    for part in [
        "prod-app/api-gateway:",
        "-> prod-app/user-service:80 (",
        "Policy denied DROPPED (TCP Flags: SYN; egress: no rule of CiliumNetworkPolicy \
         prod-app/api-access-policy allows it)",
    ] {
        assert!(
            line.contains(part) || line.contains(&part.replace("->", "<>")),
            "{part}: {line}"
        );
    }
    let told = node.observe(&["--verdict", "DROPPED", "--all"])?;
    assert!(
        !told.contains("TC_INGRESS") && !told.contains("TC_EGRESS"),
        "{told}"
    );
    Ok(())
}

#[test]
fn without_types_of_the_kernel_everything_else_works_and_status_says_so() -> anyhow::Result<()> {
    let node = three_pods()?;
    let (client, server) = (&node.pod("client").host, node.pod("server"));
    let _server = serve(&server.host, 80)?;
    let mut command = node.world.node().command("unshare");
    let agent = format!(
        "mount -t tmpfs none /sys/kernel/btf && exec {} agent --config {}",
        env!("CARGO_BIN_EXE_l7d"),
        node.config_file().display()
    );
    command.args(["--mount", "sh", "-c", &agent]);
    let mut agent = node.world.node().start("agent", command)?;
    agent.wait_for("l7d: ready")?;
    let status = node.l7d("status", &[])?;
    let missing = "(CONFIG_DEBUG_INFO_BTF): only what policies drop is told";
    assert!(status.contains(missing), "{status}");
    python(client, SEND_UDP, &[&server.v4, "9999", "1"])?;
    let url = format!("http://{}/users", server.v4);
    assert_eq!(curl(client, &[&url])?.0, 0);
    let told = node.observe(&["--all"])?;
    assert!(told.contains("prod-app/server:80"), "{told}");
    assert!(!told.contains("NO_SOCKET"), "{told}");
    Ok(())
}

/// A later fragment of a datagram whose first one nobody has seen.
const FRAGMENT: &str = "
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 36, 77, 10, 64, 17, 0, socket.inet_aton(sys.argv[1]),
    socket.inet_aton(sys.argv[2]))
s.sendto(ip + b'x' * 16, (sys.argv[2], 0))
";

#[test]
fn a_fragment_that_nobody_can_judge_is_told_once() -> anyhow::Result<()> {
    let node = three_pods()?;
    // Where there is no policy, nothing is to be judged.
    node.policy(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: everything, namespace: prod-app}\n\
         spec:\n  endpointSelector: {matchLabels: {app: client}}\n  egress:\n  - toEntities: [all]\n",
    )?;
    let _agent = node.agent()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    python(&client.host, FRAGMENT, &[&client.v4, &server.v4])?;
    let flow = dropped(&node, |flow| {
        flow["drop_reason_desc"] == "IP_FRAGMENTATION_NOT_SUPPORTED"
    })?;
    assert_eq!(flow["source"]["pod_name"], "client");
    let told = node.observe(&["--verdict", "DROPPED", "--all"])?;
    assert_eq!(told.lines().count(), 1, "{told}");
    Ok(())
}

fn nft(host: &Host, text: &str) -> anyhow::Result<()> {
    output(host, &["nft", text]).map(drop)
}

fn attempts(client: &Host, address: &str) -> anyhow::Result<Process> {
    let mut command = client.command("python3");
    let connect = "
import socket, sys
s = socket.socket(); s.settimeout(10)
try: s.connect((sys.argv[1], 80))
except OSError: pass
";
    command.args(["-c", connect, address]);
    client.start("attempts", command)
}

#[test]
fn a_rule_of_netfilter_is_named_where_that_is_wanted() -> anyhow::Result<()> {
    let node = three_pods()?;
    let mut agent = node.agent()?;
    let (host, routed, server) = (node.world.node(), node.pod("routed"), node.pod("server"));
    nft(&host, "add table inet guard")?;
    nft(
        &host,
        "add chain inet guard forward { type filter hook forward priority 0; }",
    )?;
    nft(&host, "add rule inet guard forward tcp dport 81 accept")?;
    let rule = format!("ip daddr {} tcp dport 80 drop", server.v4);
    nft(&host, &format!("add rule inet guard forward {rule}"))?;

    let _client = attempts(&routed.host, &server.v4)?;
    let flow = dropped(&node, has_reason("NETFILTER_DROP"))?;
    assert_eq!(extension(&flow, "netfilter"), "");
    assert!(extension(&flow, "drop_meaning").contains("drops.netfilterRules"));

    node.configure("visibility: []\ndrops: { netfilterRules: true }\n")?;
    agent.process.wait_for_count("configuration applied", 1)?;
    let _again = attempts(&routed.host, &server.v4)?;
    let flow = dropped(&node, |flow| !extension(flow, "netfilter").is_empty())?;
    let named = extension(&flow, "netfilter");
    assert!(named.starts_with("inet guard forward handle "), "{named}");
    assert!(named.ends_with(&format!(": {rule}")), "{named}");
    let told = node.observe(&["--verdict", "DROPPED", "--all"])?;
    let line = "-> prod-app/server:80 (ID:";
    let why = "NETFILTER_DROP DROPPED (NETFILTER_DROP in ";
    let is_whole = |text: &str| text.contains(line) && text.contains(why) && text.contains(named);
    assert!(told.lines().any(is_whole), "{told}");

    drop(agent);
    let left = output(&host, &["nft", "list", "tables"])?;
    let cleaned = node.cleanup()?;
    assert!(
        !left.contains("l7d_trace") || cleaned.contains("l7d_trace"),
        "{left}{cleaned}"
    );
    let left = output(&host, &["nft", "list", "tables"])?;
    assert!(!left.contains("l7d_trace"), "{left}");
    Ok(())
}
