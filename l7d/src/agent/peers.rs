//! The agents of the cluster's nodes, as the configuration and the cluster have them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::apply::host_addresses;
use super::{Agent, flows};
use crate::config::{Config, Node, Tcp};
use crate::host::Inventory;
use crate::server::{Peer, Peers, node_name, tls_name};

/// This node's agent, and those of the other nodes where this one listens on a port: theirs listen on the
/// same.
fn peers(config: &Config, inventory: &Inventory, own: &[IpAddr]) -> Peers {
    let Some(tcp) = &config.api.tcp else {
        let address = format!("unix://{}", config.api.socket.display());
        let name = node_name(&config.cluster, &config.node);
        let tls_name = None;
        return Peers::only(&name, Peer { address, tls_name });
    };
    let mut peers = Peers::default();
    let nodes: Vec<&Node> = inventory.told_nodes().collect();
    for node in &nodes {
        let ip = node.ips.first().copied();
        add(&mut peers, config, tcp, &node.name, ip);
    }
    let ip = own_address(config, &nodes, tcp, own);
    add(&mut peers, config, tcp, &config.node, Some(ip));
    peers
}

fn add(peers: &mut Peers, config: &Config, tcp: &Tcp, node: &str, ip: Option<IpAddr>) {
    let address = |ip| SocketAddr::new(ip, tcp.listen.port()).to_string();
    let tls_name = tcp.tls.as_ref().map(|_| tls_name(&config.cluster, node));
    let peer = Peer {
        address: ip.map_or_else(String::new, address),
        tls_name,
    };
    peers.insert(node_name(&config.cluster, node), peer);
}

/// Where others reach this node's listener: where it listens on every address, the one that the
/// configuration has for the node, else one that leads out.
fn own_address(config: &Config, nodes: &[&Node], tcp: &Tcp, own: &[IpAddr]) -> IpAddr {
    let listen = tcp.listen.ip();
    if !listen.is_unspecified() {
        return listen;
    }
    let is_own = |node: &&&Node| node.name == config.node;
    let told = nodes.iter().find(is_own);
    let told = told.and_then(|node| node.ips.first());
    let leads_out = |ip: &&IpAddr| {
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        !ip.is_loopback() && !is_link_local && (ip.is_ipv4() || listen.is_ipv6())
    };
    let found = told.or_else(|| own.iter().find(leads_out));
    found.copied().unwrap_or(listen)
}

impl Agent {
    /// Tells who listens of other agents, and flows of this node, where something has changed.
    pub(super) fn publish_nodes(&self) {
        let labels = flows::labels(self.world.inventory.own_node());
        self.node.labels.set(labels);
        let own = host_addresses();
        let peers = peers(self.world.config(), &self.world.inventory, &own);
        self.peers.send_if_modified(|known| {
            let has_changed = **known != peers;
            if has_changed {
                *known = Arc::new(peers);
            }
            has_changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(yaml: &str) -> Vec<String> {
        let config = crate::config::read_config("test", yaml).expect("a configuration");
        let own = ["127.0.0.1", "169.254.0.1", "fe80::1", "192.0.2.7"]
            .map(|ip| ip.parse().expect("an address"));
        let inventory = Inventory::from_config(&config, Vec::new()).expect("an inventory");
        let peers = peers(&config, &inventory, &own);
        let shown = peers.iter().map(|(name, peer)| {
            let tls = peer.tls_name.as_deref().unwrap_or("-");
            format!("{name} {} {tls}", peer.address)
        });
        shown.collect()
    }

    #[test]
    fn nodes_of_the_configuration_are_peers_on_the_port_of_this_one() {
        let nodes = "nodes: [ { name: a, ips: [192.0.2.1] }, { name: b, ips: [\"2001:db8::2\"] }, { name: c } ]";
        let yaml = format!(
            "node: a\napi: {{ tcp: {{ listen: \"0.0.0.0:4244\", insecure: true }} }}\n{nodes}\n"
        );
        assert_eq!(
            told(&yaml),
            ["a 192.0.2.1:4244 -", "b [2001:db8::2]:4244 -", "c  -"]
        );
        let yaml = format!("node: d\n{yaml}").replace("node: a\n", "");
        assert_eq!(
            told(&yaml).last().map(String::as_str),
            Some("d 192.0.2.7:4244 -")
        );
    }

    #[test]
    fn certificates_have_the_names_of_nodes() {
        let tls = "tls: { certificate: a, key: b }";
        let yaml = format!(
            "node: n.x\ncluster: west\napi: {{ tcp: {{ listen: \"192.0.2.1:4244\", {tls} }} }}\n"
        );
        assert_eq!(
            told(&yaml),
            ["west/n.x 192.0.2.1:4244 n-x.west.hubble-grpc.cilium.io"]
        );
    }

    #[test]
    fn who_listens_on_a_socket_only_is_alone() {
        let yaml =
            "node: a\napi: { socket: /run/x.sock }\nnodes: [ { name: b, ips: [192.0.2.1] } ]\n";
        assert_eq!(told(yaml), ["a unix:///run/x.sock -"]);
    }
}
