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

const WATCHED: &str = "visibility: [ { port: 53, protocol: UDP }, { port: 53, protocol: TCP } ]\n";

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

const POLICY: &str = r#"
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
