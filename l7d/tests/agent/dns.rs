//! DNS through the proxy, over UDP and TCP: real resolvers, real servers.

use std::fmt::Write as _;
use std::path::Path;

use testbed::{Attach, Host, Process};

use crate::node::Node;

/// Fourteen texts of two hundred bytes: more than one packet, less than 4096 bytes.
const LONG: usize = 14;

/// Starts a server that answers names below `example.com`; its log has a line per query.
pub(crate) fn unbound(host: &Host, folder: &Path) -> anyhow::Result<Process> {
    let mut config = String::from(
        r#"
server:
  interface: 0.0.0.0
  interface: ::0
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  do-daemonize: no
  use-syslog: no
  logfile: ""
  log-queries: yes
  verbosity: 1
  chroot: ""
  username: ""
  directory: "/"
  pidfile: ""
  edns-buffer-size: 4096
  max-udp-size: 4096
  local-zone: example.com. static
  local-data: "api.example.com. 5 A 192.0.2.2"
  local-data: "api.example.com. 5 AAAA 2001:db8::2"
  local-data: "www.example.com. 5 A 192.0.2.2"
  local-data: "secret.example.com. 5 A 198.51.100.9"
remote-control:
  control-enable: no
server:
"#,
    );
    let text = "x".repeat(200);
    for number in 0..LONG {
        writeln!(
            config,
            "  local-data: 'long.example.com. TXT \"{number}-{text}\"'"
        )?;
    }
    let file = folder.join("unbound.conf");
    std::fs::write(&file, config)?;
    let mut command = host.command("unbound");
    command.args(["-d", "-p", "-c"]).arg(&file);
    let mut server = host.start("unbound", command)?;
    server.wait_for("start of service")?;
    Ok(server)
}

/// dig's whole answer.
pub(crate) fn dig(host: &Host, server: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let at = format!("@{server}");
    let words = [&["dig", "+tries=1", "+time=3", &at], arguments].concat();
    let output = host.output(&words)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const WATCHED: &str =
    "visibility: [ { port: 53, protocol: UDP }, { port: 53, protocol: TCP, mode: proxy } ]\n";

#[test]
fn queries_pass_a_watched_port_every_way_and_are_seen() -> anyhow::Result<()> {
    let node = Node::new(&[
        ("bridged", Attach::Bridged),
        ("routed", Attach::Routed),
        ("dns", Attach::Bridged),
    ])?;
    node.configure(WATCHED)?;
    let outside = node.world.outside();
    let _inner = unbound(&node.pod("dns").host, node.world.folder())?;
    let _outer = unbound(&outside, node.world.folder())?;
    let _agent = node.agent()?;
    let dns = node.pod("dns");
    for client in ["bridged", "routed"] {
        let client = &node.pod(client).host;
        for server in [dns.v4.as_str(), &dns.v6, "192.0.2.2", "2001:db8::2"] {
            for over in ["+notcp", "+tcp"] {
                let answer = dig(client, server, &[over, "api.example.com"])?;
                assert!(
                    answer.contains("192.0.2.2"),
                    "{server} {over}: {answer}\n{}",
                    node.observe(&[])?
                );
            }
        }
    }
    let flows = node.observe(&["--protocol", "dns", "--last", "100"])?;
    let count = |what: &str| flows.lines().filter(|line| line.contains(what)).count();
    assert_eq!(
        count("dns-request proxy FORWARDED (DNS Query api.example.com. A)"),
        16,
        "{flows}"
    );
    assert_eq!(
        count("dns-response proxy FORWARDED (DNS Answer \"192.0.2.2\" TTL: 5"),
        16,
        "{flows}"
    );
    Ok(())
}

pub(crate) const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: names, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: client } }
  egress:
  - toEntities: [ world ]
    toPorts:
    - ports: [ { port: "53", protocol: ANY } ]
      rules: { dns: [ { matchName: api.example.com }, { matchPattern: "l*.example.com" } ] }
"#;

#[test]
fn only_allowed_names_reach_the_server() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged)])?;
    node.policy(POLICY)?;
    let outside = node.world.outside();
    let server = unbound(&outside, node.world.folder())?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    for server in ["192.0.2.2", "2001:db8::2"] {
        for over in ["+notcp", "+tcp"] {
            let answer = dig(client, server, &[over, "API.example.com"])?;
            assert!(
                answer.contains("status: NOERROR"),
                "{server} {over}: {answer}"
            );
            let answer = dig(client, server, &[over, "secret.example.com"])?;
            assert!(
                answer.contains("status: REFUSED"),
                "{server} {over}: {answer}"
            );
            assert!(
                answer.contains("denied by network policy"),
                "{server} {over}: {answer}"
            );
        }
    }
    let log = server.output();
    assert!(log.contains("API.example.com. A IN"), "{log}");
    assert!(!log.contains("secret"), "{log}");
    let flows = node.observe(&["--protocol", "dns"])?;
    assert!(
        flows.contains("dns-request proxy DROPPED (DNS Query secret.example.com. A)"),
        "{flows}"
    );
    let denied = node.observe(&["--protocol", "dns", "--verdict", "DROPPED", "-o", "json"])?;
    assert!(
        denied.contains("prod-app") && denied.contains("\"names\""),
        "{denied}"
    );
    Ok(())
}

#[test]
fn long_answers_arrive_whole_in_fragments_or_over_tcp() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("dns", Attach::Bridged)])?;
    node.policy(&POLICY.replace("[ world ]", "[ all ]"))?;
    let _inner = unbound(&node.pod("dns").host, node.world.folder())?;
    let outside = node.world.outside();
    let _outer = unbound(&outside, node.world.folder())?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let dns = node.pod("dns");
    for server in [dns.v4.as_str(), &dns.v6, "192.0.2.2", "2001:db8::2"] {
        let question = ["long.example.com", "TXT"];
        let whole = dig(
            client,
            server,
            &[&["+ignore", "+bufsize=4096"], &question[..]].concat(),
        )?;
        assert!(
            whole.contains(&format!("ANSWER: {LONG},")),
            "{server}: {whole}"
        );
        let cut = dig(
            client,
            server,
            &[&["+ignore", "+bufsize=1232"], &question[..]].concat(),
        )?;
        assert!(cut.contains("flags: qr aa tc"), "{server}: {cut}");
        let again = dig(
            client,
            server,
            &[&["+bufsize=1232"], &question[..]].concat(),
        )?;
        assert!(
            again.contains(&format!("ANSWER: {LONG},")),
            "{server}: {again}"
        );
        assert!(again.contains("(TCP)"), "{server}: {again}");
    }
    Ok(())
}

#[test]
fn a_forwarder_asks_with_its_own_ports_and_ids() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Routed), ("forwarder", Attach::Bridged)])?;
    node.configure(WATCHED)?;
    let outside = node.world.outside();
    let _server = unbound(&outside, node.world.folder())?;
    let forwarder = node.pod("forwarder");
    let mut command = forwarder.host.command("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--conf-file=/dev/null",
    ]);
    command.args([
        "--server=192.0.2.2",
        "--log-facility=-",
        "--log-queries",
        "--pid-file=",
    ]);
    command.args(["--user=root", "--cache-size=0"]);
    let mut dnsmasq = forwarder.host.start("dnsmasq", command)?;
    dnsmasq.wait_for("started")?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    for server in [&forwarder.v4, &forwarder.v6] {
        let answer = dig(client, server, &["api.example.com"])?;
        assert!(
            answer.contains("192.0.2.2"),
            "{answer}\n{}",
            node.observe(&[])?
        );
    }
    let flows = node.observe(&["--protocol", "dns", "--from-pod", "prod-app/forwarder"])?;
    let asked = flows.lines().filter(|line| line.contains("dns-request"));
    assert_eq!(asked.count(), 2, "{flows}");
    Ok(())
}

#[test]
fn a_service_of_dns_is_followed_to_its_pod() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("dns", Attach::Bridged)])?;
    node.configure("services: [ { name: dns, namespace: prod-app, ips: [10.96.0.10] } ]\n")?;
    node.policy(&POLICY.replace(
        "toEntities: [ world ]",
        "toEndpoints: [ { matchLabels: { app: dns } } ]",
    ))?;
    let dns = node.pod("dns");
    let rules = format!(
        "add table ip services; add chain ip services prerouting {{ type nat hook prerouting priority -100; }}; \
         add rule ip services prerouting ip daddr 10.96.0.10 dnat to {}",
        dns.v4
    );
    let output = node.world.node().output(&["nft", &rules])?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let _server = unbound(&dns.host, node.world.folder())?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    for over in ["+notcp", "+tcp"] {
        // dig refuses answers from another address than it asked.
        let answer = dig(client, "10.96.0.10", &[over, "api.example.com"])?;
        assert!(
            answer.contains("192.0.2.2"),
            "{over}: {answer}\n{}",
            node.observe(&[])?
        );
        let answer = dig(client, "10.96.0.10", &[over, "secret.example.com"])?;
        assert!(answer.contains("status: REFUSED"), "{over}: {answer}");
    }
    Ok(())
}

/// Sends what is no plain query, and prints what comes back: its rcode, or that nothing does.
const ODD: &str = r#"
import socket, sys
query = bytes.fromhex("123401000001000000000000") + b"\x03api\x07example\x03com\x00\x00\x01\x00\x01"
flags = lambda high: query[:2] + bytes([high]) + query[3:]
odd = {
    "response": flags(0x81),
    "update": flags(0x29),
    "two questions": query[:5] + b"\x02" + query[6:] + query[12:],
    "no question": query[:5] + b"\x00" + query[6:12],
    "bytes behind": query + b"secret",
    "cut": query[:20],
    "no message": b"hello",
    "plain": query,
}
for name, payload in odd.items():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.5 if name in ("response", "no message") else 3)
    s.connect((sys.argv[1], 53))
    s.send(payload)
    try:
        answer = s.recv(4096)
        print(f"{name}: rcode {answer[3] & 15}, id kept {answer[:2] == payload[:2]}")
    except TimeoutError:
        print(f"{name}: nothing")
"#;

#[test]
fn what_is_no_plain_query_does_not_pass_an_enforced_port() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged)])?;
    node.configure("dns: { refusal: nameError }\n")?;
    node.policy(POLICY)?;
    let outside = node.world.outside();
    let _server = unbound(&outside, node.world.folder())?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let output = client.output(&["python3", "-c", ODD, "192.0.2.2"])?;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "response: nothing\nupdate: rcode 3, id kept True\ntwo questions: rcode 3, id kept True\n\
         no question: rcode 3, id kept True\nbytes behind: rcode 3, id kept True\n\
         cut: rcode 3, id kept True\nno message: nothing\nplain: rcode 0, id kept True\n"
    );
    let denied = node.observe(&["--protocol", "dns", "--verdict", "DROPPED", "-o", "json"])?;
    for rule in [
        "dns-response-as-query",
        "dns-opcode",
        "dns-question-count",
        "dns-bytes-behind-query",
        "no message of DNS",
    ] {
        assert!(denied.contains(rule), "{rule}: {denied}");
    }
    Ok(())
}
