//! An agent that is killed in the middle of its work, again and again: what only passes by does not notice,
//! what is watched goes on without it, what is judged waits for the next one, and what was lost is counted.
//!
//! `L7D_TEST_CRASHES` makes it longer: `cargo xtask soak crash`.
#![expect(clippy::indexing_slicing, reason = "JSON that lacks something is null")]
#![expect(
    clippy::print_stdout,
    reason = "how long each outage was, for who looks"
)]

mod memory;

use std::os::unix::process::ExitStatusExt as _;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::Value;
use testbed::{Attach, Process};

use crate::node::{Agent, Node, from_environment, output, wait_until};
use memory::MemoryGroup;

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent/crashes/peers.py");
/// Clients that keep their connection, to each port of the proxy's.
const KEPT: u64 = 6;

/// Requests on port 81 are judged; the other ports are open.
const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: service, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: user-service } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: api-gateway } } ]
    toPorts:
    - ports: [ { port: "81", protocol: TCP } ]
      rules: { http: [ { method: GET, path: "/open.*" } ] }
    - ports:
      - { port: "80", protocol: TCP }
      - { port: "8080", protocol: TCP }
      - { port: "7000", protocol: TCP }
      - { port: "53", protocol: UDP }
"#;
const WATCHED: &str = "visibility:\n- { port: 80, mode: proxy }\n- { port: 8080, mode: tap }\n\
                       - { port: 53, protocol: UDP }\nmetrics: { listen: \"127.0.0.1:9965\" }\n";

/// A node whose clients ask all the time.
struct Busy {
    node: Node,
    server: Process,
    askers: Process,
    turns: usize,
}

impl Busy {
    /// With an agent that is there already.
    fn new(start: impl FnOnce(&Node) -> anyhow::Result<Agent>) -> anyhow::Result<(Self, Agent)> {
        let node = Node::new(&[
            ("api-gateway", Attach::Bridged),
            ("user-service", Attach::Bridged),
        ])?;
        node.policy(POLICY)?;
        node.configure(WATCHED)?;
        let service = node.pod("user-service");
        let mut command = service.host.command("python3");
        command.args([PEERS, "serve"]);
        let mut server = service.host.start("server", command)?;
        server.wait_for("serving")?;
        let agent = start(&node)?;
        let gateway = &node.pod("api-gateway").host;
        let mut command = gateway.command("python3");
        command.args([PEERS, "ask", &service.v4, &KEPT.to_string()]);
        let mut askers = gateway.converse("askers", command)?;
        askers.wait_for("asking")?;
        let busy = Self {
            node,
            server,
            askers,
            turns: 0,
        };
        Ok((busy, agent))
    }

    /// One crash, and the agent behind it.
    fn crash(
        &mut self,
        agent: Agent,
        kill: impl FnOnce(Agent) -> anyhow::Result<()>,
        start: impl FnOnce(&Node) -> anyhow::Result<Agent>,
    ) -> anyhow::Result<Agent> {
        self.turns += 1;
        let turn = self.turns;
        self.askers.say(&format!("soon {turn}\n"))?;
        self.askers.wait_for(&format!("{turn} soon"))?;
        kill(agent)?;
        self.askers.say(&format!("dark {turn}\n"))?;
        for event in ["watched passes", "names answer", "enforced refuses"] {
            self.askers.wait_for(&format!("{turn} {event}"))?;
        }
        self.askers.say(&format!("light {turn}\n"))?;
        self.askers.wait_for(&format!("{turn} cut {{"))?;
        let mut agent = start(&self.node)?;
        self.askers.say(&format!("lit {turn}\n"))?;
        for event in ["watched asks", "enforced asks"] {
            self.askers.wait_for(&format!("{turn} {event}"))?;
        }
        self.compare(&mut agent)?;
        self.wait_followed()?;
        Ok(agent)
    }

    /// What the next agent says was cut is what clients have seen. Who closed a connection themselves after
    /// the last sign of life may be among it: how it ended cannot be told apart.
    fn compare(&self, agent: &mut Agent) -> anyhow::Result<()> {
        let told = self.told(&format!("{} cut ", self.turns))?;
        let told: Value = serde_json::from_str(&told)?;
        let figure = |name: &str| told.get(name).and_then(Value::as_u64).context("a figure");
        let (cut, late) = (figure("cut")?, figure("closed_late")?);
        anyhow::ensure!(cut >= KEPT, "nothing was at stake: {told}");
        agent.process.wait_for("have ended with the former agent")?;
        let status = || -> anyhow::Result<u64> {
            let status: Value = serde_json::from_str(&self.node.l7d("status", &["-o", "json"])?)?;
            let counted = status.pointer("/l7d/cutByHandover");
            counted.and_then(Value::as_u64).context("a count")
        };
        let is_right = |counted: &anyhow::Result<u64>| {
            counted
                .as_ref()
                .is_ok_and(|counted| (cut..=cut + late).contains(counted))
        };
        wait_until(status, is_right).with_context(|| told.to_string())?;
        let counted = status()?;
        println!("{}: {told}, counted {counted}", self.turns);
        let words = ["curl", "-s", "-m", "3", "http://127.0.0.1:9965/metrics"];
        let metrics = output(&self.node.world.node(), &words)?;
        let line = format!("l7d_proxy_cut_by_handover_total {counted}");
        anyhow::ensure!(metrics.lines().any(|told| told == line), "{metrics}");
        Ok(())
    }

    /// What comes after this in what the clients say.
    fn told(&self, begin: &str) -> anyhow::Result<String> {
        let output = self.askers.output();
        let told = output.lines().find_map(|line| line.strip_prefix(begin));
        Ok(told.with_context(|| format!("no `{begin}`"))?.to_owned())
    }

    /// Requests of this turn are seen by the agent, on every port that is looked at.
    fn wait_followed(&self) -> anyhow::Result<()> {
        let path = format!("/open-{}$", self.turns);
        for port in ["80", "81"] {
            let words = ["--http-path", &path, "--to-port", port, "--last", "5"];
            let seen = || self.node.observe(&words).unwrap_or_default();
            wait_until(seen, |flows| flows.contains("http-request FORWARDED"))?;
        }
        for words in [
            ["--protocol", "dns", "--last", "5"],
            ["--to-port", "8080", "--last", "5"],
        ] {
            let seen = || self.node.observe(&words).unwrap_or_default();
            wait_until(seen, |flows| flows.contains("FORWARDED"))?;
        }
        Ok(())
    }

    /// Nobody has noticed what they should not, and nothing denied has come through.
    fn end(mut self) -> anyhow::Result<()> {
        self.askers.say("over\n")?;
        self.askers.wait_for("done {")?;
        let done: Value = serde_json::from_str(&self.told("done ")?)?;
        for line in self.askers.output().lines() {
            println!("{line}");
        }
        assert_eq!(done["failures"], Value::Array(Vec::new()), "{done}");
        for kind in ["kept", "fresh", "denied", "names", "tapped", "plain"] {
            assert!(done[kind].as_u64() > Some(0), "{kind}: {done}");
        }
        let served = self.server.output();
        assert!(!served.contains("/closed"), "{served}");
        Ok(())
    }
}

/// How often, where nothing else is asked for.
fn crashes(usual: usize) -> anyhow::Result<usize> {
    from_environment("L7D_TEST_CRASHES", usual)
}

#[test]
fn an_agent_that_is_killed_again_and_again_costs_what_is_counted_and_opens_nothing()
-> anyhow::Result<()> {
    let (mut busy, mut agent) = Busy::new(Node::agent)?;
    for _ in 0..crashes(3)? {
        let kill = |mut agent: Agent| {
            agent.process.signal(Signal::KILL)?;
            agent.process.wait()?;
            Ok(())
        };
        agent = busy.crash(agent, kill, Node::agent)?;
    }
    busy.end()
}

#[test]
fn an_agent_that_runs_out_of_memory_is_as_one_that_was_killed() -> anyhow::Result<()> {
    let mut group = MemoryGroup::new()?;
    let (mut busy, mut agent) = Busy::new(|node| node.agent_by(&group.words()))?;
    let host = busy.node.world.node();
    for _ in 0..crashes(1)? {
        let next = MemoryGroup::new()?;
        let kill = |mut agent: Agent| {
            let _hungry = group.exhaust(&host)?;
            let status = agent.process.wait()?;
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
            Ok(())
        };
        agent = busy.crash(agent, kill, |node| node.agent_by(&next.words()))?;
        group = next;
    }
    busy.end()
}
