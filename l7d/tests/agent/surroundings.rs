//! Who is at both ends of what leaves pods and reaches them: the world, this node, others, and pods
//! of theirs, as they are and behind the node's address.

use testbed::{Attach, Host};

use crate::node::{Node, output};
use crate::services::flows::{Flow, until};
use crate::services::{CALL, TAKE, call, serve};

/// Somebody outside, a pod of another node, and that node, in both families.
const WORLD: [&str; 2] = ["192.0.2.2", "2001:db8::2"];
const FAR_POD: [&str; 2] = ["10.244.9.9", "fd00:244:9::9"];
const FAR_NODE: [&str; 2] = ["192.0.2.78", "2001:db8::78"];
const NODE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

const MASQUERADE: &str = "table inet nat { chain out { type nat hook postrouting priority 100; \
     ip saddr 10.244.0.0/16 oifname uplink masquerade; \
     ip6 saddr fd00:244::/32 oifname uplink masquerade; }; }";

/// A node with a pod of either kind, and all the others around it.
fn surrounded() -> anyhow::Result<Node> {
    let node = Node::new(&[("bridged", Attach::Bridged), ("routed", Attach::Routed)])?;
    let outside = node.world.outside();
    for (addresses, prefix) in [(FAR_POD, ["32", "128"]), (FAR_NODE, ["24", "64"])] {
        outside.ip(&format!("addr add {}/{} dev eth0", addresses[0], prefix[0]))?;
        outside.ip(&format!(
            "-6 addr add {}/{} dev eth0 nodad",
            addresses[1], prefix[1]
        ))?;
    }
    node.configure(&format!(
        "- {{ name: far, namespace: prod-app, labels: {{ app: far }}, ips: [{}, \"{}\"] }}\n\
         nodes: [ {{ name: other, ips: [{}, \"{}\"] }} ]\nvisibility: []\n",
        FAR_POD[0], FAR_POD[1], FAR_NODE[0], FAR_NODE[1]
    ))?;
    Ok(node)
}

/// A pod's name, or the entity that an end is.
fn whose(flow: &Flow, end: &str) -> String {
    let pod = flow.text(&format!("/{end}/pod_name"));
    if pod.is_empty() {
        flow.text(&format!("/{end}/labels/0"))
    } else {
        pod
    }
}

/// Connects from a port of this address, and waits until the first packet and its answer are told.
fn connect(node: &Node, from: &Host, ends: (&str, &str)) -> anyhow::Result<Vec<Flow>> {
    let (source, destination) = ends;
    let script = CALL.replace(
        "timeout=5)",
        &format!("timeout=5, source_address=('{source}', 0))"),
    );
    call(from, &script, destination, 8080, 1)?;
    let filters = ["--type", "trace", "--ip", source, "--ip", destination];
    let flows = until(node, &filters, |flows| {
        let of = |is_reply| {
            let mut of = flows.iter().filter(|flow| is_between(flow, ends));
            of.any(|flow| flow.is_reply() == is_reply)
        };
        of(true) && of(false)
    })?;
    Ok(flows
        .into_iter()
        .filter(|flow| is_between(flow, ends))
        .collect())
}

/// Whether a flow is of a connection that this client opened to this server.
fn is_between(flow: &Flow, ends: (&str, &str)) -> bool {
    let (source, destination) = (flow.text("/IP/source"), flow.text("/IP/destination"));
    let (client, server) = if flow.is_reply() {
        (destination, source)
    } else {
        (source, destination)
    };
    (client.as_str(), server.as_str()) == ends
}

/// Every flow names both ends, on the right side, with the direction as the pod has it.
fn assert_named(flows: &[Flow], names: (&str, &str), direction: &str) {
    for flow in flows {
        let (client, server) = if flow.is_reply() {
            ("destination", "source")
        } else {
            ("source", "destination")
        };
        let found = (whose(flow, client), whose(flow, server));
        assert_eq!((found.0.as_str(), found.1.as_str()), names, "{flow:?}");
        assert_eq!(flow.text("/traffic_direction"), direction, "{flow:?}");
    }
}

#[test]
fn both_ends_of_what_crosses_the_node_are_named() -> anyhow::Result<()> {
    let node = surrounded()?;
    let (outside, host) = (node.world.outside(), node.world.node());
    let mut servers = vec![serve(&outside, TAKE, 8080)?, serve(&host, TAKE, 8080)?];
    for pod in &node.pods {
        servers.push(serve(&pod.host, TAKE, 8080)?);
    }
    let _agent = node.agent()?;
    for pod in &node.pods {
        let name = pod.name.as_str();
        for (family, own) in [&pod.v4, &pod.v6].into_iter().enumerate() {
            for (addresses, entity) in [
                (WORLD, "reserved:world"),
                (FAR_POD, "far"),
                (FAR_NODE, "reserved:remote-node"),
                (NODE, "reserved:host"),
            ] {
                let flows = connect(&node, &pod.host, (own, addresses[family]))?;
                assert_named(&flows, (name, entity), "EGRESS");
                let from = if addresses == NODE { &host } else { &outside };
                let flows = connect(&node, from, (addresses[family], own))?;
                assert_named(&flows, (entity, name), "INGRESS");
            }
        }
    }
    drop(servers);
    Ok(())
}

#[test]
fn a_pod_behind_the_nodes_address_is_named_and_found_by_it() -> anyhow::Result<()> {
    let node = surrounded()?;
    output(&node.world.node(), &["nft", MASQUERADE])?;
    let _server = serve(&node.world.outside(), TAKE, 8080)?;
    let _agent = node.agent()?;
    for pod in &node.pods {
        for (family, own) in [&pod.v4, &pod.v6].into_iter().enumerate() {
            let flows = connect(&node, &pod.host, (own, WORLD[family]))?;
            assert_named(&flows, (&pod.name, "reserved:world"), "EGRESS");
            for flow in flows.iter().filter(|flow| !flow.is_reply()) {
                assert_eq!(flow.text("/IP/source_xlated"), NODE[family], "{flow:?}");
            }
            let found = node.observe(&[
                "--all",
                "--snat-ip",
                NODE[family],
                "--pod",
                &format!("prod-app/{}", pod.name),
            ])?;
            assert!(found.contains(&pod.name), "{found}");
        }
    }
    Ok(())
}
