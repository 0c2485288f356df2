//! A world as the engine is told of it.

use std::net::IpAddr;

use ipnet::IpNet;
use policy_l7::{CidrGroup, Endpoint, Identity, Labels, PortName, Service, Surroundings};

use crate::policy::world::{End, Label, World};

/// Number of the first pod, as endpoint and as identity.
pub(super) const FIRST_ENDPOINT: u16 = 16;
const FIRST_IDENTITY: u32 = 300;
/// Number of the first node.
pub(super) const FIRST_NODE: u32 = 2 << 24;

/// Pods with their numbers.
#[derive(Debug)]
pub(in crate::policy) struct Known {
    /// Of each pod, in order, and of the nodes.
    pub(in crate::policy) identities: Vec<Identity>,
    /// Of the same; none of those that are elsewhere.
    pub(in crate::policy) endpoints: Vec<Option<Endpoint>>,
    /// The identity of each pod, in order.
    pub(in crate::policy) numbers: Vec<u32>,
}

/// What those pods call their ports that `is_there`, by their places.
pub(in crate::policy) fn port_names(
    world: &World,
    numbers: &[u32],
    is_there: impl Fn(usize) -> bool,
) -> Vec<PortName> {
    let pods = world.pods.iter().zip(numbers).enumerate();
    let there = pods.filter(|(place, _)| is_there(*place));
    let names = there.flat_map(|(_, (pod, identity))| {
        pod.named_ports.iter().map(|(name, port)| PortName {
            identity: *identity,
            name: name.clone(),
            port: *port,
        })
    });
    names.collect()
}

impl Known {
    pub(in crate::policy) fn of(world: &World) -> Self {
        let mut identities: Vec<Identity> = Vec::new();
        let mut endpoints = Vec::new();
        let mut numbers = Vec::new();
        for (pod, id) in world.pods.iter().zip(FIRST_ENDPOINT..) {
            let labels = labels(&pod.labels);
            let same = identities.iter().find(|known| known.labels == labels);
            let number = same.map_or(FIRST_IDENTITY + u32::from(id), |same| same.number);
            numbers.push(number);
            endpoints.push(pod.is_here.then(|| Endpoint {
                id,
                identity: number,
                labels: labels.clone(),
                named_ports: pod.named_ports.clone(),
            }));
            identities.push(Identity { number, labels });
        }
        for (node, number) in world.nodes.iter().zip(FIRST_NODE..) {
            let labels = labels(&End::Node(node).labels());
            identities.push(Identity { number, labels });
            endpoints.push(None);
        }
        Self {
            identities,
            endpoints,
            numbers,
        }
    }
}

/// What policies refer to.
#[derive(Debug)]
pub(in crate::policy) struct Referred {
    cidr_groups: Vec<CidrGroup>,
    services: Vec<Service>,
}

impl Referred {
    pub(in crate::policy) fn of(world: &World) -> Self {
        let prefix = |text: &String| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| text.parse()).ok()
        };
        let groups = world.cidr_groups.iter().map(|group| CidrGroup {
            name: group.name.clone(),
            labels: labels(&group.labels),
            prefixes: group.prefixes.iter().filter_map(prefix).collect(),
        });
        let services = world.services.iter().map(|service| Service {
            namespace: service.namespace.clone(),
            name: service.name.clone(),
            labels: labels(&service.labels),
            selector: service.selector.iter().cloned().collect(),
            backends: service.backends.clone(),
        });
        Self {
            cidr_groups: groups.collect(),
            services: services.collect(),
        }
    }

    pub(in crate::policy) fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            cidr_groups: &self.cidr_groups,
            services: &self.services,
        }
    }
}

fn labels(labels: &[Label]) -> Labels {
    let labels = labels.iter().map(|label| policy_l7::Label {
        source: label.source.clone(),
        key: label.key.clone(),
        value: label.value.clone(),
    });
    labels.collect()
}
