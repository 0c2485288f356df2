//! Endpoints as they come, change and go, and their namespaces.

use std::collections::BTreeMap;

use super::cluster::{Kind, Name};
use super::in_use::Range;
use super::known::{Known, Numbers};
use super::{Error, Inventory, Origin, labels};
use crate::config;
use crate::record::EndpointId;

impl Inventory {
    pub(super) fn put_endpoint(
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
    pub(super) fn put_known(&mut self, name: Name, origin: Origin, known: Known) {
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

    pub(super) fn remove_endpoint(&mut self, name: Name, origin: Origin) {
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
    pub(super) fn namespace(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        let of = |origin| self.namespaces.get(&(name.to_owned(), origin));
        of(Origin::Cluster).or_else(|| of(Origin::File))
    }

    pub(super) fn set_namespace(
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
}
