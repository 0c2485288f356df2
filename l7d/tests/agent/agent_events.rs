//! What becomes of policies, endpoints and addresses is told to whoever asks.

use testbed::{Attach, Process};

use crate::node::{Node, curl, serve};

const POLICY: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
    metadata: { name: only-web, namespace: prod-app }\n\
    spec:\n  endpointSelector: { matchLabels: { app: cart } }\n  ingress:\n\
    \x20 - fromEndpoints: [ { matchLabels: { app: web } } ]\n";

/// Prints agent events from now on.
fn follow(node: &Node) -> anyhow::Result<Process> {
    let server = format!("unix://{}/l7d.sock", node.world.folder().display());
    let mut command = node.world.node().command(env!("CARGO_BIN_EXE_l7d"));
    command.args(["observe", "agent-events", "--follow", "--last", "1"]);
    command.args(["--server", &server]);
    node.world.node().start("events", command)
}

#[test]
fn changes_are_told_when_the_kernel_has_them() -> anyhow::Result<()> {
    let node = Node::new(&[("web", Attach::Bridged), ("cart", Attach::Bridged)])?;
    let mut agent = node.agent()?;
    let began = node.observe(&["agent-events", "--first", "1"])?;
    assert!(began.contains(": AGENT_STARTED (start time: "), "{began}");
    let all = node.observe(&["agent-events", "--all"])?;
    let cart = node.pod("cart");
    for (kind, details) in [
        ("ENDPOINT_CREATED", "namespace: prod-app, pod name: cart"),
        ("ENDPOINT_REGENERATE_SUCCESS", "k8s:app=cart"),
        (
            "IPCACHE_UPSERTED",
            &format!("cidr: {}/32, identity: ", cart.v4),
        ),
    ] {
        let is_told = |line: &str| line.contains(&format!(": {kind} (")) && line.contains(details);
        assert_eq!(
            all.lines().filter(|line| is_told(line)).count(),
            1,
            "{kind}: {all}"
        );
    }

    let mut events = follow(&node)?;
    events.wait_for("IPCACHE_UPSERTED")?;
    node.policy(POLICY)?;
    agent.process.wait_for_count("policies applied", 1)?;
    events.wait_for("POLICY_UPDATED (labels: [k8s:io.cilium.k8s.policy.derived-from=CiliumNetworkPolicy,k8s:io.cilium.k8s.policy.name=only-web,")?;
    events.wait_for("ENDPOINT_REGENERATE_SUCCESS")?;
    node.relabel("web", "front")?;
    events.wait_for("ENDPOINT_DELETED")?;
    events.wait_for("ENDPOINT_CREATED")?;
    events.wait_for(", old identity: ")?;
    node.policy("")?;
    events.wait_for("POLICY_DELETED")?;
    let told = events.output();
    let has = |kind: &str, details: &str| {
        let is_it = |line: &str| line.contains(&format!(": {kind} (")) && line.contains(details);
        assert!(told.lines().any(is_it), "{kind} of {details}: {told}");
    };
    has("ENDPOINT_REGENERATE_SUCCESS", "k8s:app=cart");
    has("ENDPOINT_CREATED", "k8s:app=front");
    has("ENDPOINT_CREATED", "pod name: web");
    let last = node.observe(&["agent-events", "-o", "json", "--last", "2"])?;
    assert!(last.contains(r#""node_name":"test-node""#), "{last}");
    Ok(())
}

#[test]
fn flows_name_interfaces_and_the_node_names_its_namespaces() -> anyhow::Result<()> {
    let node = Node::new(&[("web", Attach::Bridged), ("cart", Attach::Bridged)])?;
    let _server = serve(&node.pod("cart").host, 8080)?;
    let _agent = node.agent()?;
    let url = format!("http://{}:8080/", node.pod("cart").v4);
    let (code, _) = curl(&node.pod("web").host, &[&url])?;
    assert_eq!(code, 0);
    let interface = &node.pod("cart").interface;
    let mut named = node.follow_only(&["--interface", interface, "-o", "json"])?;
    named.wait_for(&format!(r#""name":"{interface}""#))?;
    let masked = node.observe(&["-o", "json", "--field-mask", "verdict", "--last", "1"])?;
    assert!(
        masked.starts_with(r#"{"node_name":"test-node""#)
            || masked.starts_with(r#"{"flow":{"verdict":"#),
        "{masked}"
    );
    assert!(!masked.contains("Summary"), "{masked}");
    let namespaces = node.l7d("list", &["namespaces", "-o", "wide"])?;
    assert_eq!(namespaces, "NAMESPACE   CLUSTER\nprod-app    default\n");
    let nodes = node.l7d("list", &["nodes"])?;
    assert!(
        nodes.contains("test-node") && nodes.contains("Connected"),
        "{nodes}"
    );
    Ok(())
}
