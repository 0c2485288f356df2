//! Who has which address, where several say so.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::identity::Layered;
use crate::record::{Endpoint, EndpointId, canonical_ip};

/// Whose word counts more about an address: the lower one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// An endpoint of this node.
    Local,
    /// One of another node.
    Remote,
    /// This node.
    Host,
    /// Another node.
    Node,
    /// Where the API server is, outside the cluster.
    Outside,
}

/// Addresses and who has them. An address that a pod leaves may be another one's before anybody says that
/// the first is gone: of those who count the same, the one that came last has it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    winners: Layered,
    /// Who else claims an address that several do; the last one is the next.
    contested: BTreeMap<IpAddr, Vec<Arc<Endpoint>>>,
}

impl Rank {
    fn of(endpoint: &Endpoint) -> Self {
        let has = |label: &str| endpoint.labels.iter().any(|own| own == label);
        if has("reserved:host") {
            Self::Host
        } else if has("reserved:remote-node") {
            Self::Node
        } else if has("reserved:world") {
            Self::Outside
        } else if endpoint.id == EndpointId(0) {
            Self::Remote
        } else {
            Self::Local
        }
    }
}

impl Claims {
    /// Everybody's addresses.
    pub(super) fn winners(&self) -> &Layered {
        &self.winners
    }

    /// Somebody says to have an address.
    pub(super) fn add(&mut self, ip: IpAddr, endpoint: &Arc<Endpoint>) {
        let ip = canonical_ip(ip);
        let claim = Arc::clone(endpoint);
        let Some(winner) = self.winners.get(&ip) else {
            self.winners.insert(ip, claim);
            return;
        };
        let winner = Arc::clone(winner);
        let other = if Rank::of(&claim) <= Rank::of(&winner) {
            self.winners.insert(ip, claim);
            winner
        } else {
            claim
        };
        let others = self.contested.entry(ip).or_default();
        let rank = Rank::of(&other);
        // Whoever counts less stands before it.
        let place = others.partition_point(|before| Rank::of(before) >= rank);
        others.insert(place, other);
    }

    /// Who had an address is known by other facts now; whose turn it is stays.
    pub(super) fn replace(&mut self, ip: IpAddr, former: &Arc<Endpoint>, now: &Arc<Endpoint>) {
        let ip = canonical_ip(ip);
        if self.has(&ip, former) {
            self.winners.insert(ip, Arc::clone(now));
            return;
        }
        let others = self.contested.get_mut(&ip).into_iter().flatten();
        for claim in others.filter(|claim| Arc::ptr_eq(claim, former)) {
            *claim = Arc::clone(now);
        }
    }

    /// Somebody no longer has an address.
    pub(super) fn remove(&mut self, ip: IpAddr, endpoint: &Arc<Endpoint>) {
        let ip = canonical_ip(ip);
        let is_winner = self.has(&ip, endpoint);
        let mut next = None;
        if let Some(others) = self.contested.get_mut(&ip) {
            if is_winner {
                next = others.pop();
            } else {
                others.retain(|claim| !Arc::ptr_eq(claim, endpoint));
            }
            if others.is_empty() {
                self.contested.remove(&ip);
            }
        }
        match (is_winner, next) {
            (true, Some(claim)) => {
                self.winners.insert(ip, claim);
            }
            (true, None) => {
                self.winners.remove(&ip);
            }
            (false, _) => {}
        }
    }

    fn has(&self, ip: &IpAddr, endpoint: &Arc<Endpoint>) -> bool {
        let winner = self.winners.get(ip);
        winner.is_some_and(|winner| Arc::ptr_eq(winner, endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::reserved;
    use crate::record::IdentityNumber;

    fn endpoint(id: u16, label: &str) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            id: EndpointId(id),
            ..reserved(IdentityNumber(300), label)
        })
    }

    fn has(claims: &Claims, endpoint: &Arc<Endpoint>) -> bool {
        claims.has(&ip(), endpoint)
    }

    fn ip() -> IpAddr {
        "10.0.0.1".parse().expect("an address")
    }

    #[test]
    fn the_pod_that_came_last_has_the_address_until_it_leaves() {
        let (first, second) = (endpoint(0, "k8s:app=a"), endpoint(0, "k8s:app=b"));
        let mut claims = Claims::default();
        claims.add(ip(), &first);
        claims.add(ip(), &second);
        assert!(has(&claims, &second));
        // The first one ends, and is told to have changed, while the second one has its address.
        let ending = endpoint(0, "k8s:app=a2");
        claims.replace(ip(), &first, &ending);
        assert!(has(&claims, &second));
        claims.remove(ip(), &ending);
        assert!(has(&claims, &second));
        claims.remove(ip(), &second);
        assert!(claims.winners().is_empty());
        assert!(claims.contested.is_empty());
    }

    #[test]
    fn who_leaves_first_leaves_the_address_to_the_other() {
        let (first, second) = (endpoint(0, "k8s:app=a"), endpoint(0, "k8s:app=b"));
        let mut claims = Claims::default();
        claims.add(ip(), &first);
        claims.add(ip(), &second);
        claims.remove(ip(), &second);
        assert!(has(&claims, &first));
    }

    #[test]
    fn what_is_on_this_node_counts_more() {
        let node = endpoint(0, "reserved:remote-node");
        let (host, pod) = (endpoint(1, "reserved:host"), endpoint(0, "k8s:app=a"));
        let local = endpoint(7, "k8s:app=b");
        let mut claims = Claims::default();
        for claim in [&local, &node, &pod, &host] {
            claims.add(ip(), claim);
            assert!(has(&claims, &local));
        }
        for (leaves, next) in [(&local, &pod), (&pod, &host), (&host, &node)] {
            claims.remove(ip(), leaves);
            assert!(has(&claims, next));
        }
    }
}
