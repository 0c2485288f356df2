//! What others want to know of an inventory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use l7d_ebpf::maps::HOST_ENDPOINT;

use super::known::Known;
use super::{Inventory, Origin, labels, of_identity};
use crate::config;
use crate::identity::{LocalEndpoint, Services, TableBuilder};
use crate::record::{IdentityNumber, Service};

impl Inventory {
    /// The names of addresses; `prefixes` are the identities that policies give to CIDRs.
    pub fn table(&self, prefixes: &[(ipnet::IpNet, policy_l7::Identity)]) -> TableBuilder {
        let local = self.local().map(|known| LocalEndpoint {
            endpoint: Arc::clone(&known.endpoint),
            addresses: known.addresses.to_vec(),
            interface: match &known.interface {
                Some(config::Interface::Named(name)) => Some(name.clone()),
                Some(config::Interface::Found) | None => None,
            },
        });
        let services = Arc::clone(&self.service_table);
        let addresses = self.addresses.winners().clone();
        let mut table = TableBuilder::over(addresses, services, local.collect());
        for (prefix, identity) in prefixes {
            table.prefix(*prefix, Arc::new(of_identity(identity)));
        }
        table
    }

    /// Endpoints of this node.
    fn local(&self) -> impl Iterator<Item = &Known> {
        self.endpoints.values().filter(|known| known.is_local())
    }

    /// Makes the table of services, once for all changes of them.
    pub(super) fn renew_service_table(&mut self) {
        let mut table = Services::default();
        for service in self.services.values() {
            add_service(&mut table, service);
        }
        self.service_table = Arc::new(table);
    }

    /// All identities that selectors can match, the reserved ones included.
    pub fn identities(&self) -> Vec<policy_l7::Identity> {
        let reserved = policy_l7::identity::reserved().into_iter();
        let mut identities: BTreeMap<u32, policy_l7::Identity> = reserved
            .chain(self.identities.iter())
            .map(|identity| (identity.number, identity))
            .collect();
        let host = self.host_identity();
        identities.insert(host.number, host);
        identities.into_values().collect()
    }

    /// Endpoints and what they serve, as the checks of policies want them.
    pub fn servers(&self) -> Vec<policy_l7::lint::Server> {
        let endpoints = self.endpoints.values();
        endpoints
            .map(|known| policy_l7::lint::Server {
                name: format!("{}/{}", known.endpoint.namespace, known.endpoint.name),
                labels: known.labels.clone(),
                addresses: known.addresses.to_vec(),
                named_ports: known
                    .named_ports
                    .iter()
                    .map(|(name, _)| name.clone())
                    .collect(),
                ports: known.ports.clone(),
            })
            .collect()
    }

    /// This node, with its labels.
    fn host_identity(&self) -> policy_l7::Identity {
        policy_l7::Identity {
            number: policy_l7::identity::HOST,
            labels: self.host.labels.clone(),
        }
    }

    /// Nodes that somebody has told of, this one among them.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, IdentityNumber)> {
        let own = (!self.host.told.is_empty()).then_some(self.host.name.as_str());
        let own = own.map(|name| (name, IdentityNumber::HOST));
        let others = self.nodes.values();
        let others = others.map(|node| (node.told.name.as_str(), node.endpoint.identity));
        own.into_iter().chain(others)
    }

    /// This node, as it was told last.
    pub fn own_node(&self) -> Option<&config::Node> {
        self.host.told.values().next_back()
    }

    /// The same as they were told.
    pub fn told_nodes(&self) -> impl Iterator<Item = &config::Node> {
        let others = self.nodes.values().map(|known| &known.told);
        self.own_node().into_iter().chain(others)
    }

    /// Services, as policies may name them.
    pub fn services(&self) -> Vec<policy_l7::Service> {
        let services = self.services.iter();
        services
            .map(|((name, origin), service)| {
                let mut of = labels::of_service(service);
                if *origin == Origin::Cluster && service.selector.is_empty() {
                    of.backends = self.backends(&name.namespace, &name.name);
                }
                of
            })
            .collect()
    }

    /// Addresses behind a service of the cluster that selects no pods.
    fn backends(&self, namespace: &str, service: &str) -> Vec<IpAddr> {
        let slices = self.slices.values();
        let slices =
            slices.filter(|slice| *slice.name.namespace == *namespace && slice.service == service);
        slices.flat_map(|slice| &slice.addresses).copied().collect()
    }

    /// Whether this node itself is an endpoint, so that policies that select it are enforced.
    pub fn has_host_endpoint(&self) -> bool {
        self.host.is_endpoint
    }

    /// What ports are called, here and on other nodes.
    pub fn port_names(&self) -> Vec<policy_l7::PortName> {
        self.port_names.iter().cloned().collect()
    }

    /// Endpoints of this node, itself among them where it is one, as the compiler wants them.
    pub fn local_endpoints(&self) -> Vec<policy_l7::Endpoint> {
        self.local()
            .map(|known| policy_l7::Endpoint {
                id: known.endpoint.id.0,
                identity: known.endpoint.identity.0,
                labels: known.labels.clone(),
                named_ports: known.named_ports.to_vec(),
            })
            .chain(self.host.is_endpoint.then(|| policy_l7::Endpoint {
                id: HOST_ENDPOINT,
                identity: policy_l7::identity::HOST,
                labels: self.host.labels.clone(),
                named_ports: Vec::new(),
            }))
            .collect()
    }
}

fn add_service(table: &mut Services, service: &config::Service) {
    let named = Arc::new(Service {
        name: service.name.clone(),
        namespace: service.namespace.clone(),
    });
    for ip in &service.ips {
        if service.ports.is_empty() {
            table.add(*ip, 0, 0, Arc::clone(&named));
        }
        for port in &service.ports {
            table.add(*ip, port.port, port.protocol, Arc::clone(&named));
        }
    }
    for port in &service.ports {
        if let Some(node_port) = port.node_port {
            table.add_node_port(node_port, port.protocol, Arc::clone(&named));
        }
    }
}
