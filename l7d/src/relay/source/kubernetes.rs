//! Agents that the API server of a cluster knows: the pods with certain labels.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;

use super::{Known, Source};
use crate::kube::{Place, PlaceUpdate, Places};
use crate::server::{Peer, Peers, node_name, tls_name};

/// How often it is looked whether the API server answers.
const LOOK: Duration = Duration::from_secs(1);

/// Agents' pods.
#[derive(Debug)]
pub struct Kubernetes {
    /// Where they are.
    pub places: Places,
    /// The port on which they serve the API.
    pub port: u16,
    /// Cluster, which is part of nodes' names.
    pub cluster: String,
    /// Whether agents speak TLS.
    pub has_tls: bool,
}

/// Pods as they were told, by name.
#[derive(Debug, Default)]
struct Pods {
    known: BTreeMap<String, Place>,
    /// Of those that a list under way has not named yet.
    unnamed: BTreeSet<String>,
}

impl Pods {
    /// Takes over what is told; whether peers are to be told anew.
    fn apply(&mut self, update: PlaceUpdate) -> bool {
        match update {
            PlaceUpdate::Begins => {
                self.unnamed = self.known.keys().cloned().collect();
                false
            }
            PlaceUpdate::Ends => {
                for name in std::mem::take(&mut self.unnamed) {
                    self.known.remove(&name);
                }
                true
            }
            PlaceUpdate::Applied(place) => {
                self.unnamed.remove(&place.name);
                self.known.insert(place.name.clone(), place);
                true
            }
            PlaceUpdate::Gone(name) => {
                self.unnamed.remove(&name);
                self.known.remove(&name).is_some()
            }
        }
    }

    /// The agent of each node: while one takes over from another, the one that is ready.
    fn agents(&self) -> BTreeMap<&str, &Place> {
        let mut agents: BTreeMap<&str, &Place> = BTreeMap::new();
        for place in self.known.values() {
            let agent = agents.entry(&place.node).or_insert(place);
            if place.is_ready && !agent.is_ready {
                *agent = place;
            }
        }
        agents
    }
}

impl Kubernetes {
    fn peers(&self, pods: &Pods) -> Peers {
        let mut peers = Peers::default();
        for (node, place) in pods.agents() {
            let peer = Peer {
                address: SocketAddr::new(place.ip, self.port).to_string(),
                tls_name: self.has_tls.then(|| tls_name(&self.cluster, node)),
            };
            peers.insert(node_name(&self.cluster, node), peer);
        }
        peers
    }
}

#[tonic::async_trait]
impl Source for Kubernetes {
    async fn follow(mut self: Box<Self>, known: watch::Sender<Known>) {
        let mut pods = Pods::default();
        let mut look = tokio::time::interval(LOOK);
        loop {
            let is_new = tokio::select! {
                update = self.places.updates.recv() => match update {
                    Some(update) => pods.apply(update),
                    // Nobody tells any more: the runtime ends.
                    None => std::future::pending().await,
                },
                _tick = look.tick() => false,
            };
            let is_current = self.places.is_following();
            let peers = is_new.then(|| self.peers(&pods));
            known.send_if_modified(|known| {
                let former = known.clone();
                known.is_current = is_current;
                if let Some(peers) = peers {
                    known.peers = peers;
                }
                former.is_current != known.is_current || former.peers != known.peers
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str, node: &str, ip: &str, is_ready: bool) -> PlaceUpdate {
        PlaceUpdate::Applied(Place {
            name: name.to_owned(),
            node: node.to_owned(),
            ip: ip.parse().expect("an address"),
            is_ready,
        })
    }

    fn agents(pods: &Pods) -> Vec<String> {
        let agents = pods.agents();
        let agents = agents
            .iter()
            .map(|(node, place)| format!("{node} {}", place.ip));
        agents.collect()
    }

    #[test]
    fn a_node_has_one_agent_and_a_list_takes_the_others_away() {
        let mut pods = Pods::default();
        pods.apply(place("l7d-1", "a", "192.0.2.1", true));
        pods.apply(place("l7d-2", "b", "192.0.2.2", false));
        assert_eq!(agents(&pods), ["a 192.0.2.1", "b 192.0.2.2"]);
        pods.apply(place("l7d-0", "a", "10.0.0.1", false));
        assert_eq!(agents(&pods)[0], "a 192.0.2.1", "the new one is not ready");
        pods.apply(place("l7d-1", "a", "192.0.2.1", false));
        pods.apply(place("l7d-0", "a", "10.0.0.1", true));
        assert_eq!(agents(&pods)[0], "a 10.0.0.1");
        assert!(pods.apply(PlaceUpdate::Gone("l7d-1".to_owned())));
        assert!(!pods.apply(PlaceUpdate::Begins));
        pods.apply(place("l7d-0", "a", "10.0.0.1", true));
        assert_eq!(agents(&pods).len(), 2, "until the list has come to its end");
        assert!(pods.apply(PlaceUpdate::Ends));
        assert_eq!(agents(&pods), ["a 10.0.0.1"]);
    }
}
