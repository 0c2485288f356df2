//! DNS through the proxy, over UDP and TCP: real resolvers, real servers.

use testbed::{Attach, Host, Process};

use crate::node::Node;

/// A server that answers names below `example.com` and says whom it was asked by.
struct Server {
    log: Process,
}

impl Server {
    fn start(host: &Host, folder: &std::path::Path) -> anyhow::Result<Self> {
        let long: String = (0..14)
            .map(|number| {
                let text = "x".repeat(200);
                format!("  local-data: 'long.example.com. TXT \"{number}-{text}\"'\n")
            })
            .collect();
        let config = format!(
            "server:\n  interface: 0.0.0.0\n  interface: ::0\n  do-daemonize: no\n  use-syslog: no\n  \
             logfile: \"\"\n  log-queries: yes\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  \
             directory: \"/\"\n  verbosity: 1\n  access-control: 0.0.0.0/0 allow\n  access-control: ::/0 allow\n  \
             edns-buffer-size: 4096\n  max-udp-size: 4096\n  \
             local-zone: example.com. static\n  local-data: \"api.example.com. 5 A 192.0.2.2\"\n  \
             local-data: \"api.example.com. 5 AAAA 2001:db8::2\"\n  \
             local-data: \"www.example.com. 5 A 192.0.2.2\"\n  \
             local-data: \"secret.example.com. 5 A 198.51.100.9\"\n{long}\
             remote-control:\n  control-enable: no\n"
        );
        let file = folder.join("unbound.conf");
        std::fs::write(&file, config)?;
        let mut command = host.command("unbound");
        command.args(["-d", "-p", "-c"]).arg(&file);
        let mut log = host.start("unbound", command)?;
        log.wait_for("start of service")?;
        Ok(Self { log })
    }
}

/// dig's whole answer.
fn dig(host: &Host, server: &str, arguments: &[&str]) -> anyhow::Result<String> {
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
    let _inner = Server::start(&node.pod("dns").host, node.world.folder())?;
    let _outer = Server::start(&outside, node.world.folder())?;
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
    println!("{flows}");
    Ok(())
}
