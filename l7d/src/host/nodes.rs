//! This node, the others, and where the API server is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use l7d_ebpf::maps::HOST_ENDPOINT;
use policy_l7::Labels;

use super::in_use::Range;
use super::node::KnownNode;
use super::{Error, Inventory, Origin, labels};
use crate::config;
use crate::identity::reserved;
use crate::record::{Endpoint, EndpointId, IdentityNumber};

/// This node.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) name: String,
    /// What was told of it, by whom.
    pub(super) told: BTreeMap<Origin, config::Node>,
    pub(super) labels: Labels,
    pub(super) endpoint: Option<Arc<Endpoint>>,
    /// Found on its interfaces.
    pub(super) found: BTreeSet<IpAddr>,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Whether it is an endpoint, so that policies that select it are enforced.
    pub(super) is_endpoint: bool,
}

/// The API server, where it is outside the cluster.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl Inventory {
    pub(super) fn put_node(&mut self, origin: Origin, node: config::Node) -> Result<(), Error> {
        if node.name == self.host.name {
            if self.host.told.get(&origin) != Some(&node) {
                self.host.told.insert(origin, node);
                self.renew_host()?;
            }
            return Ok(());
        }
        let key = (node.name.clone(), origin);
        if self.nodes.get(&key).is_some_and(|known| known.told == node) {
            return Ok(());
        }
        let known = KnownNode::new(node, &self.api_servers, &mut self.identities)?;
        self.remove_node(&key.0, origin);
        for ip in &known.told.ips {
            self.addresses.add(*ip, &known.endpoint);
        }
        self.nodes.insert(key, known);
        self.changed.nodes = true;
        self.changed.any = true;
        Ok(())
    }

    pub(super) fn remove_node(&mut self, name: &str, origin: Origin) {
        let Some(known) = self.nodes.remove(&(name.to_owned(), origin)) else {
            return;
        };
        for ip in &known.told.ips {
            self.addresses.remove(*ip, &known.endpoint);
        }
        self.identities.release(known.endpoint.identity);
        self.changed.nodes = true;
        self.changed.any = true;
    }

    /// Finds out anew who this node is.
    pub(super) fn renew_host(&mut self) -> Result<(), Error> {
        let told = self.host.told.values();
        let addresses: BTreeSet<IpAddr> = told
            .flat_map(|node| &node.ips)
            .chain(&self.host.found)
            .copied()
            .collect();
        let names: &[&str] = if addresses.is_disjoint(&self.api_servers) {
            &["host"]
        } else {
            &["host", "kube-apiserver"]
        };
        let told = self.host.told.iter().next_back().map(|(_, node)| node);
        let labels = labels::of_node(names, told)?;
        let id = if self.host.is_endpoint {
            HOST_ENDPOINT
        } else {
            0
        };
        let endpoint = Arc::new(Endpoint {
            id: EndpointId(id),
            labels: labels.iter().map(|label| label.to_string()).collect(),
            ..reserved(IdentityNumber::HOST, "")
        });
        let former = self.host.endpoint.replace(Arc::clone(&endpoint));
        let had = std::mem::replace(&mut self.host.addresses, addresses);
        for ip in former.iter().flat_map(|_| &had) {
            if let Some(former) = &former {
                self.addresses.remove(*ip, former);
            }
        }
        for ip in &self.host.addresses {
            self.addresses.add(*ip, &endpoint);
        }
        self.changed.nodes = true;
        self.changed.any = true;
        self.changed.local |= self.host.is_endpoint || former.is_some_and(|was| was.id.0 != 0);
        self.changed.identities |= self.host.labels != labels;
        self.host.labels = labels;
        Ok(())
    }

    /// The API server is where it says it is.
    pub(super) fn set_api_servers(&mut self, addresses: BTreeSet<IpAddr>) -> Result<(), Error> {
        if self.api_servers == addresses {
            return Ok(());
        }
        let former = std::mem::replace(&mut self.api_servers, addresses);
        let moved: BTreeSet<IpAddr> = former
            .symmetric_difference(&self.api_servers)
            .copied()
            .collect();
        let is_touched = |known: &&KnownNode| known.told.ips.iter().any(|ip| moved.contains(ip));
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|(_, known)| is_touched(known));
        let touched: Vec<(Origin, config::Node)> = nodes
            .map(|((_, origin), known)| (*origin, known.told.clone()))
            .collect();
        for (origin, node) in touched {
            self.remove_node(&node.name, origin);
            self.put_node(origin, node)?;
        }
        self.renew_host()?;
        self.renew_outside()
    }

    /// Names the API server where it is no node of the cluster. It stays part of the world to policies.
    fn renew_outside(&mut self) -> Result<(), Error> {
        if let Some(former) = self.outside.take() {
            for ip in &former.addresses {
                self.addresses.remove(*ip, &former.endpoint);
            }
            self.identities.release(former.endpoint.identity);
        }
        let nodes = self.nodes.values();
        let inside: BTreeSet<&IpAddr> = nodes
            .flat_map(|known| &known.told.ips)
            .chain(&self.host.addresses)
            .collect();
        let outside = self.api_servers.iter();
        let outside = outside.filter(|ip| !inside.contains(ip));
        let addresses: BTreeSet<IpAddr> = outside.copied().collect();
        if addresses.is_empty() {
            return Ok(());
        }
        let labels = labels::of_node(&["kube-apiserver", "world"], None)?;
        let shared = self.identities.acquire(labels, Range::Node);
        let endpoint = Arc::new(Endpoint {
            labels: shared.texts,
            ..reserved(shared.number, "")
        });
        for ip in &addresses {
            self.addresses.add(*ip, &endpoint);
        }
        self.outside = Some(Outside {
            endpoint,
            addresses,
        });
        Ok(())
    }
}
