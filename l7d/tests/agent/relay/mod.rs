//! Three nodes, each with an agent and pods of its own, and a relay that answers for all of them.

mod tls;

use rustix::process::Signal;
use testbed::{Attach, Fabric, Host, Process, World};

use crate::node::{Agent, Node, curl, serve, wait_until};

/// Agents, the network between them, and a relay at its hub.
struct Cluster {
    nodes: Vec<Member>,
    relay: Process,
    socket: String,
    fabric: Fabric,
    world: World,
}

/// A node of it.
struct Member {
    agent: Agent,
    _server: Process,
    node: Node,
}

impl Member {
    /// Makes a flow that nobody else has.
    fn ask(&self, path: &str) -> anyhow::Result<()> {
        let url = format!("http://{}/{path}", self.node.pod("server").v4);
        let (code, answer) = curl(&self.node.pod("client").host, &[&url])?;
        anyhow::ensure!(code == 0, "{url}: {answer}");
        Ok(())
    }
}

/// A node of the cluster, its agent not started. All know of those with these numbers.
fn node(fabric: &Fabric, number: u8, all: &[u8], listener: &str) -> anyhow::Result<Node> {
    let mut node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    let address = fabric.connect(&node.world.node(), number)?;
    let nodes: Vec<String> = all
        .iter()
        .map(|number| {
            format!(
                "{{ name: node-{number}, ips: [{}] }}",
                Fabric::address(*number)
            )
        })
        .collect();
    node.amend(
        "node: test-node\napi: {",
        &format!(
            "node: node-{number}\nnodes: [ {} ]\napi: {{ tcp: {{ listen: \"{address}:4244\", {listener} }},",
            nodes.join(", ")
        ),
    );
    node.configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    Ok(node)
}

/// Starts a relay and waits until it listens.
fn relay(host: &Host, socket: &str, arguments: &[&str]) -> anyhow::Result<Process> {
    let mut command = host.command(env!("CARGO_BIN_EXE_l7d"));
    command.args(["relay", "--listen-address", socket]);
    command.args(arguments);
    let mut process = host.start("relay", command)?;
    process.wait_for("l7d: relay at")?;
    Ok(process)
}

impl Cluster {
    fn new() -> anyhow::Result<Self> {
        let world = World::new()?;
        let fabric = Fabric::new(world.node())?;
        let mut nodes = Vec::new();
        for number in 1..=3 {
            let node = node(&fabric, number, &[1, 2, 3], "insecure: true")?;
            nodes.push(Member {
                _server: serve(&node.pod("server").host, 80)?,
                agent: node.agent()?,
                node,
            });
        }
        let socket = format!("unix://{}/relay.sock", world.folder().display());
        let service = format!("{}:4244", Fabric::address(1));
        let relay = relay(&world.node(), &socket, &["--peer-service", &service])?;
        let cluster = Self {
            nodes,
            relay,
            socket,
            fabric,
            world,
        };
        wait_until(
            || cluster.l7d(&["list", "nodes"]).unwrap_or_default(),
            |list| list.matches("Connected").count() == 3,
        )?;
        Ok(cluster)
    }

    /// A command that asks the relay.
    fn l7d(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_l7d"))
            .args(arguments)
            .args(["--server", &self.socket])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{text}{said}");
        Ok(text)
    }

    /// `l7d observe` of requests that the relay is told of from now on, and of nodes.
    fn follow(&self) -> anyhow::Result<Process> {
        let host = self.world.node();
        let mut command = host.command(env!("CARGO_BIN_EXE_l7d"));
        command.args(["observe", "-f", "-D", "--server", &self.socket]);
        command.args(["--protocol", "http", "--print-node-name"]);
        let mut process = host.start("follow", command)?;
        process.wait_for("Receiving flows from 3 nodes: node-1, node-2, node-3")?;
        Ok(process)
    }
}

#[test]
fn one_answer_has_the_flows_of_all_nodes_in_the_order_of_time() -> anyhow::Result<()> {
    let cluster = Cluster::new()?;
    let mut follow = cluster.follow()?;
    let mut asked = Vec::new();
    for round in 0..5 {
        for (number, member) in cluster.nodes.iter().enumerate() {
            let path = format!("round-{round}-{number}");
            member.ask(&path)?;
            asked.push(path);
        }
    }
    for path in &asked {
        follow.wait_for(path)?;
    }
    let order = |text: &str| -> Vec<usize> {
        let requests = text.lines().filter(|line| line.contains("http-request"));
        let place = |line: &str| {
            asked
                .iter()
                .position(|path| line.contains(&format!("/{path})")))
        };
        requests.filter_map(place).collect()
    };
    let expected: Vec<usize> = (0..asked.len()).collect();
    let past = cluster.l7d(&[
        "observe",
        "--protocol",
        "http",
        "--last",
        "100",
        "--print-node-name",
    ])?;
    assert_eq!(order(&past), expected, "{past}");
    for number in 1..=3 {
        assert!(past.contains(&format!("[node-{number}]")), "{past}");
    }
    assert_eq!(order(&follow.output()), expected, "{}", follow.output());

    let status = cluster.l7d(&["status"])?;
    assert!(status.contains("Connected Nodes: 3/3"), "{status}");
    assert!(
        status.contains("/12,285 ("),
        "three rings of 4,095: {status}"
    );
    let namespaces = cluster.l7d(&["list", "namespaces"])?;
    assert_eq!(namespaces, "NAMESPACE\nprod-app\n");
    Ok(())
}

#[test]
fn nodes_that_die_return_or_are_cut_off_are_told_of_and_hold_up_nobody() -> anyhow::Result<()> {
    let mut cluster = Cluster::new()?;
    let mut follow = cluster.follow()?;
    cluster.nodes[1].agent.process.signal(Signal::KILL)?;
    cluster.nodes[1].agent.process.wait()?;
    follow.wait_for("1 nodes are unavailable: node-2")?;
    cluster.nodes[0].ask("without-two")?;
    follow.wait_for("/without-two")?;
    let status = cluster.l7d(&["status"])?;
    assert!(status.contains("Connected Nodes: 2/3"), "{status}");
    assert!(status.contains("  - node-2"), "{status}");

    cluster.nodes[1].agent = cluster.nodes[1].node.agent()?;
    follow.wait_for("Receiving flows from 1 nodes: node-2")?;
    cluster.nodes[1].ask("two-again")?;
    follow.wait_for("/two-again")?;

    cluster.fabric.cut(3)?;
    // Nobody knows yet that it is away.
    cluster.nodes[0].ask("without-three")?;
    follow.wait_for("/without-three")?;
    let known = follow.output();
    assert!(!known.contains("unavailable: node-3"), "{known}");
    cluster.nodes[2].ask("cut-off")?;
    // A busy machine may keep another node's answer as well.
    let is_away = |line: &str| line.contains("unavailable: ") && line.ends_with("node-3");
    wait_until(|| follow.output(), |told| told.lines().any(is_away))?;
    cluster.fabric.mend(3)?;
    // What happened meanwhile is not lost: the agent has it.
    follow.wait_for("/cut-off")?;
    let told = follow.output();
    for path in ["without-two", "two-again", "without-three", "cut-off"] {
        let request = format!(
            "GET http://{}/{path})",
            cluster.nodes[0].node.pod("server").v4
        );
        let line = |line: &&str| line.contains("http-request") && line.contains(&request);
        assert_eq!(told.lines().filter(line).count(), 1, "{path}: {told}");
    }
    assert!(cluster.relay.output().contains("it does not answer"));
    Ok(())
}

#[test]
fn nodes_that_the_configuration_names_come_and_go() -> anyhow::Result<()> {
    let cluster = Cluster::new()?;
    let mut follow = cluster.follow()?;
    let former = format!(", {{ name: node-3, ips: [{}] }}", Fabric::address(3));
    cluster.nodes[0].node.reconfigure(&former, "")?;
    follow.wait_for("1 nodes removed from cluster: node-3")?;
    let list = cluster.l7d(&["list", "nodes"])?;
    assert!(!list.contains("node-3"), "{list}");
    cluster.nodes[0].node.reconfigure(&former, &former)?;
    follow.wait_for("Receiving flows from 1 nodes: node-3")?;
    cluster.nodes[2].ask("three-again")?;
    follow.wait_for("/three-again")
}

#[test]
fn a_stopped_agent_delays_the_past_by_a_second_and_is_named() -> anyhow::Result<()> {
    let cluster = Cluster::new()?;
    cluster.nodes[0].ask("told")?;
    wait_until(
        || {
            cluster
                .l7d(&["observe", "--protocol", "http"])
                .unwrap_or_default()
        },
        |flows| flows.contains("/told"),
    )?;
    cluster.nodes[1].agent.process.signal(Signal::STOP)?;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_l7d"))
        .args(["observe", "--protocol", "http", "--server", &cluster.socket])
        .output()?;
    cluster.nodes[1].agent.process.signal(Signal::CONT)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(String::from_utf8_lossy(&output.stdout).contains("/told"));
    // It may be known to be away already.
    let is_named = said.contains("on 1 nodes: node-2") || said.contains("unavailable: node-2");
    assert!(is_named, "{said}");
    Ok(())
}
