//! Which agents there are, and what becomes of that.

use std::collections::BTreeMap;

use proto::peer::{ChangeNotification, ChangeNotificationType, Tls};

/// The domain of agents' certificates, as Hubble has it.
const DOMAIN: &str = "hubble-grpc.cilium.io";

/// Agents by the names of their nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers(BTreeMap<String, Peer>);

/// An agent, for who connects to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// `host:port`, or `unix://path`; empty where it is not known.
    pub address: String,
    /// The name in its certificate, where it speaks TLS.
    pub tls_name: Option<String>,
}

impl Peers {
    /// An agent that knows of itself alone.
    pub fn only(name: &str, peer: Peer) -> Self {
        Self(BTreeMap::from([(name.to_owned(), peer)]))
    }

    /// Adds one, or changes it.
    pub fn insert(&mut self, name: String, peer: Peer) {
        self.0.insert(name, peer);
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Peer> {
        self.0.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Peer)> {
        self.0.iter()
    }

    /// Leaves out whom `keep` does not want.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }

    /// What made these of those: who has gone first, so that an address is never two nodes'.
    pub fn changes_from(&self, former: &Self) -> Vec<ChangeNotification> {
        use ChangeNotificationType::{PeerAdded, PeerDeleted, PeerUpdated};
        let gone = former
            .0
            .iter()
            .filter(|(name, _)| !self.0.contains_key(*name));
        let mut changes: Vec<_> = gone
            .map(|(name, peer)| peer.notification(name, PeerDeleted))
            .collect();
        for (name, peer) in &self.0 {
            match former.0.get(name) {
                None => changes.push(peer.notification(name, PeerAdded)),
                Some(known) if known != peer => changes.push(peer.notification(name, PeerUpdated)),
                Some(_) => {}
            }
        }
        changes
    }

    /// Follows a change; its name, where it says something.
    pub fn apply(&mut self, change: ChangeNotification) -> Option<String> {
        use ChangeNotificationType::{PeerAdded, PeerDeleted, PeerUpdated, Unknown};
        match change.r#type() {
            PeerAdded | PeerUpdated => {
                let peer = Peer {
                    address: change.address,
                    tls_name: change.tls.map(|tls| tls.server_name),
                };
                self.0.insert(change.name.clone(), peer);
                Some(change.name)
            }
            PeerDeleted => {
                self.0.remove(&change.name);
                Some(change.name)
            }
            Unknown => None,
        }
    }
}

impl Peer {
    fn notification(&self, name: &str, kind: ChangeNotificationType) -> ChangeNotification {
        let tls = self.tls_name.clone();
        ChangeNotification {
            name: name.to_owned(),
            address: self.address.clone(),
            r#type: kind.into(),
            tls: tls.map(|server_name| Tls { server_name }),
        }
    }
}

/// A node's name in flows and among peers: the cluster is told unless it is the default one.
pub fn node_name(cluster: &str, node: &str) -> String {
    match cluster {
        "" | "default" => node.to_owned(),
        cluster => format!("{cluster}/{node}"),
    }
}

/// The name that an agent's certificate must have: that of its node (without the cluster), of which one
/// wildcard covers all.
pub fn tls_name(cluster: &str, node: &str) -> String {
    let cluster = match cluster {
        "" => "default",
        cluster => cluster,
    };
    format!(
        "{}.{}.{DOMAIN}",
        node.replace('.', "-"),
        cluster.replace('.', "-")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(told: &[(&str, &str)]) -> Peers {
        let peer = |address: &str| Peer {
            address: address.to_owned(),
            tls_name: None,
        };
        let named = told
            .iter()
            .map(|(name, address)| ((*name).to_owned(), peer(address)));
        Peers(named.collect())
    }

    #[test]
    fn changes_make_one_state_of_another() {
        let former = peers(&[
            ("a", "10.0.0.1:4244"),
            ("b", "10.0.0.2:4244"),
            ("c", "10.0.0.3:4244"),
        ]);
        let next = peers(&[
            ("a", "10.0.0.1:4244"),
            ("b", "10.0.0.9:4244"),
            ("d", "10.0.0.3:4244"),
        ]);
        let changes = next.changes_from(&former);
        let told: Vec<_> = changes
            .iter()
            .map(|c| (c.r#type().as_str_name(), c.name.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("PEER_DELETED", "c"),
                ("PEER_UPDATED", "b"),
                ("PEER_ADDED", "d")
            ]
        );
        let mut followed = former;
        for change in changes {
            assert!(followed.apply(change).is_some());
        }
        assert_eq!(followed, next);
        assert!(next.changes_from(&next).is_empty());
    }

    #[test]
    fn names_are_hubbles() {
        assert_eq!(node_name("default", "n.example"), "n.example");
        assert_eq!(node_name("west", "n"), "west/n");
        assert_eq!(
            tls_name("", "n.example"),
            "n-example.default.hubble-grpc.cilium.io"
        );
        assert_eq!(tls_name("we.st", "n"), "n.we-st.hubble-grpc.cilium.io");
    }
}
