//! What surrounds endpoints: namespaces, services, nodes.

use std::collections::BTreeMap;

use policy_l7::yaml::{Cursor, Map, Reader};

use super::values::{addresses, free_labels, items};
use crate::config::{Node, Service, ServicePort};

/// A namespace and its labels.
pub(super) fn namespace(
    reader: &mut Reader,
    at: &Cursor<'_>,
) -> Option<(String, BTreeMap<String, String>)> {
    let mut map = reader.map(at)?;
    let name = map.need(reader, "name").and_then(|at| reader.text(&at));
    let labels = free_labels(reader, &mut map, "labels");
    map.end(reader);
    Some((name?.to_owned(), labels))
}

/// A service; what stands behind it is told by labels or by addresses.
pub(super) fn service(reader: &mut Reader, at: &Cursor<'_>) -> Option<Service> {
    let mut map = reader.map(at)?;
    let name = map.need(reader, "name").and_then(|at| reader.text(&at));
    let namespace = map
        .get("namespace")
        .and_then(|at| reader.text(&at))
        .unwrap_or("default");
    let ips = addresses(reader, &mut map, "ips");
    let ports = items(reader, &mut map, "ports");
    let ports = ports
        .iter()
        .filter_map(|item| service_port(reader, item))
        .collect();
    let labels = free_labels(reader, &mut map, "labels");
    let selector = free_labels(reader, &mut map, "selector");
    let backends = addresses(reader, &mut map, "backends");
    if let Some(at) = map.get("backends").filter(|_| !selector.is_empty()) {
        let message = "the backends of a service with a `selector` are the pods that it selects";
        reader.fault(&at, message);
    }
    map.end(reader);
    Some(Service {
        name: name?.to_owned(),
        namespace: namespace.to_owned(),
        ips,
        ports,
        labels,
        selector,
        backends,
    })
}

/// Protocols that a port of a service may have, by their IP protocol numbers.
const PROTOCOLS: [(&str, u8); 3] = [("SCTP", 132), ("TCP", 6), ("UDP", 17)];

/// A port's number, in any protocol, or a port with its protocol.
fn service_port(reader: &mut Reader, at: &Cursor<'_>) -> Option<ServicePort> {
    if at.is_scalar() {
        let port = reader.parse(at, "a port")?;
        return Some(ServicePort {
            port,
            protocol: 0,
            node_port: None,
        });
    }
    let mut map = reader.map(at)?;
    let port = kubernetes_port(reader, &mut map);
    map.end(reader);
    port
}

/// What `spec.ports` of a service has of a port.
pub(super) fn kubernetes_port(reader: &mut Reader, map: &mut Map<'_>) -> Option<ServicePort> {
    let port = map
        .need(reader, "port")
        .and_then(|at| reader.parse(&at, "a port"));
    let protocol = map
        .get("protocol")
        .and_then(|at| reader.choice(&at, &PROTOCOLS));
    let node_port = map
        .get("nodePort")
        .and_then(|at| reader.parse(&at, "a port"));
    Some(ServicePort {
        port: port?,
        protocol: protocol.unwrap_or(6),
        node_port,
    })
}

/// A node of the cluster.
pub(super) fn node(reader: &mut Reader, at: &Cursor<'_>) -> Option<Node> {
    let mut map = reader.map(at)?;
    let name = map.need(reader, "name").and_then(|at| reader.text(&at));
    let labels = free_labels(reader, &mut map, "labels");
    let ips = addresses(reader, &mut map, "ips");
    map.end(reader);
    Some(Node {
        name: name?.to_owned(),
        labels,
        ips,
    })
}
