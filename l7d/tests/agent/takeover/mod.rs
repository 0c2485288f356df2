//! An agent that is replaced while everybody talks: no connection is cut, no look-up is lost, nothing
//! that is denied slips through, and no byte is another.
//!
//! `L7D_TEST_TAKEOVERS` and `L7D_TEST_TAKEOVER_CONNECTIONS` make it longer: `cargo xtask soak takeover`.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testbed::{Attach, Host, Process};

use crate::http2::python as grpc_python;
use crate::lifecycle::two_pods;
use crate::node::{Agent, Node, curl, from_environment, serve as http};

pub(crate) const PEERS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent/takeover/peers.py");
const STREAMS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/agent/takeover/streams.py"
);
/// Debian's, which has the library for WebSocket.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// Requests on ports 80 and 50051 are judged; names too; the other ports are watched.
const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: service, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: user-service } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: api-gateway } } ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP }, { port: "50051", protocol: TCP } ]
      rules:
        http:
        - { method: POST, path: "/get" }
        - { method: POST, path: "/demo.Shop/.*" }
    - ports:
      - { port: "53", protocol: UDP }
      - { port: "7000", protocol: TCP }
      - { port: "7001", protocol: TCP }
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: gateway, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: api-gateway } }
  egress:
  - toEndpoints: [ { matchLabels: { app: user-service } } ]
    toPorts:
    - ports: [ { port: "53", protocol: UDP } ]
      rules: { dns: [ { matchName: "web.test" } ] }
    - ports:
      - { port: "80", protocol: TCP }
      - { port: "50051", protocol: TCP }
      - { port: "7000", protocol: TCP }
      - { port: "7001", protocol: TCP }
"#;
const WATCHED: &str = "visibility:\n- { port: 80, mode: proxy }\n- { port: 50051, mode: proxy }\n\
                       - { port: 7000, mode: proxy }\n- { port: 7001, mode: proxy }\n\
                       - { port: 53, protocol: UDP }\n";

/// Clients that ask until they are told not to.
pub(crate) struct Askers(Process);

impl Askers {
    pub(crate) fn begin(
        host: &Host,
        program: [&str; 2],
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let [python, script] = program;
        let mut command = host.command(python);
        command.args([script, "ask"]).args(arguments);
        let name = format!("askers {}", arguments.len());
        let mut process = host.converse(&name, command)?;
        process.wait_for("asking")?;
        Ok(Self(process))
    }

    /// What they have done, and what failed.
    pub(crate) fn end(mut self) -> anyhow::Result<Value> {
        self.0.say("over\n")?;
        self.0.wait_for("done")?;
        let output = self.0.output();
        let told = output.lines().find_map(|line| line.strip_prefix("done "));
        Ok(serde_json::from_str(told.context("no report")?)?)
    }
}

pub(crate) fn serve(host: &Host, program: [&str; 2]) -> anyhow::Result<Process> {
    let [python, script] = program;
    let mut command = host.command(python);
    command.args([script, "serve"]);
    let name = if script == PEERS { "server" } else { "streams" };
    let mut process = host.start(name, command)?;
    process.wait_for("serving")?;
    Ok(process)
}

/// Two pods, and what is judged and watched between them.
pub(crate) fn node() -> anyhow::Result<Node> {
    let node = Node::new(&[
        ("api-gateway", Attach::Bridged),
        ("user-service", Attach::Bridged),
    ])?;
    node.policy(POLICY)?;
    node.configure(WATCHED)?;
    Ok(node)
}

/// Another agent takes over; the former one ends by itself.
fn replace(node: &Node, former: &mut Agent) -> anyhow::Result<()> {
    let next = node.agent()?;
    assert!(
        former.process.wait()?.success(),
        "{}",
        former.process.output()
    );
    *former = next;
    Ok(())
}

#[test]
fn an_agent_is_replaced_at_noon() -> anyhow::Result<()> {
    let takeovers = from_environment("L7D_TEST_TAKEOVERS", 4)?;
    let connections = from_environment("L7D_TEST_TAKEOVER_CONNECTIONS", 160)?;
    let node = node()?;
    let service = node.pod("user-service");
    let gateway = &node.pod("api-gateway").host;
    let grpc = grpc_python().display().to_string();
    let server = serve(&service.host, [PYTHON, PEERS])?;
    let streams = serve(&service.host, [&grpc, STREAMS])?;
    let mut agent = node.agent()?;
    let (address, share) = (service.v4.clone(), (connections / 4).to_string());
    let arguments = [address.as_str(), &share, &share, &share];
    let askers = Askers::begin(gateway, [PYTHON, PEERS], &arguments)?;
    let callers = Askers::begin(gateway, [&grpc, STREAMS], &[&address, "5", &share])?;
    for _ in 0..takeovers {
        replace(&node, &mut agent)?;
    }
    let (asked, called) = (askers.end()?, callers.end()?);
    println!("{takeovers} takeovers: {asked} {called}");
    assert_eq!(asked["failures"], Value::Array(Vec::new()), "{asked}");
    assert_eq!(called["failures"], Value::Array(Vec::new()), "{called}");
    for kind in ["http", "denied", "tcp", "websocket", "fresh", "dns"] {
        assert!(asked[kind].as_u64() > Some(0), "{kind}: {asked}");
    }
    for kind in ["messages", "denied"] {
        assert!(called[kind].as_u64() > Some(0), "{kind}: {called}");
    }
    assert!(!server.output().contains("/admin"), "{}", server.output());
    assert!(!streams.output().contains("Vault"), "{}", streams.output());
    Ok(())
}

#[test]
fn an_agent_that_was_replaced_waits_where_a_supervisor_would_start_it_again() -> anyhow::Result<()>
{
    let node = Node::new(&[("api-gateway", Attach::Bridged)])?;
    let mut former = node.agent_with(&["--when-replaced", "wait"])?;
    let mut agent = node.agent()?;
    former.process.wait_for("replaced; waiting to be ended")?;
    former.process.signal(Signal::TERM)?;
    assert!(former.process.wait()?.success());
    // The one that ended has taken nothing along.
    let status = node.l7d("status", &[])?;
    assert!(status.contains("Healthcheck"), "{status}");
    agent.process.signal(Signal::TERM)?;
    assert!(agent.process.wait()?.success());
    Ok(())
}

#[test]
fn flows_outlive_the_agent_that_saw_them() -> anyhow::Result<()> {
    let node = two_pods()?;
    let service = node.pod("user-service");
    let _server = http(&service.host, 80)?;
    let gateway = &node.pod("api-gateway").host;
    let mut agent = node.agent()?;
    let paths = || -> anyhow::Result<Vec<String>> {
        let words = [
            "--protocol",
            "http",
            "--type",
            "l7",
            "--last",
            "100",
            "-o",
            "jsonpb",
        ];
        let flows = node.observe(&words)?;
        let flows = flows.lines().map(serde_json::from_str::<Value>);
        let flows: Vec<Value> = flows.collect::<Result<_, _>>()?;
        let urls = flows
            .iter()
            .filter(|flow| flow["flow"]["l7"]["type"] == "REQUEST");
        let urls = urls.filter_map(|flow| flow["flow"]["l7"]["http"]["url"].as_str());
        Ok(urls
            .map(|url| url.rsplit('/').next().unwrap_or("").to_owned())
            .collect())
    };
    let mut asked = Vec::new();
    for number in 0..3 {
        let path = format!("agent-{number}");
        let url = format!("http://{}/{path}", service.v4);
        assert_eq!(curl(gateway, &[&url])?.0, 0);
        asked.push(path);
        let began = Instant::now();
        while paths()? != asked {
            anyhow::ensure!(began.elapsed() < Duration::from_secs(20), "{:?}", paths()?);
        }
        // Once, and in their order, whoever has seen them.
        replace(&node, &mut agent)?;
        assert_eq!(paths()?, asked);
    }
    Ok(())
}

/// What a service manager hears.
fn heard(manager: &UnixDatagram) -> anyhow::Result<String> {
    let mut words = [0; 4096];
    let count = manager.recv(&mut words)?;
    Ok(String::from_utf8_lossy(words.get(..count).unwrap_or_default()).into_owned())
}

#[test]
fn a_service_manager_hears_which_process_it_is_now() -> anyhow::Result<()> {
    let node = Node::new(&[("api-gateway", Attach::Bridged)])?;
    let path = node.world.folder().join("notify.sock");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(Duration::from_secs(30)))?;
    let start = |name: &str, more: &[&str]| {
        let mut command = node.world.node().command(env!("CARGO_BIN_EXE_l7d"));
        command.args(["agent", "--config"]).arg(node.config_file());
        command.args(more).env("NOTIFY_SOCKET", &path);
        node.world.node().start(name, command)
    };
    let mut former = start("first", &[])?;
    let said = heard(&manager)?;
    assert!(said.contains("READY=1"), "{said}");
    assert!(
        said.contains(&format!("MAINPID={}", former.pid())),
        "{said}"
    );
    // What `systemctl reload` runs: it returns when the other has taken over.
    let mut reload = start("reload", &["--background"])?;
    assert!(reload.wait()?.success(), "{}", reload.output());
    assert!(former.wait()?.success(), "{}", former.output());
    let said = heard(&manager)?;
    let pid = said.lines().find_map(|line| line.strip_prefix("MAINPID="));
    let pid: i32 = pid.context("no process")?.trim().parse()?;
    let agent = Background(Pid::from_raw(pid).context("a process")?);
    let status = node.l7d("status", &[])?;
    assert!(status.contains("Healthcheck"), "{status}");
    drop(agent);
    assert!(node.l7d("status", &[]).is_err(), "nobody is there any more");
    Ok(())
}

/// An agent that is nobody's child here; ended when this is dropped.
struct Background(Pid);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _told = kill_process(self.0, Signal::TERM);
        let words = format!("/proc/{}/cmdline", self.0.as_raw_nonzero());
        let began = Instant::now();
        // What nobody has reaped yet has no words.
        while std::fs::read(&words).is_ok_and(|words| !words.is_empty()) {
            if began.elapsed() > Duration::from_secs(20) {
                let _killed = kill_process(self.0, Signal::KILL);
                return;
            }
            std::thread::yield_now();
        }
    }
}
