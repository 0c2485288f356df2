//! Hostile peers, shortly: each is at work while another endpoint's requests go on, the agent's memory
//! stays within what is stated in `docs/attacks.md`, and a flow names who it was and the rule.
//!
//! `cargo xtask soak hostile` measures what they cost others.

mod datagrams;
mod http1;
mod http2;
mod packets;

use anyhow::Context as _;
use testbed::{Attach, Process};

use crate::http2::serve_http2;
use crate::node::{Agent, Node, output, wait_until};

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent/hostile/peers.py");
const RESOLVER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/agent/hostile/resolver.py"
);
/// Memory that no attack of this size may take beyond what its connections may hold.
const SLACK_KIB: u64 = 24 << 10;
/// Most that a connection through the proxy holds while bytes wait in it: a buffer for each direction.
const CONNECTION_KIB: u64 = 2 * 68;

/// Requests of other paths are refused, those of the attacker are judged as well.
const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: shop, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: server } }
  ingress:
  - fromEndpoints: [ {} ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP }, { port: "8080", protocol: TCP } ]
      rules:
        http: [ { method: GET, path: "/(get|big)" } ]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: names, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: attacker } }
  egress:
  - toEndpoints: [ {} ]
    toPorts: [ { ports: [ { port: "1", endPort: 52, protocol: TCP }, { port: "54", endPort: 65535, protocol: TCP } ] } ]
  - toEndpoints: [ {} ]
    toPorts:
    - ports: [ { port: "53", protocol: ANY } ]
      rules: { dns: [ { matchPattern: "*.flood" } ] }
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: resolver, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: server } }
  ingress:
  - fromEndpoints: [ {} ]
    toPorts: [ { ports: [ { port: "53", protocol: ANY } ] } ]
"#;

/// Asks for the same again and again over connections that stay open, and counts what is answered.
const CLIENT: &str = r#"
import http.client, sys
answered = 0
for _ in range(4):
    c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
    for _ in range(25):
        c.request("GET", "/get")
        answer = c.getresponse()
        answered += answer.status == 200 and answer.read() == b"served\n"
    c.close()
print(answered, end="")
"#;

/// Answers over HTTP/1.1: little, or a mebibyte.
const SERVER: &str = r#"
import http.server, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"b" * (1 << 20) if self.path == "/big" else b"served\n"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 4096
    daemon_threads = True
    def handle_error(self, *_): pass
print("serving", flush=True)
Server(("", 8080), Handler).serve_forever()
"#;

/// An agent between an attacker, a client and their server.
struct Siege {
    node: Node,
    agent: Agent,
    servers: Vec<Process>,
}

impl Siege {
    /// With this in the configuration's section `proxy`.
    fn begin(proxy: &str) -> anyhow::Result<Self> {
        let pods = ["attacker", "client", "server"].map(|name| (name, Attach::Bridged));
        let mut node = Node::new(&pods)?;
        node.amend("workers: 2", &format!("workers: 2{proxy}"));
        node.configure("visibility: []\n")?;
        node.policy(POLICY)?;
        let host = &node.pod("server").host;
        let http2 = serve_http2(&node, host)?;
        std::fs::write(node.world.folder().join("htdocs/big"), vec![b'b'; 1 << 20])?;
        let mut command = host.command("python3");
        command.args(["-c", SERVER]);
        let mut http1 = host.start("http1", command)?;
        http1.wait_for("serving")?;
        host.wait_listening(8080)?;
        let agent = node.agent()?;
        Ok(Self {
            node,
            agent,
            servers: vec![http1, http2],
        })
    }

    /// Has the server answer look-ups as well.
    fn resolve(&mut self) -> anyhow::Result<()> {
        let host = &self.node.pod("server").host;
        let mut command = host.command("python3");
        command.arg(RESOLVER);
        let mut resolver = host.start("resolver", command)?;
        resolver.wait_for("serving")?;
        self.servers.push(resolver);
        Ok(())
    }

    /// Waits until what is told of look-ups of a kind has a word in it.
    fn assert_told(&self, filters: &[&str], word: &str) -> anyhow::Result<()> {
        let dns = ["--protocol", "dns", "--all", "-o", "json"];
        let filters = [&dns, filters].concat();
        let is_told = || self.node.observe(&filters).map(|told| told.contains(word));
        let waited = wait_until(is_told, |is_told| matches!(is_told, Ok(true)));
        waited.with_context(|| word.to_owned())
    }

    /// Connections that the kernel remembers.
    fn remembered(&self) -> anyhow::Result<u64> {
        let status = self.node.l7d("status", &["-o", "json"])?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        let maps = status.pointer("/l7d/maps").and_then(|maps| maps.as_array());
        let is_table = |map: &&serde_json::Value| {
            map.get("map").and_then(|name| name.as_str()) == Some("CONNTRACK")
        };
        let table = maps.into_iter().flatten().find(is_table);
        table
            .and_then(|map| map.get("used")?.as_u64())
            .context("CONNTRACK")
    }

    fn attack(&self, kind: &str, port: u16, count: u32) -> anyhow::Result<Process> {
        let attacker = &self.node.pod("attacker").host;
        let server = &self.node.pod("server").v4;
        let mut command = attacker.command("python3");
        command.args([PEERS, kind, server, &port.to_string(), &count.to_string()]);
        attacker.start(kind, command)
    }

    /// What the client is answered while the attack goes on: it must be everything.
    fn assert_others_go_on(&self) -> anyhow::Result<()> {
        let client = &self.node.pod("client").host;
        let server = &self.node.pod("server").v4;
        let answered = output(client, &["python3", "-c", CLIENT, server, "8080"])?;
        anyhow::ensure!(answered == "100", "{answered} of 100 were answered");
        Ok(())
    }

    /// Highest resident memory so far.
    fn peak_kib(&self) -> anyhow::Result<u64> {
        let file = format!("/proc/{}/status", self.agent.process.pid());
        let text = std::fs::read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.unwrap_or_default().parse()?)
    }

    /// Descriptors that the agent has open.
    fn descriptors(&self) -> anyhow::Result<usize> {
        let folder = format!("/proc/{}/fd", self.agent.process.pid());
        Ok(std::fs::read_dir(folder)?.count())
    }

    /// Lets the attacker do this: others go on, memory keeps its bound for so many connections, and a
    /// flow of the attacker's says each of `why`.
    fn endure(
        &self,
        (kind, port, count): (&str, u16, u32),
        connections: u64,
        why: &[&str],
    ) -> anyhow::Result<Process> {
        let name = format!("flows-of-{kind}");
        let mut flows = self
            .node
            .follow_as(&name, &["--from-pod", "prod-app/attacker"])?;
        self.assert_others_go_on()?;
        let before = self.peak_kib()?;
        let mut attack = self.attack(kind, port, count)?;
        attack.wait_for("at work")?;
        self.assert_others_go_on()?;
        for why in why {
            flows.wait_for(why)?;
        }
        let told = flows.output();
        let mut lines = told
            .lines()
            .filter(|line| why.iter().any(|why| line.contains(why)));
        anyhow::ensure!(
            lines.all(|line| line.contains("prod-app/attacker")),
            "{kind}: somebody else is named"
        );
        let taken = self.peak_kib()? - before;
        let bound = SLACK_KIB + connections * CONNECTION_KIB;
        anyhow::ensure!(taken <= bound, "{kind} took {taken} KiB of {bound}");
        Ok(attack)
    }
}
