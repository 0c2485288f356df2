//! What surrounds endpoints: namespaces, services, nodes.

use std::collections::BTreeMap;

use policy_l7::yaml::{Cursor, Reader};

use super::values::{addresses, free_labels, items};
use crate::config::{Node, Service};

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
        .filter_map(|item| reader.parse(item, "a port"))
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
