//! Who is who: endpoints, services, nodes and this host's own addresses, from the configuration file and
//! from a cluster.
//!
//! The result has two forms that are made together so that they cannot disagree: the identity
//! [`Table`](crate::identity::Table) that names addresses in flows, and the [`policy_l7::Inputs`] of the policy compiler.
//! Everything is kept once, and a change costs what it changes: a cluster may have 150,000 pods.

mod claims;
pub mod cluster;
mod in_use;
pub mod interfaces;
mod known;
mod labels;
mod node;
mod remembered;
mod told;
#[cfg(test)]
mod told_tests;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use l7d_ebpf::maps::HOST_ENDPOINT;
use policy_l7::Labels;

pub use remembered::Page;

use claims::Claims;
use cluster::{Kind, Name, Slice};
use in_use::{InUse, Range};
use known::{Known, Numbers, PortNames};
use node::KnownNode;

use crate::config;
use crate::identity::{EndpointNumbers, Services, reserved};
use crate::record::{Endpoint, EndpointId, IdentityNumber};

/// Who told of something. Both may tell of the same name; each only takes back what it has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// The configuration file.
    File,
    /// The cluster.
    Cluster,
}

/// Everything known about addresses and endpoints at one moment.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The cluster's name.
    cluster: String,
    numbers: EndpointNumbers,
    identities: InUse,
    namespaces: BTreeMap<(String, Origin), BTreeMap<String, String>>,
    endpoints: BTreeMap<(Name, Origin), Known>,
    services: BTreeMap<(Name, Origin), config::Service>,
    slices: BTreeMap<Name, Slice>,
    /// All but this one.
    nodes: BTreeMap<(String, Origin), KnownNode>,
    host: Host,
    /// Where the API server is.
    api_servers: BTreeSet<IpAddr>,
    /// Those that are no node's.
    outside: Option<Outside>,
    addresses: Claims,
    service_table: Arc<Services>,
    port_names: PortNames,
    changed: Changed,
    /// Endpoints that have come (true) or gone since this was last asked.
    moved: BTreeMap<Name, bool>,
    /// What lists of a cluster that are under way have not named yet.
    unnamed: BTreeMap<Kind, BTreeSet<Name>>,
    /// What of the cluster cannot be used, and why.
    troubles: BTreeMap<(Kind, Name), String>,
}

/// This node.
#[derive(Debug, Default)]
struct Host {
    name: String,
    /// What was told of it, by whom.
    told: BTreeMap<Origin, config::Node>,
    labels: Labels,
    endpoint: Option<Arc<Endpoint>>,
    /// Found on its interfaces.
    found: BTreeSet<IpAddr>,
    addresses: BTreeSet<IpAddr>,
    /// Whether it is an endpoint, so that policies that select it are enforced.
    is_endpoint: bool,
}

/// The API server, where it is outside the cluster.
#[derive(Debug)]
struct Outside {
    endpoint: Arc<Endpoint>,
    addresses: BTreeSet<IpAddr>,
}

/// What has changed since it was last asked, beside who has which address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what has changed is a set of independent facts"
)]
pub struct Changed {
    /// Identities have come or gone.
    pub identities: bool,
    /// Endpoints of this node.
    pub local: bool,
    /// Services.
    pub services: bool,
    /// What ports are called.
    pub port_names: bool,
    /// Nodes, this one among them.
    pub nodes: bool,
    /// Anything at all.
    pub any: bool,
}

impl Changed {
    /// Everything may have.
    pub const ALL: Self = Self {
        identities: true,
        local: true,
        services: true,
        port_names: true,
        nodes: true,
        any: true,
    };

    /// What policies are compiled from has changed.
    pub const fn needs_compiling(self) -> bool {
        self.identities || self.local || self.services || self.port_names
    }
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
    /// Reads the endpoints, services and nodes of a configuration.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn from_config(
        config: &config::Config,
        host_addresses: Vec<IpAddr>,
    ) -> Result<Self, Error> {
        let mut inventory = Self::default();
        inventory.set_config(config, host_addresses)?;
        Ok(inventory)
    }

    /// Replaces what the configuration has told; what has stayed the same keeps its numbers, and what the
    /// cluster has told stays.
    ///
    /// # Errors
    /// What cannot be used; nothing has changed then, unless there are more endpoints than numbers.
    pub fn set_config(
        &mut self,
        config: &config::Config,
        host_addresses: Vec<IpAddr>,
    ) -> Result<(), Error> {
        Self::check(config)?;
        self.changed.any = true;
        self.cluster.clone_from(&config.cluster);
        self.host.name.clone_from(&config.node);
        self.host.is_endpoint = config.datapath.host_firewall;
        self.host.found = host_addresses.into_iter().collect();
        self.set_namespaces(config);
        self.set_endpoints(config)?;
        self.set_nodes(config)?;
        self.set_services(config);
        self.renew_host()?;
        self.renew_service_table();
        Ok(())
    }

    /// Finds out whether everything can be used.
    fn check(config: &config::Config) -> Result<(), Error> {
        for endpoint in &config.endpoints {
            let of_namespace = config.namespaces.get(&endpoint.namespace);
            labels::of_endpoint(endpoint, of_namespace, &config.cluster)?;
        }
        for node in &config.nodes {
            labels::of_node(&[], Some(node))?;
        }
        Ok(())
    }

    fn set_namespaces(&mut self, config: &config::Config) {
        let of_file = |key: &&(String, Origin)| key.1 == Origin::File;
        let keys = self.namespaces.keys().filter(of_file);
        let mut names: BTreeSet<String> = keys.map(|(name, _)| name.clone()).collect();
        names.extend(config.namespaces.keys().cloned());
        for name in names {
            let labels = config.namespaces.get(&name).cloned();
            self.set_namespace(&name, Origin::File, labels);
        }
    }

    fn set_endpoints(&mut self, config: &config::Config) -> Result<(), Error> {
        let mut gone: BTreeSet<Name> = names_of(&self.endpoints, Origin::File).collect();
        for endpoint in &config.endpoints {
            let name = Name::new(&endpoint.namespace, &endpoint.name);
            self.put_endpoint(name.clone(), Origin::File, endpoint.clone())?;
            gone.remove(&name);
        }
        for name in gone {
            self.remove_endpoint(name, Origin::File);
        }
        Ok(())
    }

    fn set_nodes(&mut self, config: &config::Config) -> Result<(), Error> {
        let former = self.nodes.keys();
        let former = former.filter(|(_, origin)| *origin == Origin::File);
        let mut gone: BTreeSet<String> = former.map(|(name, _)| name.clone()).collect();
        self.host.told.remove(&Origin::File);
        for node in &config.nodes {
            self.put_node(Origin::File, node.clone())?;
            gone.remove(&node.name);
        }
        for name in gone {
            self.remove_node(&name, Origin::File);
        }
        Ok(())
    }

    fn set_services(&mut self, config: &config::Config) {
        let mut gone: BTreeSet<Name> = names_of(&self.services, Origin::File).collect();
        for service in &config.services {
            let name = Name::new(&service.namespace, &service.name);
            gone.remove(&name);
            self.put_service(name, Origin::File, service.clone());
        }
        for name in gone {
            self.remove_service(name, Origin::File);
        }
    }

    /// Endpoints that have come (true) or gone since this was last asked.
    pub fn take_moved(&mut self) -> BTreeMap<Name, bool> {
        std::mem::take(&mut self.moved)
    }

    /// What has changed since this was last asked.
    pub fn take_changed(&mut self) -> Changed {
        let mut changed = std::mem::take(&mut self.changed);
        changed.identities |= self.identities.take_changed();
        changed.port_names |= self.port_names.take_changed();
        if changed.services {
            self.renew_service_table();
        }
        changed
    }

    fn put_endpoint(
        &mut self,
        name: Name,
        origin: Origin,
        endpoint: config::Endpoint,
    ) -> Result<(), Error> {
        let of_namespace = self.namespace(&endpoint.namespace);
        let labels = labels::of_endpoint(&endpoint, of_namespace, &self.cluster)?;
        let mut numbers = Numbers {
            endpoints: &mut self.numbers,
            identities: &mut self.identities,
        };
        let known = Known::new(endpoint, labels, &self.cluster, &mut numbers)?;
        self.put_known(name, origin, known);
        Ok(())
    }

    /// Takes over a new state of an endpoint. Addresses that it keeps stay whose they are: a pod that has
    /// ended may have lost its address to another one, and is told of once more.
    fn put_known(&mut self, name: Name, origin: Origin, known: Known) {
        let key = (name, origin);
        let former = self.endpoints.get(&key);
        if let Some(former) = former.filter(|former| former.is_same(&known)) {
            self.identities.release(former.endpoint.identity);
            return;
        }
        self.changed.any = true;
        self.changed.local |= known.is_local();
        self.port_names.add(&known);
        if let Some(former) = self.endpoints.remove(&key) {
            self.replace_known(&former, &known);
        } else {
            self.moved.insert(key.0.clone(), true);
            for ip in &known.addresses {
                self.addresses.add(*ip, &known.endpoint);
            }
        }
        self.endpoints.insert(key, known);
    }

    /// Gives back what an endpoint had and no longer has.
    fn replace_known(&mut self, former: &Known, known: &Known) {
        for ip in &former.addresses {
            if known.addresses.contains(ip) {
                self.addresses
                    .replace(*ip, &former.endpoint, &known.endpoint);
            } else {
                self.addresses.remove(*ip, &former.endpoint);
            }
        }
        for ip in &known.addresses {
            if !former.addresses.contains(ip) {
                self.addresses.add(*ip, &known.endpoint);
            }
        }
        self.changed.local |= former.is_local();
        self.port_names.remove(former);
        self.identities.release(former.endpoint.identity);
        if former.endpoint.id != known.endpoint.id && former.endpoint.id != EndpointId(0) {
            self.numbers.release(former.endpoint.id);
        }
    }

    fn remove_endpoint(&mut self, name: Name, origin: Origin) {
        let Some(known) = self.endpoints.remove(&(name.clone(), origin)) else {
            return;
        };
        let has_other = |origin| self.endpoints.contains_key(&(name.clone(), origin));
        let is_there = has_other(Origin::File) || has_other(Origin::Cluster);
        self.moved.insert(name, is_there);
        for ip in &known.addresses {
            self.addresses.remove(*ip, &known.endpoint);
        }
        self.changed.any = true;
        self.changed.local |= known.is_local();
        self.port_names.remove(&known);
        let mut numbers = Numbers {
            endpoints: &mut self.numbers,
            identities: &mut self.identities,
        };
        numbers.release(&known);
    }

    /// Labels of a namespace; the cluster's word counts more.
    fn namespace(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        let of = |origin| self.namespaces.get(&(name.to_owned(), origin));
        of(Origin::Cluster).or_else(|| of(Origin::File))
    }

    fn set_namespace(
        &mut self,
        name: &str,
        origin: Origin,
        labels: Option<BTreeMap<String, String>>,
    ) {
        let key = (name.to_owned(), origin);
        if self.namespaces.get(&key) == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => self.namespaces.insert(key, labels),
            None => self.namespaces.remove(&key),
        };
        self.renew_namespace(name);
    }

    /// Gives the pods of a namespace its labels.
    fn renew_namespace(&mut self, namespace: &str) {
        let first = (Name::new(namespace, ""), Origin::File);
        let inside = self.endpoints.range(first..);
        let inside = inside.take_while(|((name, _), _)| *name.namespace == *namespace);
        let inside: Vec<(Name, Origin)> = inside.map(|(key, _)| key.clone()).collect();
        for key in inside {
            let Some(known) = self.endpoints.get(&key) else {
                continue;
            };
            match labels::in_namespace(&known.labels, namespace, self.namespace(namespace)) {
                Ok(labels) if labels != known.labels => {
                    let shared = self.identities.acquire(labels, Range::Cluster);
                    let known = known.with_identity(shared);
                    self.put_known(key.0, key.1, known);
                }
                Ok(_same) => {}
                Err(error) => {
                    let of = (Kind::Namespace, Name::new("", namespace));
                    self.troubles.insert(of, error.to_string());
                }
            }
        }
    }

    fn put_service(&mut self, name: Name, origin: Origin, service: config::Service) {
        let key = (name, origin);
        if self.services.get(&key) != Some(&service) {
            self.services.insert(key, service);
            self.changed.services = true;
            self.changed.any = true;
        }
    }

    fn remove_service(&mut self, name: Name, origin: Origin) {
        if self.services.remove(&(name, origin)).is_some() {
            self.changed.services = true;
            self.changed.any = true;
        }
    }

    fn put_node(&mut self, origin: Origin, node: config::Node) -> Result<(), Error> {
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

    fn remove_node(&mut self, name: &str, origin: Origin) {
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
    fn renew_host(&mut self) -> Result<(), Error> {
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
    fn set_api_servers(&mut self, addresses: BTreeSet<IpAddr>) -> Result<(), Error> {
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

/// Names of what somebody has told of.
fn names_of<T>(all: &BTreeMap<(Name, Origin), T>, origin: Origin) -> impl Iterator<Item = Name> {
    let keys = all.keys().filter(move |(_, of)| *of == origin);
    keys.map(|(name, _)| name.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(text: &str) -> Inventory {
        let config = config::read_config("l7d.yaml", text).expect("a configuration");
        Inventory::from_config(&config, Vec::new()).expect("an inventory")
    }

    const NODES: &str = "node: a\nnodes:\n- {name: a, ips: [192.0.2.1], labels: {zone: x}}\n- {name: b, ips: [192.0.2.2], labels: {zone: x}}\n- {name: c, ips: [192.0.2.3]}\n";

    #[test]
    fn nodes_have_identities_with_their_labels() {
        let inventory = inventory(NODES);
        let table = inventory.table(&[]).build();
        let of = |ip: &str| table.endpoint(ip.parse().expect("an address"));
        assert_eq!(of("192.0.2.1").identity, IdentityNumber::HOST);
        assert_eq!(*of("192.0.2.1").labels, ["node:zone=x", "reserved:host"]);
        let other = of("192.0.2.2");
        assert_eq!(*other.labels, ["node:zone=x", "reserved:remote-node"]);
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
        let named = |name: &str| services.iter().find(|service| service.name == name);
        let (db, web) = (
            named("db").expect("a service"),
            named("web").expect("a service"),
        );
        assert_eq!(db.backends.len(), 1);
        assert!(db.labels.has("k8s", "tier"));
        assert_eq!(web.selector["app"], "web");
        let both = "services: [{name: db, selector: {app: web}, backends: [203.0.113.7]}]\n";
        let error = config::read_config("l7d.yaml", both).expect_err("a fault");
        assert!(
            error.to_string().contains("the pods that it selects"),
            "{error}"
        );
    }
}
