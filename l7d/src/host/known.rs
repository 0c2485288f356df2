//! An endpoint, as an inventory knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy_l7::{Labels, PortName};

use super::Error;
use super::in_use::{InUse, Range, Shared};
use crate::config;
use crate::identity::EndpointNumbers;
use crate::record::{Endpoint, EndpointId, Workload};

/// An endpoint of this node or another one.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) labels: Labels,
    pub(super) addresses: Box<[IpAddr]>,
    pub(super) interface: Option<config::Interface>,
    pub(super) named_ports: Box<[(String, u16)]>,
    pub(super) ports: BTreeSet<(u8, u16)>,
}

/// What numbers an endpoint needs are taken from.
pub(super) struct Numbers<'i> {
    pub(super) endpoints: &'i mut EndpointNumbers,
    pub(super) identities: &'i mut InUse,
}

impl Numbers<'_> {
    /// The endpoint's number on this node; 0 for one that is elsewhere.
    fn endpoint(&mut self, endpoint: &config::Endpoint) -> Result<EndpointId, Error> {
        let (namespace, name) = (&endpoint.namespace, &endpoint.name);
        if endpoint.interface.is_none() {
            return Ok(EndpointId(0));
        }
        let number = self.endpoints.number(namespace, name);
        number.ok_or_else(|| Error::NoNumber(format!("{namespace}/{name}")))
    }

    /// Gives back what an endpoint had.
    pub(super) fn release(&mut self, known: &Known) {
        self.identities.release(known.endpoint.identity);
        if known.endpoint.id != EndpointId(0) {
            self.endpoints.release(known.endpoint.id);
        }
    }
}

impl Known {
    /// An endpoint with these labels.
    pub(super) fn new(
        endpoint: config::Endpoint,
        labels: Labels,
        cluster: &str,
        numbers: &mut Numbers<'_>,
    ) -> Result<Self, Error> {
        let id = numbers.endpoint(&endpoint)?;
        let shared = numbers.identities.acquire(labels, Range::Cluster);
        let workload = endpoint.workload;
        Ok(Self {
            endpoint: Arc::new(Endpoint {
                id,
                identity: shared.number,
                cluster: cluster.to_owned(),
                namespace: endpoint.namespace,
                name: endpoint.name,
                labels: shared.texts,
                workload: workload.map(|(kind, name)| Workload { kind, name }),
            }),
            labels: shared.labels,
            addresses: endpoint.ips.into(),
            interface: endpoint.interface,
            named_ports: endpoint.named_ports.into_iter().collect(),
            ports: endpoint.ports,
        })
    }

    /// The same endpoint with another identity.
    pub(super) fn with_identity(&self, shared: Shared) -> Self {
        Self {
            endpoint: Arc::new(Endpoint {
                identity: shared.number,
                labels: shared.texts,
                ..Endpoint::clone(&self.endpoint)
            }),
            labels: shared.labels,
            ..self.clone()
        }
    }

    /// Whether nothing differs but who holds it.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.addresses == other.addresses
            && self.interface == other.interface
            && self.named_ports == other.named_ports
            && self.ports == other.ports
    }

    /// Whether it is on this node.
    pub(super) fn is_local(&self) -> bool {
        self.interface.is_some()
    }

    /// What its ports are called.
    pub(super) fn port_names(&self) -> impl Iterator<Item = PortName> {
        self.named_ports.iter().map(|(name, port)| PortName {
            identity: self.endpoint.identity.0,
            name: name.clone(),
            port: *port,
        })
    }
}

/// What the ports of identities are called, each as long as any endpoint calls it so.
#[derive(Debug, Default)]
pub(super) struct PortNames {
    counted: BTreeMap<PortName, usize>,
    has_changed: bool,
}

impl PortNames {
    pub(super) fn add(&mut self, known: &Known) {
        for name in known.port_names() {
            let users = self.counted.entry(name).or_default();
            *users += 1;
            self.has_changed |= *users == 1;
        }
    }

    pub(super) fn remove(&mut self, known: &Known) {
        for name in known.port_names() {
            let Some(users) = self.counted.get_mut(&name) else {
                continue;
            };
            *users -= 1;
            if *users == 0 {
                self.counted.remove(&name);
                self.has_changed = true;
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PortName> {
        self.counted.keys()
    }

    /// Whether any has come or gone since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }
}
