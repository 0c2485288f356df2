//! A WebSocket client and server that others wrote: the request that asks for it is judged, and what
//! is said afterwards passes both ways.

use testbed::{Attach, Host, Process};

use crate::node::{Node, output};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent/websocket.py");
/// Debian's, which has the library.
const PYTHON: &str = "/usr/bin/python3";

/// `/chat` on port 80; everything on port 8080, whose requests nobody judges.
pub(crate) const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: chat, namespace: prod-app }
spec:
  endpointSelector: {}
  ingress:
  - fromEntities: [ all ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP } ]
      rules:
        http:
        - { method: GET, path: "/chat" }
    - ports: [ { port: "8080", protocol: TCP } ]
"#;

/// Repeats what it hears; its log has a line per connection.
pub(crate) fn serve(host: &Host, port: u16) -> anyhow::Result<Process> {
    let mut command = host.command(PYTHON);
    command.args([PEER, "serve", &port.to_string()]);
    let mut process = host.start(&format!("websocket{port}"), command)?;
    process.wait_for("serving")?;
    Ok(process)
}

/// The words that talk to a server.
pub(crate) fn talk(url: &str) -> [&str; 4] {
    [PYTHON, PEER, "talk", url]
}

/// Conversations on a port whose requests are judged, and on one that is only watched.
pub(crate) fn check(
    address: &str,
    ask: impl Fn(&[&str]) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    for (place, end) in [
        ("/chat", "closed 1000\n"),
        ("/admin", "refused 403\n"),
        (":8080/admin", "closed 1000\n"),
    ] {
        let url = format!("ws://{address}{place}");
        assert_eq!(ask(&talk(&url))?, end, "{url}");
    }
    Ok(())
}

/// Waits until that many conversations have ended in flows; each address had three checks.
pub(crate) fn check_flows(node: &Node, addresses: usize) -> anyhow::Result<()> {
    let mut flows = node.follow()?;
    flows.wait_for_count("(websocket 2", 2 * addresses)?;
    let flows = flows.output();
    let denied = "http-request DROPPED (HTTP/1.1 GET http://";
    assert_eq!(flows.matches(denied).count(), addresses, "{flows}");
    let switched = "http-response FORWARDED (HTTP/1.1 101";
    assert_eq!(flows.matches(switched).count(), 2 * addresses, "{flows}");
    Ok(())
}

#[test]
fn conversations_between_pods_pass_once_their_request_is_allowed() -> anyhow::Result<()> {
    let node = Node::new(&[
        ("bridged-a", Attach::Bridged),
        ("bridged-b", Attach::Bridged),
        ("routed-a", Attach::Routed),
        ("routed-b", Attach::Routed),
    ])?;
    node.configure("visibility: [ { port: 80, mode: proxy }, { port: 8080, mode: proxy } ]\n")?;
    node.policy(POLICY)?;
    let servers = ["bridged-b", "routed-b"].map(|name| node.pod(name));
    let mut logs = Vec::new();
    for server in servers {
        logs.push(serve(&server.host, 80)?);
        logs.push(serve(&server.host, 8080)?);
    }
    let _agent = node.agent()?;
    for client in ["bridged-a", "routed-a"] {
        let client = &node.pod(client).host;
        for server in servers {
            for address in [server.v4.clone(), format!("[{}]", server.v6)] {
                check(&address, |words| output(client, words))?;
            }
        }
    }
    check_flows(&node, 8)?;
    let logs: String = logs.iter().map(Process::output).collect();
    assert_eq!(logs.matches("asked for /chat").count(), 8, "{logs}");
    assert_eq!(logs.matches("asked for /admin").count(), 8, "{logs}");
    Ok(())
}
