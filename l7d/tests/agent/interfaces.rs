//! Interfaces of endpoints are found by their addresses.

use anyhow::Context as _;
use testbed::Attach;

use crate::node::{Node, ask, curl, output, serve, wait_until};

/// A node whose pods' interfaces are to be found.
fn unnamed(pods: &[(&str, Attach)]) -> anyhow::Result<Node> {
    let node = Node::new(pods)?;
    let text = std::fs::read_to_string(node.config_file())?;
    let named: Vec<String> = node
        .pods
        .iter()
        .map(|pod| format!("interface: {} ", pod.interface))
        .collect();
    let text = named
        .iter()
        .fold(text, |text, named| text.replace(named, "interface: auto "));
    std::fs::write(node.config_file(), text)?;
    Ok(node)
}

#[test]
fn whatever_connects_them() -> anyhow::Result<()> {
    let node = unnamed(&[
        ("client", Attach::Bridged),
        ("near", Attach::Bridged),
        ("far", Attach::Routed),
    ])?;
    let _servers = (
        serve(&node.pod("near").host, 80)?,
        serve(&node.pod("far").host, 80)?,
    );
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    for server in ["near", "far"] {
        let server = node.pod(server);
        ask(client, &server.v4, &node.pod("client").v4)?;
        ask(client, &server.v6, &node.pod("client").v6)?;
        let to = ["--to-pod", &format!("prod-app/{}", server.name), "--all"];
        let flows = node.observe(&to)?;
        assert_eq!(
            flows.matches("http-request FORWARDED").count(),
            2,
            "{flows}"
        );
    }
    let status = node.l7d("status", &[])?;
    assert!(!status.contains("no interface of this node"), "{status}");
    Ok(())
}

#[test]
fn a_second_interface_of_a_pod_is_hooked_as_well() -> anyhow::Result<()> {
    let node = unnamed(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    let server = &node.pod("server").host;
    let client = &node.pod("client").host;
    let _server = serve(server, 80)?;
    let _agent = node.agent()?;
    let attached = attached(&node)?;
    // As a second network of a pod is made: a pair, and then its address, of which nobody tells.
    node.world.node().ip(&format!(
        "link add veth-second type veth peer name eth1 netns {}",
        server.namespace()
    ))?;
    node.world
        .node()
        .ip("link set veth-second master cni0 up")?;
    server.ip("addr add 10.244.1.200/24 dev eth1")?;
    server.ip("link set eth1 up")?;
    let config = std::fs::read_to_string(node.config_file())?;
    let first = format!("ips: [{}, ", node.pod("server").v4);
    let both = format!("{first}10.244.1.200, ");
    anyhow::ensure!(config.contains(&first), "{config}");
    std::fs::write(node.config_file(), config.replace(&first, &both))?;
    wait_until(
        || self::attached(&node),
        |now| now.as_ref().is_ok_and(|now| *now == attached + 1),
    )?;
    ask(client, "10.244.1.200", &node.pod("client").v4)?;
    let flows = node.observe(&["--protocol", "http", "--to-ip", "10.244.1.200", "--all"])?;
    assert_eq!(
        flows.matches("http-request FORWARDED").count(),
        1,
        "{flows}"
    );
    Ok(())
}

/// How many interfaces are hooked.
fn attached(node: &Node) -> anyhow::Result<u64> {
    let status: serde_json::Value = serde_json::from_str(&node.l7d("status", &["-o", "json"])?)?;
    let attached = status.pointer("/l7d/attached");
    attached
        .and_then(serde_json::Value::as_u64)
        .context("attached")
}

#[test]
fn a_pod_that_takes_an_address_over_is_hooked_in_its_turn() -> anyhow::Result<()> {
    let mut node = unnamed(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    let address = node.pod("server").v4.clone();
    let _agent = node.agent()?;
    let successor = node.world.pod("successor", Attach::Bridged)?;
    // The former pod's namespace lingers, without its link to the node.
    node.world
        .node()
        .ip(&format!("link del {}", node.pod("server").interface))?;
    successor
        .host
        .ip(&format!("addr add {address}/24 dev eth0"))?;
    let _server = serve(&successor.host, 80)?;
    let client = &node.pod("client").host;
    // The neighbours that the former one was known by.
    output(client, &["ip", "neigh", "flush", "all"])?;
    let hooked = |flows: &anyhow::Result<String>| {
        flows
            .as_ref()
            .is_ok_and(|flows| flows.contains("to-endpoint FORWARDED"))
    };
    wait_until(
        || {
            curl(client, &[&format!("http://{address}/")])?;
            node.observe(&["--to-ip", &address, "--all", "-t", "trace:to-endpoint"])
        },
        hooked,
    )?;
    Ok(())
}
