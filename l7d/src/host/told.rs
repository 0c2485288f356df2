//! What a cluster tells becomes part of an inventory.

use std::collections::BTreeSet;

use super::cluster::{Kind, Name, Object, Pod, Update};
use super::configured::names_of;
use super::{Error, Inventory, Origin};
use crate::config;

/// The service by which pods find the API server.
const API_SERVER: (&str, &str) = ("default", "kubernetes");

impl Inventory {
    /// Takes over what a cluster tells of who is there. What cannot be used is told by
    /// [`Inventory::troubles`]; policies are not looked at.
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::ListBegins(kind) => self.begin_list(kind),
            Update::ListEnds(kind) => self.end_list(kind),
            Update::Deleted(kind, name) => {
                self.name_in_list(kind, &name);
                self.delete(kind, name);
            }
            Update::Applied(object) => {
                let Some((kind, name)) = object.about() else {
                    return;
                };
                self.name_in_list(kind, &name);
                match self.put(name.clone(), object) {
                    Ok(()) => {
                        self.troubles.remove(&(kind, name));
                    }
                    Err(error) => {
                        self.changed.any = true;
                        self.troubles.insert((kind, name), error.to_string());
                    }
                }
            }
        }
    }

    /// What of the cluster cannot be used, and why.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        let troubles = self.troubles.iter();
        troubles.map(|((kind, name), trouble)| format!("{kind} {name}: {trouble}"))
    }

    fn put(&mut self, name: Name, object: Object) -> Result<(), Error> {
        match object {
            Object::Pod(pod) => {
                let endpoint = self.placed(pod);
                self.put_endpoint(name, Origin::Cluster, endpoint)
            }
            Object::Namespace(namespace, labels) => {
                self.set_namespace(&namespace, Origin::Cluster, Some(labels));
                Ok(())
            }
            Object::Node(node) => self.put_node(Origin::Cluster, node),
            Object::Service(service) => {
                self.put_service(name, Origin::Cluster, service);
                Ok(())
            }
            Object::EndpointSlice(slice) => {
                if self.slices.get(&name) == Some(&slice) {
                    return Ok(());
                }
                self.slices.insert(name, slice);
                self.renew_slices()
            }
            Object::Policy(_) => Ok(()),
        }
    }

    /// A pod of this node is to be found where its addresses are.
    fn placed(&self, pod: Pod) -> config::Endpoint {
        let is_here = pod.node == self.host.name && !pod.endpoint.ips.is_empty();
        config::Endpoint {
            interface: is_here.then_some(config::Interface::Found),
            // Only the checks of policy files ask for these.
            ports: BTreeSet::new(),
            ..pod.endpoint
        }
    }

    fn delete(&mut self, kind: Kind, name: Name) {
        self.troubles.remove(&(kind, name.clone()));
        match kind {
            Kind::Pod => self.remove_endpoint(name, Origin::Cluster),
            Kind::Namespace => self.set_namespace(&name.name, Origin::Cluster, None),
            Kind::Node if *name.name == *self.host.name => {
                self.host.told.remove(&Origin::Cluster);
                self.note(Kind::Node, name, Self::renew_host);
            }
            Kind::Node => self.remove_node(&name.name, Origin::Cluster),
            Kind::Service => self.remove_service(name, Origin::Cluster),
            Kind::EndpointSlice => {
                if self.slices.remove(&name).is_some() {
                    self.note(kind, name, Self::renew_slices);
                }
            }
            Kind::NetworkPolicy
            | Kind::CiliumNetworkPolicy
            | Kind::CiliumClusterwideNetworkPolicy
            | Kind::CiliumCidrGroup => {}
        }
    }

    /// Does something, and notes what of it is not possible.
    fn note(
        &mut self,
        kind: Kind,
        name: Name,
        change: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) {
        if let Err(error) = change(self) {
            self.troubles.insert((kind, name), error.to_string());
        }
    }

    /// Backends of services have changed; those of one are where the API server is.
    fn renew_slices(&mut self) -> Result<(), Error> {
        self.changed.services = true;
        self.changed.any = true;
        let (namespace, service) = API_SERVER;
        let slices = self.slices.values();
        let slices =
            slices.filter(|slice| *slice.name.namespace == *namespace && slice.service == service);
        let addresses = slices.flat_map(|slice| &slice.addresses).copied().collect();
        self.set_api_servers(addresses)
    }

    fn begin_list(&mut self, kind: Kind) {
        let cluster = Origin::Cluster;
        let known: BTreeSet<Name> = match kind {
            Kind::Pod => names_of(&self.endpoints, cluster).collect(),
            Kind::Service => names_of(&self.services, cluster).collect(),
            Kind::EndpointSlice => self.slices.keys().cloned().collect(),
            Kind::Namespace => {
                let keys = self.namespaces.keys();
                let keys = keys.filter(|(_, origin)| *origin == cluster);
                keys.map(|(name, _)| Name::new("", name)).collect()
            }
            Kind::Node => {
                let keys = self.nodes.keys();
                let keys = keys.filter(|(_, origin)| *origin == cluster);
                let told = self.host.told.get(&cluster);
                keys.map(|(name, _)| name)
                    .chain(told.map(|node| &node.name))
                    .map(|name| Name::new("", name))
                    .collect()
            }
            Kind::NetworkPolicy
            | Kind::CiliumNetworkPolicy
            | Kind::CiliumClusterwideNetworkPolicy
            | Kind::CiliumCidrGroup => BTreeSet::new(),
        };
        self.unnamed.insert(kind, known);
    }

    fn end_list(&mut self, kind: Kind) {
        let gone = self.unnamed.remove(&kind).unwrap_or_default();
        for name in gone {
            self.delete(kind, name);
        }
    }

    fn name_in_list(&mut self, kind: Kind, name: &Name) {
        if let Some(unnamed) = self.unnamed.get_mut(&kind) {
            unnamed.remove(name);
        }
    }
}

impl Object {
    /// Which object of what kind it is; none for policies.
    fn about(&self) -> Option<(Kind, Name)> {
        Some(match self {
            Self::Pod(pod) => {
                let name = Name::new(&pod.endpoint.namespace, &pod.endpoint.name);
                (Kind::Pod, name)
            }
            Self::Namespace(name, _) => (Kind::Namespace, Name::new("", name)),
            Self::Node(node) => (Kind::Node, Name::new("", &node.name)),
            Self::Service(service) => {
                let name = Name::new(&service.namespace, &service.name);
                (Kind::Service, name)
            }
            Self::EndpointSlice(slice) => (Kind::EndpointSlice, slice.name.clone()),
            Self::Policy(_) => return None,
        })
    }
}
