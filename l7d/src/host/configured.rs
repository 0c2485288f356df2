//! What the configuration file tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::cluster::Name;
use super::{Error, Inventory, Origin, labels};
use crate::config;

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
}

/// Names of what somebody has told of.
pub(super) fn names_of<T>(
    all: &BTreeMap<(Name, Origin), T>,
    origin: Origin,
) -> impl Iterator<Item = Name> {
    let keys = all.keys().filter(move |(_, of)| *of == origin);
    keys.map(|(name, _)| name.clone())
}
