//! Policies of the node itself: what comes for it, what it sends, and what is none of their business.

use rustix::process::Signal;
use testbed::{Attach, Host, Process};

use crate::node::{ECHO, Node, TALK, curl, serve};
use crate::plain_host::Cgroup;

/// The node at its uplink, in both families.
const NODE: [&str; 2] = ["192.0.2.1", "[2001:db8::1]"];
/// Whoever is beyond it.
const OUTSIDE: [&str; 2] = ["192.0.2.2", "[2001:db8::2]"];

/// A late packet of a connection that never was, which its receiver drops in silence since its checksum
/// is wrong, and then a connection from the same port.
const LATE: &str = r#"
import socket, struct, sys
own, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.sendto(struct.pack("!HHIIBBHHH", 7, port, 1, 1, 5 << 4, 0x10, 512, 0xdead, 0), (address, 0))
s = socket.socket()
s.bind((own, 7))
s.settimeout(1)
try:
    s.connect((address, port))
    print("open", flush=True)
except OSError as error:
    print("closed", error, flush=True)
"#;

/// A policy of the node with these rules.
fn policy(rules: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\n\
         metadata: {{name: guard}}\nspec:\n  nodeSelector: {{}}\n{rules}"
    )
}

const IN_8080: &str = "  ingress:\n  - toPorts: [{ports: [{port: \"8080\", protocol: TCP}]}]\n";
const OUT_8080: &str = "  egress:\n  - toPorts: [{ports: [{port: \"8080\", protocol: TCP}]}]\n";

fn one_pod() -> anyhow::Result<Node> {
    Node::new(&[("web", Attach::Bridged)])
}

fn guard(node: &Node) -> anyhow::Result<()> {
    node.reconfigure("uplinks: [uplink]", "uplinks: [uplink], hostFirewall: true")
}

/// A node that enforces its policies, with this one.
fn guarded(rules: &str) -> anyhow::Result<Node> {
    let node = one_pod()?;
    guard(&node)?;
    node.policy(&policy(rules))?;
    Ok(node)
}

fn opens(from: &Host, address: &str, port: u16) -> anyhow::Result<bool> {
    let url = format!("http://{address}:{port}/");
    Ok(curl(from, &["--max-time", "1", &url])?.0 == 0)
}

fn python(host: &Host, name: &str, script: &str, arguments: &[&str]) -> anyhow::Result<Process> {
    let mut command = host.command("python3");
    command.args(["-c", script]).args(arguments);
    host.converse(name, command)
}

#[test]
fn what_comes_for_the_node_is_judged() -> anyhow::Result<()> {
    let node = guarded(IN_8080)?;
    let host = node.world.node();
    let _allowed = serve(&host, 8080)?;
    let denied = serve(&host, 8081)?;
    let _beyond = serve(&node.world.outside(), 80)?;
    let _agent = node.agent()?;
    let mut told = node.follow_only(&["--verdict", "DROPPED", "-o", "jsonpb"])?;
    let (outside, pod) = (node.world.outside(), &node.pod("web").host);
    for address in NODE {
        assert!(opens(&outside, address, 8080)?, "{address}");
        assert!(!opens(&outside, address, 8081)?, "{address}");
    }
    for address in ["10.244.1.1", "192.0.2.1", "[fd00:244:1::1]"] {
        assert!(opens(pod, address, 8080)?, "{address}");
        assert!(!opens(pod, address, 8081)?, "{address}");
    }
    assert!(!denied.output().contains("GET"), "{}", denied.output());
    for address in OUTSIDE {
        assert!(opens(&host, address, 80)?, "replies pass: {address}");
    }
    told.wait_for(r#""source":"192.0.2.2","destination":"192.0.2.1""#)?;
    told.wait_for(r#""source":"2001:db8::2","destination":"2001:db8::1""#)?;
    told.wait_for(r#""destination":"10.244.1.1""#)?;
    for line in told.output().lines() {
        assert!(line.contains(r#""name":"guard""#), "{line}");
        assert!(line.contains(r#""reserved:host""#), "{line}");
    }
    Ok(())
}

#[test]
fn what_the_node_sends_is_judged() -> anyhow::Result<()> {
    let node = guarded(OUT_8080)?;
    node.policy(&format!(
        "{}---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
         metadata: {{name: closed, namespace: prod-app}}\n\
         spec: {{endpointSelector: {{}}, ingress: [{{}}]}}\n",
        policy(OUT_8080)
    ))?;
    let host = node.world.node();
    let (outside, web) = (node.world.outside(), node.pod("web"));
    let servers = [&outside, &web.host].map(|at| [8080, 8081].map(|port| serve(at, port)));
    let _own = serve(&host, 9000)?;
    let _agent = node.agent()?;
    let mut told = node.follow_only(&["--verdict", "DROPPED", "-o", "jsonpb"])?;
    for address in OUTSIDE {
        assert!(opens(&host, address, 8080)?, "{address}");
        assert!(!opens(&host, address, 8081)?, "{address}");
        assert!(opens(&host, "127.0.0.1", 9000)?, "loopback is not judged");
    }
    for address in NODE {
        assert!(opens(&outside, address, 9000)?, "replies pass: {address}");
    }
    // The pod's own policy never closes it to its node; the node's closes it.
    assert!(opens(&host, &web.v4, 8080)?);
    assert!(!opens(&host, &web.v4, 8081)?);
    assert!(
        !opens(&outside, &web.v4, 8080)?,
        "the exemption is the node's"
    );
    told.wait_for(r#""egress_denied_by":[{"name":"guard""#)?;
    told.wait_for(&format!(r#""destination":"{}""#, web.v4))?;
    told.wait_for(r#""destination":"2001:db8::2""#)?;
    drop(servers);
    Ok(())
}

#[test]
fn connections_outlive_the_start_and_changes_that_allow_them() -> anyhow::Result<()> {
    let node = guarded(IN_8080)?;
    let mut echo = python(&node.world.node(), "echo", ECHO, &["8080"])?;
    echo.wait_for("serving")?;
    let mut talk = python(&node.world.outside(), "talk", TALK, &["192.0.2.1", "8080"])?;
    talk.wait_for("open")?;
    let mut agent = node.agent()?;
    talk.say("\n")?;
    talk.wait_for_count("heard", 1)?;
    node.policy(&policy("  ingress:\n  - fromCIDR: [192.0.2.0/24]\n"))?;
    agent.process.wait_for_count("policies applied", 1)?;
    talk.say("\n")?;
    talk.wait_for_count("heard", 2)?;
    agent.process.signal(Signal::KILL)?;
    agent.process.wait()?;
    talk.say("\n")?;
    talk.wait_for_count("heard", 3)?;
    let mut agent = node.agent()?;
    talk.say("\n")?;
    talk.wait_for_count("heard", 4)?;
    node.policy(&policy("  ingress:\n  - fromCIDR: [198.51.100.0/24]\n"))?;
    agent.process.wait_for_count("policies applied", 1)?;
    talk.say("\n")?;
    talk.wait_for("cut")?;
    let dropped = node.observe(&["--verdict", "DROPPED", "--to-port", "8080", "--all"])?;
    assert!(dropped.contains("Policy denied"), "{dropped}");
    Ok(())
}

#[test]
fn an_audited_policy_of_the_node_only_tells() -> anyhow::Result<()> {
    let node = one_pod()?;
    guard(&node)?;
    node.policy(&policy(IN_8080).replacen(
        "{name: guard}",
        "{name: guard, annotations: {policy.l7d.io/mode: audit}}",
        1,
    ))?;
    let _server = serve(&node.world.node(), 8081)?;
    let mut agent = node.agent()?;
    let mut told = node.follow_only(&["--verdict", "AUDIT", "-o", "jsonpb"])?;
    assert!(opens(&node.world.outside(), "192.0.2.1", 8081)?);
    told.wait_for(r#""ingress_denied_by":[{"name":"guard""#)?;
    let report = node.l7d("policy", &["audit-report"])?;
    assert!(report.contains("guard"), "{report}");
    node.policy(&policy(IN_8080))?;
    agent.process.wait_for("policies applied")?;
    assert!(!opens(&node.world.outside(), "192.0.2.1", 8081)?);
    Ok(())
}

#[test]
fn the_switch_takes_effect_at_once_and_cleanup_opens() -> anyhow::Result<()> {
    let node = one_pod()?;
    node.policy(&policy(IN_8080))?;
    let _server = serve(&node.world.node(), 8081)?;
    let outside = node.world.outside();
    let mut agent = node.agent()?;
    assert!(opens(&outside, "192.0.2.1", 8081)?);
    let status = node.l7d("status", &[])?;
    assert!(
        status.contains("`datapath.hostFirewall` is off"),
        "{status}"
    );
    guard(&node)?;
    agent.process.wait_for_count("configuration applied", 1)?;
    assert!(!opens(&outside, "192.0.2.1", 8081)?);
    let status = node.l7d("status", &[])?;
    assert!(!status.contains("hostFirewall"), "{status}");
    node.configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    agent.process.wait_for_count("configuration applied", 2)?;
    assert!(opens(&outside, "192.0.2.1", 8081)?);
    guard(&node)?;
    agent.process.wait_for_count("configuration applied", 3)?;
    agent.process.signal(Signal::KILL)?;
    agent.process.wait()?;
    assert!(
        !opens(&outside, "192.0.2.1", 8081)?,
        "enforced without the agent"
    );
    node.cleanup()?;
    assert!(opens(&outside, "192.0.2.1", 8081)?);
    Ok(())
}

#[test]
fn a_new_address_of_the_node_is_closed_as_well() -> anyhow::Result<()> {
    let node = guarded(IN_8080)?;
    let _server = serve(&node.world.node(), 8081)?;
    let mut agent = node.agent()?;
    node.world.node().ip("addr add 192.0.2.77/24 dev uplink")?;
    agent
        .process
        .wait_for("this host's addresses have changed")?;
    assert!(!opens(&node.world.outside(), "192.0.2.77", 8081)?);
    let dropped = node.observe(&["--verdict", "DROPPED", "--to-ip", "192.0.2.77", "--all"])?;
    assert!(dropped.contains("Policy denied"), "{dropped}");
    Ok(())
}

/// Everything of the node is closed, in both directions.
const CLOSED: &str = "  ingress: [{}]\n  egress: [{}]\n";

/// Pods and the outside reach each other through a node that is closed, and the node reaches nobody.
fn passes_by(node: &Node, ports: &[u16]) -> anyhow::Result<()> {
    let (host, outside, web) = (node.world.node(), node.world.outside(), node.pod("web"));
    let servers = [&outside, &web.host].map(|at| [80, 8080].map(|port| serve(at, port)));
    let _agent = node.agent()?;
    for &port in ports {
        for address in OUTSIDE {
            assert!(opens(&web.host, address, port)?, "to {address} {port}");
        }
        for address in [&web.v4, &format!("[{}]", web.v6)] {
            assert!(opens(&outside, address, port)?, "to {address} {port}");
        }
    }
    assert!(!opens(&host, "192.0.2.2", 8080)?, "the node is closed");
    assert!(opens(&web.host, "192.0.2.2", 8080)?);
    let dropped = node.observe(&["--verdict", "DROPPED", "--all", "-o", "jsonpb"])?;
    for line in dropped.lines() {
        assert!(line.contains(r#""source":"192.0.2.1""#), "{line}");
        assert!(line.contains(r#""destination_port":8080"#), "{line}");
    }
    drop(servers);
    Ok(())
}

#[test]
fn traffic_of_pods_through_the_uplink_is_left_alone() -> anyhow::Result<()> {
    // Port 80 goes through the proxy, 8080 does not.
    passes_by(&guarded(CLOSED)?, &[8080, 80])
}

#[test]
fn traffic_of_pods_that_is_masqueraded_is_left_alone() -> anyhow::Result<()> {
    let node = guarded(CLOSED)?;
    nft(
        &node.world.node(),
        "table inet nat { chain out { type nat hook postrouting priority 100; \
         ip saddr 10.244.0.0/16 oifname uplink masquerade; \
         ip6 saddr fd00:244::/32 oifname uplink masquerade; }; }",
    )?;
    passes_by(&node, &[8080])
}

#[test]
fn a_port_of_the_node_that_leads_to_a_pod_is_judged_as_one_of_the_node() -> anyhow::Result<()> {
    let node = guarded(IN_8080)?;
    let web = node.pod("web");
    nft(
        &node.world.node(),
        &format!(
            "table ip nat {{ chain in {{ type nat hook prerouting priority -100; \
             tcp dport {{ 8080, 8081 }} fib daddr type local dnat to {}:9000; }}; }}",
            web.v4
        ),
    )?;
    let _server = serve(&web.host, 9000)?;
    let _agent = node.agent()?;
    let outside = node.world.outside();
    assert!(opens(&outside, "192.0.2.1", 8080)?);
    assert!(!opens(&outside, "192.0.2.1", 8081)?);
    Ok(())
}

fn nft(host: &Host, rules: &str) -> anyhow::Result<()> {
    let output = host.output(&["nft", rules])?;
    let told = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{told}");
    Ok(())
}

#[test]
fn nobody_from_outside_passes_for_a_pod() -> anyhow::Result<()> {
    let node = guarded("  ingress:\n  - fromEntities: [cluster]\n")?;
    let (outside, web) = (node.world.outside(), node.pod("web"));
    let _server = serve(&node.world.node(), 8080)?;
    let _agent = node.agent()?;
    let mut told = node.follow_only(&["--verdict", "DROPPED", "-o", "jsonpb"])?;
    assert!(opens(&web.host, "192.0.2.1", 8080)?);
    outside.ip(&format!("addr add {}/32 dev lo", web.v4))?;
    let url = "http://192.0.2.1:8080/";
    assert_ne!(
        curl(&outside, &["--max-time", "1", "--interface", &web.v4, url])?.0,
        0
    );
    told.wait_for(&format!(
        r#""source":"{}","destination":"192.0.2.1""#,
        web.v4
    ))?;
    Ok(())
}

#[test]
fn a_late_packet_opens_no_way_for_a_connection() -> anyhow::Result<()> {
    let node = guarded(IN_8080)?;
    node.policy(&format!(
        "{}---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
         metadata: {{name: closed, namespace: prod-app}}\n\
         spec: {{endpointSelector: {{}}, ingress: [{{}}]}}\n",
        policy(IN_8080)
    ))?;
    let (outside, web) = (node.world.outside(), node.pod("web"));
    let _servers = [&node.world.node(), &web.host].map(|at| serve(at, 8081));
    let _agent = node.agent()?;
    for address in ["192.0.2.1", &web.v4] {
        let mut late = python(&outside, "late", LATE, &["192.0.2.2", address, "8081"])?;
        late.wait()?;
        let told = late.output();
        assert!(told.contains("closed timed out"), "{address}: {told}");
    }
    Ok(())
}

#[test]
fn what_the_node_sends_through_the_proxy_is_judged_as_well() -> anyhow::Result<()> {
    let node = one_pod()?;
    let cgroup = Cgroup::new()?;
    let folder = cgroup.0.display();
    node.reconfigure(
        "uplinks: [uplink] }",
        &format!(
            "uplinks: [uplink], hostFirewall: true }}\n\
             host: {{ ports: [8080, 8081], cgroup: {folder} }}"
        ),
    )?;
    node.policy(&policy(OUT_8080))?;
    let servers = [8080, 8081].map(|port| serve(&node.world.outside(), port));
    let _agent = node.agent()?;
    let mut told = node.follow_only(&["--verdict", "DROPPED"])?;
    let ask = |port: u16| {
        let url = format!("http://192.0.2.2:{port}/");
        cgroup.output(
            &node,
            &[
                "curl",
                "-s",
                "-m",
                "2",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                &url,
            ],
        )
    };
    assert_eq!(ask(8080)?, "200");
    assert!(ask(8081).is_err(), "what the proxy sends for the node");
    told.wait_for("192.0.2.2:8081")?;
    let flows = node.observe(&["--protocol", "http", "--all"])?;
    assert!(
        flows.contains("192.0.2.2:8080"),
        "it went through the proxy: {flows}"
    );
    drop(servers);
    Ok(())
}
