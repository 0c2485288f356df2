//! Objects as the server sends them → what is kept of them.

mod network_status;

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::telling::Seen;
use super::wire::Named;
use crate::config;
use crate::host::cluster::{Kind, Name, Object, Pod, PolicyObject, Slice, Update};

/// What a step of following means.
pub(crate) trait Reduce: Send + 'static {
    /// What is told.
    type Update: Send + 'static;

    /// All objects are told from the beginning.
    fn begins(&mut self) -> Option<Self::Update>;
    /// All have been told.
    fn ends(&mut self) -> Option<Self::Update>;
    /// An object that is new or has changed.
    ///
    /// # Errors
    /// What is wrong with it: then it is told as gone.
    fn object(&mut self, json: &str) -> Result<Option<Self::Update>, String>;
    /// An object that is gone.
    fn gone(&mut self, namespace: &str, name: &str) -> Option<Self::Update>;
}

/// Objects of one kind, for an inventory and its policies.
#[derive(Debug)]
pub(crate) struct OfKind {
    pub(crate) kind: Kind,
    /// Where it is noted what objects say of themselves.
    pub(crate) seen: Option<Arc<Seen>>,
    /// Whether pods' annotations name addresses of theirs.
    pub(crate) network_status: bool,
}

impl Reduce for OfKind {
    type Update = Update;

    fn begins(&mut self) -> Option<Update> {
        if let Some(seen) = &self.seen {
            seen.begin(self.kind);
        }
        Some(Update::ListBegins(self.kind))
    }

    fn ends(&mut self) -> Option<Update> {
        Some(Update::ListEnds(self.kind))
    }

    fn object(&mut self, json: &str) -> Result<Option<Update>, String> {
        let named: Named<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let name = Name::new(&named.metadata.namespace, &named.metadata.name);
        if let Some(seen) = &self.seen {
            seen.put(self.kind, name.clone(), json);
        }
        Ok(Some(match self.reduce(json, &name)? {
            Some(object) => Update::Applied(object),
            None => Update::Deleted(self.kind, name),
        }))
    }

    fn gone(&mut self, namespace: &str, name: &str) -> Option<Update> {
        let name = Name::new(namespace, name);
        if let Some(seen) = &self.seen {
            seen.remove(self.kind, &name);
        }
        Some(Update::Deleted(self.kind, name))
    }
}

impl OfKind {
    /// Addresses in further networks. Where they cannot be read the pod keeps those of its status.
    fn add_further(&self, ips: &mut Vec<IpAddr>, json: &str, pod: &Name) {
        match network_status::addresses(json) {
            Ok(further) => {
                for ip in further {
                    if !ips.contains(&ip) {
                        ips.push(ip);
                    }
                }
            }
            Err(what) => tracing::warn!("{} {pod}: {what}; left out", self.kind),
        }
    }

    fn reduce(&self, json: &str, name: &Name) -> Result<Option<Object>, String> {
        let text = |error: config::SingleError| error.to_string();
        Ok(Some(match self.kind {
            Kind::Pod => {
                let Some(mut endpoint) = config::read_pod(json).map_err(text)? else {
                    return Ok(None);
                };
                if self.network_status {
                    self.add_further(&mut endpoint.ips, json, name);
                }
                let node = node_of(json)?;
                Object::Pod(Pod { endpoint, node })
            }
            Kind::Namespace => {
                let (name, labels) = config::read_namespace(json).map_err(text)?;
                Object::Namespace(name, labels)
            }
            Kind::Node => Object::Node(config::read_node(json).map_err(text)?),
            Kind::Service => Object::Service(config::read_service(json).map_err(text)?),
            Kind::EndpointSlice => match slice(json, name)? {
                Some(slice) => Object::EndpointSlice(slice),
                None => return Ok(None),
            },
            Kind::NetworkPolicy
            | Kind::CiliumNetworkPolicy
            | Kind::CiliumClusterwideNetworkPolicy
            | Kind::CiliumCidrGroup => Object::Policy(policy(self.kind, json, name)?),
        }))
    }
}

#[derive(Deserialize)]
struct Placed {
    #[serde(default)]
    spec: Place,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Place {
    node_name: Option<String>,
}

fn node_of(json: &str) -> Result<String, String> {
    let placed: Placed = serde_json::from_str(json).map_err(|error| error.to_string())?;
    Ok(placed.spec.node_name.unwrap_or_default())
}

#[derive(Deserialize)]
struct SliceObject {
    #[serde(default)]
    metadata: SliceMetadata,
    #[serde(default)]
    endpoints: Option<Vec<SliceEndpoint>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SliceMetadata {
    labels: Option<SliceLabels>,
}

#[derive(Default, Deserialize)]
struct SliceLabels {
    #[serde(rename = "kubernetes.io/service-name")]
    service: Option<String>,
}

#[derive(Deserialize)]
struct SliceEndpoint {
    #[serde(default)]
    addresses: Vec<String>,
}

/// An `EndpointSlice`; none for one of no service.
fn slice(json: &str, name: &Name) -> Result<Option<Slice>, String> {
    let object: SliceObject = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let service = object.metadata.labels.and_then(|labels| labels.service);
    let Some(service) = service.filter(|service| !service.is_empty()) else {
        return Ok(None);
    };
    let endpoints = object.endpoints.unwrap_or_default();
    let addresses = endpoints.iter().flat_map(|one| &one.addresses);
    Ok(Some(Slice {
        name: name.clone(),
        service,
        // Slices of names (`addressType: FQDN`) have none.
        addresses: addresses
            .filter_map(|ip| ip.parse::<IpAddr>().ok())
            .collect(),
    }))
}

/// What `kubectl apply` keeps of its own: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A policy as it was written, without what changes when nothing of it does.
fn policy(kind: Kind, json: &str, name: &Name) -> Result<PolicyObject, String> {
    let mut object: serde_json::Map<String, Value> =
        serde_json::from_str(json).map_err(|error| error.to_string())?;
    object.remove("status");
    let (mut uid, mut generation) = (String::new(), 0);
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(LAST_APPLIED);
        }
        let text = metadata.get("uid").and_then(Value::as_str);
        text.unwrap_or_default().clone_into(&mut uid);
        let number = metadata.get("generation").and_then(Value::as_i64);
        generation = number.unwrap_or_default();
    }
    // Items of lists of built-in kinds do not say what they are.
    if kind == Kind::NetworkPolicy {
        object.insert("apiVersion".to_owned(), "networking.k8s.io/v1".into());
        object.insert("kind".to_owned(), kind.name().into());
    }
    Ok(PolicyObject {
        kind,
        name: name.clone(),
        uid,
        generation,
        json: Value::Object(object).to_string(),
    })
}

#[cfg(test)]
mod tests;
