//! Who is who, from the configuration file: endpoints, services, nodes and this host's own addresses.
//!
//! The result has two forms that are made together so that they cannot disagree: the identity
//! [`Table`](crate::identity::Table) that names addresses in flows, and the [`policy_l7::Inputs`] of the policy compiler.

mod labels;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use l7d_ebpf::maps::HOST_ENDPOINT;
use policy_l7::Labels;

use node::KnownNode;

use crate::config;
use crate::identity::{EndpointNumbers, TableBuilder, reserved};
use crate::record::{Endpoint, EndpointId, IdentityNumber, Service, Workload};

/// Everything known about addresses and endpoints at one moment.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    endpoints: Vec<Known>,
    services: Vec<config::Service>,
    /// This node's name, where the configuration tells of the node.
    host_name: Option<String>,
    /// Its labels.
    host: Labels,
    /// Whether it is an endpoint, so that policies that select it are enforced.
    is_host_endpoint: bool,
    host_addresses: Vec<IpAddr>,
    /// All others.
    nodes: Vec<KnownNode>,
}

#[derive(Debug, Clone)]
struct Known {
    endpoint: Arc<Endpoint>,
    labels: Labels,
    addresses: Vec<IpAddr>,
    interface: Option<String>,
    named_ports: Vec<(String, u16)>,
    ports: BTreeSet<(u8, u16)>,
}

/// Why an inventory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More endpoints than numbers.
    #[error("endpoint {0}: all 65,520 endpoint numbers of this node are taken")]
    NoNumber(String),
    /// A label that is none.
    #[error("{of}: label {label}: {cause}")]
    Label {
        /// Whose it is.
        of: String,
        /// The label as written.
        label: String,
        /// What is wrong with it.
        cause: policy_l7::LabelError,
    },
}

impl Inventory {
    /// Reads the endpoints, services and nodes of a configuration. `numbers` and `numbering` remember
    /// what was given out, so that a reload changes nothing that need not change.
    pub fn from_config(
        config: &config::Config,
        numbers: &mut EndpointNumbers,
        numbering: &mut policy_l7::identity::Numbering,
        mut host_addresses: Vec<IpAddr>,
    ) -> Result<Self, Error> {
        let endpoints = config
            .endpoints
            .iter()
            .map(|endpoint| Known::from_config(endpoint, config, numbers, numbering))
            .collect::<Result<_, _>>()?;
        let mut host = labels::of_node("host", None)?;
        let mut host_name = None;
        let mut nodes = Vec::new();
        for node in &config.nodes {
            if node.name == config.node {
                host = labels::of_node("host", Some(node))?;
                host_addresses.extend(&node.ips);
                host_name = Some(node.name.clone());
            } else {
                nodes.push(KnownNode::from_config(node, numbering)?);
            }
        }
        Ok(Self {
            endpoints,
            services: config.services.clone(),
            host_name,
            host,
            is_host_endpoint: config.datapath.host_firewall,
            host_addresses,
            nodes,
        })
    }

    /// The names of addresses; `prefixes` are the identities that policies give to CIDRs.
    pub fn table(&self, prefixes: &[(ipnet::IpNet, policy_l7::Identity)]) -> TableBuilder {
        let mut table = TableBuilder::default();
        for known in &self.endpoints {
            let endpoint = Arc::clone(&known.endpoint);
            if known.interface.is_some() {
                table.local(endpoint, known.addresses.clone(), known.interface.clone());
            } else {
                for address in &known.addresses {
                    table.address(*address, Arc::clone(&endpoint));
                }
            }
        }
        let host = Arc::new(Endpoint {
            id: EndpointId(if self.is_host_endpoint {
                HOST_ENDPOINT
            } else {
                0
            }),
            ..of_identity(&self.host_identity())
        });
        for address in &self.host_addresses {
            table.address(*address, Arc::clone(&host));
        }
        for node in &self.nodes {
            for address in &node.addresses {
                table.address(*address, Arc::clone(&node.endpoint));
            }
        }
        for (prefix, identity) in prefixes {
            table.prefix(*prefix, Arc::new(of_identity(identity)));
        }
        for service in &self.services {
            add_service(&mut table, service);
        }
        table
    }

    /// All identities that selectors can match, the reserved ones included.
    pub fn identities(&self) -> Vec<policy_l7::Identity> {
        let mut identities: BTreeMap<u32, policy_l7::Identity> = policy_l7::identity::reserved()
            .into_iter()
            .map(|identity| (identity.number, identity))
            .collect();
        for known in &self.endpoints {
            let number = known.endpoint.identity.0;
            let labels = known.labels.clone();
            identities.insert(number, policy_l7::Identity { number, labels });
        }
        for node in &self.nodes {
            let number = node.endpoint.identity.0;
            let labels = node.labels.clone();
            identities.insert(number, policy_l7::Identity { number, labels });
        }
        let host = self.host_identity();
        identities.insert(host.number, host);
        identities.into_values().collect()
    }

    /// Endpoints and what they serve, as the checks of policies want them.
    pub fn servers(&self) -> Vec<policy_l7::lint::Server> {
        let endpoints = self.endpoints.iter();
        endpoints
            .map(|known| policy_l7::lint::Server {
                name: format!("{}/{}", known.endpoint.namespace, known.endpoint.name),
                labels: known.labels.clone(),
                addresses: known.addresses.clone(),
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
            labels: self.host.clone(),
        }
    }

    /// Nodes that the configuration tells of, this one among them.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, IdentityNumber)> {
        let own = self.host_name.as_deref();
        let own = own.map(|name| (name, IdentityNumber::HOST));
        let others = self.nodes.iter();
        own.into_iter()
            .chain(others.map(|node| (node.name.as_str(), node.endpoint.identity)))
    }

    /// Services, as policies may name them.
    pub fn services(&self) -> Vec<policy_l7::Service> {
        let services = self.services.iter();
        services.map(labels::of_service).collect()
    }

    /// Whether an endpoint of this node has that number.
    pub fn has(&self, id: EndpointId) -> bool {
        self.endpoints.iter().any(|known| known.endpoint.id == id)
    }

    /// Whether this node itself is an endpoint, so that policies that select it are enforced.
    pub fn has_host_endpoint(&self) -> bool {
        self.is_host_endpoint
    }

    /// What ports are called, here and on other nodes.
    pub fn port_names(&self) -> Vec<policy_l7::PortName> {
        let names = self.endpoints.iter().flat_map(|known| {
            let named = known.named_ports.iter();
            named.map(|(name, port)| policy_l7::PortName {
                identity: known.endpoint.identity.0,
                name: name.clone(),
                port: *port,
            })
        });
        names.collect()
    }

    /// Endpoints of this node, itself among them where it is one, as the compiler wants them.
    pub fn local_endpoints(&self) -> Vec<policy_l7::Endpoint> {
        let local = self
            .endpoints
            .iter()
            .filter(|known| known.interface.is_some());
        local
            .map(|known| policy_l7::Endpoint {
                id: known.endpoint.id.0,
                identity: known.endpoint.identity.0,
                labels: known.labels.clone(),
                named_ports: known.named_ports.clone(),
            })
            .chain(self.is_host_endpoint.then(|| policy_l7::Endpoint {
                id: HOST_ENDPOINT,
                identity: policy_l7::identity::HOST,
                labels: self.host.clone(),
                named_ports: Vec::new(),
            }))
            .collect()
    }
}

impl Known {
    fn from_config(
        endpoint: &config::Endpoint,
        config: &config::Config,
        numbers: &mut EndpointNumbers,
        numbering: &mut policy_l7::identity::Numbering,
    ) -> Result<Self, Error> {
        let full_name = format!("{}/{}", endpoint.namespace, endpoint.name);
        let id = match &endpoint.interface {
            Some(_) => numbers
                .number(&endpoint.namespace, &endpoint.name)
                .ok_or_else(|| Error::NoNumber(full_name.clone()))?,
            None => EndpointId(0),
        };
        let labels = labels::of_endpoint(endpoint, config)?;
        let identity = IdentityNumber(numbering.number(&labels));
        Ok(Self {
            endpoint: Arc::new(Endpoint {
                id,
                identity,
                cluster: String::new(),
                namespace: endpoint.namespace.clone(),
                name: endpoint.name.clone(),
                labels: labels.iter().map(|label| label.to_string()).collect(),
                workload: endpoint
                    .workload
                    .clone()
                    .map(|(kind, name)| Workload { kind, name }),
            }),
            labels,
            addresses: endpoint.ips.clone(),
            interface: endpoint.interface.clone(),
            named_ports: endpoint.named_ports.clone().into_iter().collect(),
            ports: endpoint.ports.clone(),
        })
    }
}

/// Who addresses are that only have an identity.
pub fn of_identity(identity: &policy_l7::Identity) -> Endpoint {
    Endpoint {
        labels: identity
            .labels
            .iter()
            .map(|label| label.to_string())
            .collect(),
        ..reserved(IdentityNumber(identity.number), "")
    }
}

fn add_service(table: &mut TableBuilder, service: &config::Service) {
    let named = Arc::new(Service {
        name: service.name.clone(),
        namespace: service.namespace.clone(),
    });
    for ip in &service.ips {
        if service.ports.is_empty() {
            table.service(*ip, 0, Arc::clone(&named));
        }
        for port in &service.ports {
            table.service(*ip, *port, Arc::clone(&named));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(text: &str) -> Inventory {
        let config = config::read_config("l7d.yaml", text).expect("a configuration");
        let mut numbering = policy_l7::identity::Numbering::default();
        let mut numbers = EndpointNumbers::default();
        Inventory::from_config(&config, &mut numbers, &mut numbering, Vec::new())
            .expect("an inventory")
    }

    const NODES: &str = "node: a\nnodes:\n- {name: a, ips: [192.0.2.1], labels: {zone: x}}\n- {name: b, ips: [192.0.2.2], labels: {zone: x}}\n- {name: c, ips: [192.0.2.3]}\n";

    #[test]
    fn nodes_have_identities_with_their_labels() {
        let inventory = inventory(NODES);
        let table = inventory.table(&[]).build();
        let of = |ip: &str| table.endpoint(ip.parse().expect("an address"));
        assert_eq!(of("192.0.2.1").identity, IdentityNumber::HOST);
        assert_eq!(of("192.0.2.1").labels, ["node:zone=x", "reserved:host"]);
        let other = of("192.0.2.2");
        assert_eq!(other.labels, ["node:zone=x", "reserved:remote-node"]);
        assert_eq!(other.identity.0 >> 24, 2, "a number of this node's own");
        assert_eq!(
            other.workload.as_ref().map(|of| of.name.as_str()),
            Some("b")
        );
        let known = inventory.identities();
        let named: Vec<u32> = known.iter().map(|identity| identity.number).collect();
        assert!(named.contains(&other.identity.0), "selectors can find it");
        assert!(named.contains(&of("192.0.2.3").identity.0));
        let host = known.iter().find(|identity| identity.number == 1);
        assert!(host.is_some_and(|host| host.labels.has("node", "zone")));
    }

    #[test]
    fn this_node_is_an_endpoint_where_its_policies_are_enforced() {
        let policy = "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: p}\nspec: {nodeSelector: {matchLabels: {zone: x}}, ingress: [{}]}\n";
        let objects = policy_l7::read_objects("p", policy).expect("a policy");
        for (text, id) in [
            (NODES.to_owned(), 0),
            (format!("{NODES}datapath: {{hostFirewall: true}}\n"), 1),
        ] {
            let inventory = inventory(&text);
            assert_eq!(inventory.has_host_endpoint(), id != 0);
            let table = inventory.table(&[]).build();
            let host = table.endpoint("192.0.2.1".parse().expect("an address"));
            assert_eq!(host.id, EndpointId(id));
            let endpoints = inventory.local_endpoints();
            let compiled = policy_l7::compile(&policy_l7::Inputs {
                policies: &objects.policies,
                identities: &inventory.identities(),
                endpoints: &endpoints,
                ..policy_l7::Inputs::default()
            });
            let direction = policy_l7::Direction::Ingress;
            let world = policy_l7::identity::WORLD;
            let verdict = compiled.judge_connection(HOST_ENDPOINT, direction, world, 6, 22);
            let is_denied = matches!(verdict, policy_l7::ConnectionVerdict::Deny { .. });
            assert_eq!(is_denied, id != 0);
        }
    }

    #[test]
    fn policies_select_nodes_by_their_labels() {
        let inventory = inventory(&format!(
            "{NODES}endpoints: [{{name: web, ips: [10.0.0.1], interface: veth0}}]\n"
        ));
        let policy = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\nspec: {endpointSelector: {}, ingress: [{fromNodes: [{matchLabels: {zone: x}}]}]}\n";
        let objects = policy_l7::read_objects("p", policy).expect("a policy");
        let endpoints = inventory.local_endpoints();
        let compiled = policy_l7::compile(&policy_l7::Inputs {
            policies: &objects.policies,
            identities: &inventory.identities(),
            endpoints: &endpoints,
            ..policy_l7::Inputs::default()
        });
        let table = inventory.table(&[]).build();
        let passes = |ip: &str| {
            let from = table.endpoint(ip.parse().expect("an address"));
            let direction = policy_l7::Direction::Ingress;
            let verdict =
                compiled.judge_connection(endpoints[0].id, direction, from.identity.0, 6, 80);
            !matches!(verdict, policy_l7::ConnectionVerdict::Deny { .. })
        };
        assert!(passes("192.0.2.1"), "this node");
        assert!(passes("192.0.2.2"));
        assert!(!passes("192.0.2.3"), "without the label");
        assert!(!passes("198.51.100.1"), "no node");
    }

    #[test]
    fn a_service_is_told_as_policies_name_it() {
        let services = inventory(
            "services: [{name: db, namespace: shop, labels: {tier: x}, backends: [203.0.113.7]}, {name: web, selector: {app: web}}]\n",
        )
        .services();
        assert_eq!(services[0].backends.len(), 1);
        assert!(services[0].labels.has("k8s", "tier"));
        assert_eq!(services[1].selector["app"], "web");
        let both = "services: [{name: db, selector: {app: web}, backends: [203.0.113.7]}]\n";
        let error = config::read_config("l7d.yaml", both).expect_err("a fault");
        assert!(
            error.to_string().contains("the pods that it selects"),
            "{error}"
        );
    }
}
