//! An object of a cluster in one line of JSON, and back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::host::cluster::{Kind, Name, Object, Pod, PolicyObject, Slice};

/// Of a pod.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodLine {
    namespace: String,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    node: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ips: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ports: BTreeMap<String, u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workload: Option<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct NamespaceLine {
    name: String,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct NodeLine {
    name: String,
    labels: BTreeMap<String, String>,
    ips: Vec<IpAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceLine {
    namespace: String,
    name: String,
    ips: Vec<IpAddr>,
    /// Port, IP protocol, port of nodes.
    ports: Vec<(u16, u8, Option<u16>)>,
    labels: BTreeMap<String, String>,
    selector: BTreeMap<String, String>,
    backends: Vec<IpAddr>,
}

#[derive(Serialize, Deserialize)]
struct SliceLine {
    namespace: String,
    name: String,
    service: String,
    addresses: Vec<IpAddr>,
}

#[derive(Serialize, Deserialize)]
struct PolicyLine {
    namespace: String,
    name: String,
    uid: String,
    generation: i64,
    json: String,
}

/// Adds an object, and the end of its line.
///
/// # Errors
/// None that anybody has seen: texts and numbers can always be written.
pub fn write_object(object: Object, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match object {
        Object::Pod(pod) => serde_json::to_writer(&mut *into, &PodLine::from(pod)),
        Object::Namespace(name, labels) => {
            serde_json::to_writer(&mut *into, &NamespaceLine { name, labels })
        }
        Object::Node(config::Node { name, labels, ips }) => {
            serde_json::to_writer(&mut *into, &NodeLine { name, labels, ips })
        }
        Object::Service(service) => serde_json::to_writer(&mut *into, &ServiceLine::from(service)),
        Object::EndpointSlice(slice) => {
            let line = SliceLine {
                namespace: slice.name.namespace.into(),
                name: slice.name.name.into(),
                service: slice.service,
                addresses: slice.addresses,
            };
            serde_json::to_writer(&mut *into, &line)
        }
        Object::Policy(policy) => {
            let line = PolicyLine {
                namespace: policy.name.namespace.into(),
                name: policy.name.name.into(),
                uid: policy.uid,
                generation: policy.generation,
                json: policy.json,
            };
            serde_json::to_writer(&mut *into, &line)
        }
    }?;
    into.push(b'\n');
    Ok(())
}

/// The object of a line.
///
/// # Errors
/// What is wrong with it.
pub fn read_object(kind: Kind, line: &[u8]) -> Result<Object, serde_json::Error> {
    Ok(match kind {
        Kind::Pod => Object::Pod(serde_json::from_slice::<PodLine>(line)?.into()),
        Kind::Namespace => {
            let NamespaceLine { name, labels } = serde_json::from_slice(line)?;
            Object::Namespace(name, labels)
        }
        Kind::Node => {
            let NodeLine { name, labels, ips } = serde_json::from_slice(line)?;
            Object::Node(config::Node { name, labels, ips })
        }
        Kind::Service => Object::Service(serde_json::from_slice::<ServiceLine>(line)?.into()),
        Kind::EndpointSlice => {
            let line: SliceLine = serde_json::from_slice(line)?;
            Object::EndpointSlice(Slice {
                name: Name::new(&line.namespace, &line.name),
                service: line.service,
                addresses: line.addresses,
            })
        }
        Kind::NetworkPolicy
        | Kind::CiliumNetworkPolicy
        | Kind::CiliumClusterwideNetworkPolicy
        | Kind::CiliumCidrGroup => {
            let line: PolicyLine = serde_json::from_slice(line)?;
            Object::Policy(PolicyObject {
                kind,
                name: Name::new(&line.namespace, &line.name),
                uid: line.uid,
                generation: line.generation,
                json: line.json,
            })
        }
    })
}

impl From<Pod> for PodLine {
    fn from(Pod { endpoint, node }: Pod) -> Self {
        Self {
            namespace: endpoint.namespace,
            name: endpoint.name,
            node,
            labels: endpoint.labels,
            ips: endpoint.ips,
            ports: endpoint.named_ports,
            account: endpoint.service_account,
            workload: endpoint.workload,
        }
    }
}

impl From<PodLine> for Pod {
    fn from(line: PodLine) -> Self {
        Self {
            endpoint: config::Endpoint {
                name: line.name,
                namespace: line.namespace,
                labels: line.labels,
                ips: line.ips,
                interface: None,
                named_ports: line.ports,
                ports: std::collections::BTreeSet::new(),
                service_account: line.account,
                workload: line.workload,
                line: 0,
            },
            node: line.node,
        }
    }
}

impl From<config::Service> for ServiceLine {
    fn from(service: config::Service) -> Self {
        let ports = service.ports.iter();
        let ports = ports.map(|port| (port.port, port.protocol, port.node_port));
        Self {
            ports: ports.collect(),
            namespace: service.namespace,
            name: service.name,
            ips: service.ips,
            labels: service.labels,
            selector: service.selector,
            backends: service.backends,
        }
    }
}

impl From<ServiceLine> for config::Service {
    fn from(line: ServiceLine) -> Self {
        let ports = line.ports.into_iter();
        let port = |(port, protocol, node_port)| config::ServicePort {
            port,
            protocol,
            node_port,
        };
        Self {
            ports: ports.map(port).collect(),
            name: line.name,
            namespace: line.namespace,
            ips: line.ips,
            labels: line.labels,
            selector: line.selector,
            backends: line.backends,
        }
    }
}
