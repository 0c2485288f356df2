//! Who is who: endpoints, services, nodes and this host's own addresses, from the configuration file and
//! from a cluster.
//!
//! The result has two forms that are made together so that they cannot disagree: the identity
//! [`Table`](crate::identity::Table) that names addresses in flows, and the [`policy_l7::Inputs`] of the policy compiler.
//! Everything is kept once, and a change costs what it changes: a cluster may have 150,000 pods.

mod claims;
pub mod cluster;
mod configured;
mod endpoints;
mod in_use;
pub mod interfaces;
mod known;
mod labels;
mod node;
mod nodes;
mod remembered;
mod told;
#[cfg(test)]
mod told_tests;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use remembered::Page;

use claims::Claims;
use cluster::{Kind, Name, Slice};
use in_use::InUse;
use known::{Known, PortNames};
use node::KnownNode;
use nodes::{Host, Outside};

use crate::config;
use crate::identity::{EndpointNumbers, Services, reserved};
use crate::record::{Endpoint, IdentityNumber};

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
    use l7d_ebpf::maps::HOST_ENDPOINT;

    use super::*;
    use crate::record::EndpointId;

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
