//! Policies change under traffic: every connection meets the former one or the new one.

use std::fmt::Write as _;

use testbed::{Attach, Process};

use crate::node::{ECHO, Node, TALK, curl, serve};

/// Opens connection after connection to two ports until it is told to stop; says how many to the first
/// did not open, and how many to the second did.
const FLOOD: &str = r#"
import socket, sys, threading, select
address, allowed, denied = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
stop, failed, opened, passed = threading.Event(), 0, 0, 0
def permitted():
    global failed, passed
    while not stop.is_set():
        try:
            with socket.create_connection((address, allowed), timeout=10) as s:
                s.sendall(b"x")
                passed += 1
        except OSError as error:
            print("failed", error, flush=True)
            failed += 1
def forbidden():
    global opened
    while not stop.is_set():
        tries = []
        for _ in range(8):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((address, denied))
            tries.append(s)
        _, writable, _ = select.select([], tries, [], 0.02)
        opened += len(writable)
        for s in tries: s.close()
threads = [threading.Thread(target=permitted) for _ in range(3)] + [threading.Thread(target=forbidden)]
for thread in threads: thread.start()
print("flooding", flush=True)
sys.stdin.readline()
stop.set()
for thread in threads: thread.join()
print(f"done failed={failed} opened={opened} passed={passed > 0}", flush=True)
"#;

/// A server that takes connections and says so.
const SINK: &str = r#"
import socket, sys
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
print("serving", flush=True)
first = True
while True:
    connection, peer = server.accept()
    if first:
        print("accepted", flush=True)
        first = False
    connection.close()
"#;

fn two_pods() -> anyhow::Result<Node> {
    Node::new(&[
        ("api-gateway", Attach::Bridged),
        ("user-service", Attach::Bridged),
    ])
}

/// Port 8080 is allowed from the gateway, 8081 from nobody; the rest differs by version.
fn version(number: usize) -> String {
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: service, namespace: prod-app}\n\
         spec:\n  endpointSelector: {matchLabels: {app: user-service}}\n  ingress:\n",
    );
    if number.is_multiple_of(2) {
        text.push_str("  - fromEndpoints: [{matchLabels: {app: api-gateway}}]\n    toPorts: [{ports: [{port: \"8080\"}]}]\n");
    } else {
        text.push_str("  - toPorts: [{ports: [{port: \"8080\"}, {port: \"7000\"}]}]\n");
    }
    for port in 0..number % 7 {
        let _infallible = writeln!(
            text,
            "  - fromEndpoints: [{{matchLabels: {{app: api-gateway}}}}]\n    toPorts: [{{ports: [{{port: \"{}\"}}]}}]",
            9000 + port
        );
    }
    text
}

fn sink(node: &Node, port: u16) -> anyhow::Result<Process> {
    let host = &node.pod("user-service").host;
    let mut command = host.command("python3");
    command.args(["-c", SINK, &port.to_string()]);
    let mut process = host.start(&format!("sink{port}"), command)?;
    process.wait_for("serving")?;
    Ok(process)
}

#[test]
fn a_flood_never_meets_half_a_change() -> anyhow::Result<()> {
    let node = two_pods()?;
    // Room for everything that is told of the flood.
    node.configure("flows: { ring: 65535, ringBytes: 268435456 }\n")?;
    node.policy(&version(0))?;
    let _allowed = sink(&node, 8080)?;
    let denied = sink(&node, 8081)?;
    let mut agent = node.agent()?;
    let service = node.pod("user-service").v4.clone();
    let gateway = &node.pod("api-gateway").host;
    let mut command = gateway.command("python3");
    command.args(["-c", FLOOD, &service, "8080", "8081"]);
    let mut flood = gateway.converse("flood", command)?;
    flood.wait_for("flooding")?;
    for number in 1..=24 {
        node.policy(&version(number))?;
        agent.process.wait_for_count("policies applied", number)?;
    }
    flood.say("stop\n")?;
    flood.wait_for("done")?;
    let told = flood.output();
    assert!(
        told.contains("done failed=0 opened=0 passed=True"),
        "{told}"
    );
    assert!(!denied.output().contains("accepted"), "{}", denied.output());
    // Late packets of closed connections are dropped by the kernel itself.
    let reasons = ["POLICY_DENIED", "POLICY_DENY"];
    let [denied, deny] = reasons.map(|reason| ["--drop-reason-desc", reason]);
    let to = ["--to-port", "8080", "--all"];
    let dropped = node.observe(&[denied.as_slice(), &deny, &to].concat())?;
    assert_eq!(
        dropped, "",
        "no packet of what both versions allow was dropped"
    );
    Ok(())
}

#[test]
fn connections_stay_open_while_they_are_allowed_and_are_cut_when_not() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(&version(0))?;
    let service = &node.pod("user-service").host;
    let mut command = service.command("python3");
    command.args(["-c", ECHO, "8080"]);
    let mut echo = service.start("echo", command)?;
    echo.wait_for("serving")?;
    let mut agent = node.agent()?;
    let gateway = &node.pod("api-gateway").host;
    let mut command = gateway.command("python3");
    command.args(["-c", TALK, &node.pod("user-service").v4, "8080"]);
    let mut talk = gateway.converse("talk", command)?;
    talk.wait_for("open")?;
    talk.say("\n")?;
    talk.wait_for_count("heard", 1)?;
    node.policy(&version(3))?;
    agent.process.wait_for_count("policies applied", 1)?;
    talk.say("\n")?;
    talk.wait_for_count("heard", 2)?;
    node.policy(&version(0).replace("app: api-gateway", "app: somebody"))?;
    agent.process.wait_for_count("policies applied", 2)?;
    talk.say("\n")?;
    talk.wait_for("cut")?;
    let dropped = node.observe(&["--verdict", "DROPPED", "--to-port", "8080", "--all"])?;
    assert!(dropped.contains("Policy denied"), "{dropped}");
    Ok(())
}

#[test]
fn a_policy_that_does_not_fit_is_closed_told_and_repaired() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.reconfigure("uplinks: [uplink]", "uplinks: [uplink], policyEntries: 20")?;
    node.policy(&version(2))?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 8080)?;
    let _other = serve(&service.host, 9003)?;
    let mut agent = node.agent()?;
    let gateway = &node.pod("api-gateway").host;
    let url = |port: u16| format!("http://{}:{port}/", service.v4);
    assert_eq!(curl(gateway, &[&url(8080)])?.0, 0);

    // 200 prefixes do not fit; what does not is closed, and the agent goes on.
    let mut large = version(2);
    for block in 0..200 {
        let _infallible = writeln!(large, "  - fromCIDR: [10.99.{block}.0/24]");
    }
    node.policy(&large)?;
    agent.process.wait_for("kernel map POLICY is full")?;
    let status = node.l7d("status", &[])?;
    assert!(status.contains("POLICY 20 of 20"), "{status}");
    assert!(
        status.contains("prod-app/user-service: kernel map POLICY is full"),
        "{status}"
    );
    assert_ne!(curl(gateway, &["--max-time", "1", &url(9003)])?.0, 0);

    node.policy(&version(4))?;
    agent.process.wait_for_count("policies applied", 2)?;
    for port in [8080, 9003] {
        assert_eq!(curl(gateway, &[&url(port)])?.0, 0, "port {port}");
    }
    let status = node.l7d("status", &[])?;
    assert!(!status.contains("is full"), "{status}");
    Ok(())
}

#[test]
fn what_another_version_left_is_replaced() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(&version(2))?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 8080)?;
    let gateway = &node.pod("api-gateway").host;
    let url = format!("http://{}:8080/", service.v4);
    let agent = node.agent()?;
    assert_eq!(curl(gateway, &[&url])?.0, 0);
    drop(agent);
    // As if another version had pinned it.
    let versions = || -> anyhow::Result<Vec<_>> {
        let folders = std::fs::read_dir(node.pin_dir())?;
        Ok(folders
            .map(|folder| folder.map(|folder| folder.path()))
            .collect::<Result<_, _>>()?)
    };
    let present = versions()?;
    let former = node.pin_dir().join("v1");
    std::fs::rename(&present[0], &former)?;
    assert_eq!(curl(gateway, &[&url])?.0, 0, "its hooks run on");
    node.policy(&version(2).replace("app: api-gateway", "app: somebody"))?;
    let agent = node.agent()?;
    assert_eq!(versions()?, present);
    assert_ne!(curl(gateway, &["--max-time", "1", &url])?.0, 0);
    drop(agent);
    node.policy(&version(2))?;
    let _agent = node.agent()?;
    assert_eq!(
        curl(gateway, &[&url])?.0,
        0,
        "nothing of before drops anything"
    );
    Ok(())
}
