//! Pods whose packets leave the node under its own address, as most clusters have it: netfilter's
//! translation and the proxy's two connections of one client do not get into each other's way.

use testbed::{Attach, Host};

use crate::dns::{dig, unbound};
use crate::node::{Node, ask, output, serve};

/// What leaves by the uplink has the node's address.
const MASQUERADE: &str = "table inet nat { chain out { type nat hook postrouting priority 100; \
     ip saddr 10.244.0.0/16 oifname uplink masquerade; \
     ip6 saddr fd00:244::/32 oifname uplink masquerade; }; }";

fn masqueraded() -> anyhow::Result<Node> {
    let node = Node::new(&[("bridged", Attach::Bridged), ("routed", Attach::Routed)])?;
    let told = output(&node.world.node(), &["nft", MASQUERADE])?;
    anyhow::ensure!(told.is_empty(), "{told}");
    Ok(node)
}

fn clients(node: &Node) -> Vec<&Host> {
    node.pods.iter().map(|pod| &pod.host).collect()
}

#[test]
fn requests_of_masqueraded_pods_arrive_from_the_node() -> anyhow::Result<()> {
    let node = masqueraded()?;
    node.configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    let _server = serve(&node.world.outside(), 80)?;
    let _agent = node.agent()?;
    for client in clients(&node) {
        for _ in 0..20 {
            ask(client, "192.0.2.2", "192.0.2.1")?;
            ask(client, "2001:db8::2", "2001:db8::1")?;
        }
    }
    // The proxy's own connection is not told of: what answers is what the client hears.
    let packets = node.observe(&[
        "--type",
        "trace",
        "--tcp-flags",
        "SYN",
        "--all",
        "-o",
        "jsonpb",
    ])?;
    let answers = packets
        .lines()
        .filter(|line| line.contains(r#""ACK":true"#))
        .filter(|line| !line.contains(r#""trace_observation_point":"TO_ENDPOINT""#));
    assert_eq!(answers.count(), 0, "{packets}");
    Ok(())
}

#[test]
fn queries_of_masqueraded_pods_are_answered() -> anyhow::Result<()> {
    let node = masqueraded()?;
    node.configure("visibility: [ { port: 53, protocol: UDP } ]\n")?;
    let _server = unbound(&node.world.outside(), node.world.folder())?;
    let _agent = node.agent()?;
    for client in clients(&node) {
        for server in ["192.0.2.2", "2001:db8::2"] {
            // From one port again and again, as resolvers in a library ask.
            for _ in 0..10 {
                let from = ["-b", source(server), "api.example.com"];
                let answer = dig(client, server, &from)?;
                assert!(answer.contains("192.0.2.2"), "{answer}");
            }
        }
    }
    Ok(())
}

fn source(server: &str) -> &'static str {
    if server.contains(':') {
        "::#40053"
    } else {
        "0.0.0.0#40053"
    }
}
