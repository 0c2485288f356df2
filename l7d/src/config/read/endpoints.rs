//! Endpoints, and ports that are watched.

use std::collections::{BTreeMap, BTreeSet};

use policy_l7::yaml::{Cursor, Map, Reader};

use super::values::{free_entries, free_labels};
use crate::config::{Endpoint, Interface, Transport, Visibility, WatchedPort};

const TRANSPORTS: [(&str, Transport); 2] = [("TCP", Transport::Tcp), ("UDP", Transport::Udp)];
const MODES: [(&str, Visibility); 2] = [("tap", Visibility::Tap), ("proxy", Visibility::Proxy)];

pub(super) fn watched_port(reader: &mut Reader, at: &Cursor<'_>) -> Option<WatchedPort> {
    let mut map = reader.map(at)?;
    let (port, transport) = port(reader, &mut map);
    let written = map.get("mode");
    let mode = written.as_ref().and_then(|at| reader.choice(at, &MODES));
    if let (Some(at), Some(Visibility::Tap), Transport::Udp) = (&written, mode, transport) {
        reader.fault(at, "datagrams are seen by the proxy only");
    }
    let usual = match transport {
        Transport::Tcp => Visibility::Tap,
        Transport::Udp => Visibility::Proxy,
    };
    map.end(reader);
    port.map(|port| WatchedPort {
        port,
        transport,
        mode: mode.unwrap_or(usual),
    })
}

fn port(reader: &mut Reader, map: &mut Map<'_>) -> (Option<u16>, Transport) {
    let port = map
        .need(reader, "port")
        .and_then(|at| reader.parse(&at, "a port"));
    let transport = map
        .get("protocol")
        .and_then(|at| reader.choice(&at, &TRANSPORTS));
    (port, transport.unwrap_or_default())
}

/// A port of this host's processes, which are seen by the proxy: a number of TCP, or a port with its
/// protocol.
pub(super) fn host_port(reader: &mut Reader, at: &Cursor<'_>) -> Option<WatchedPort> {
    let (port, transport) = if at.is_scalar() {
        (reader.parse(at, "a port"), Transport::Tcp)
    } else {
        let mut map = reader.map(at)?;
        let read = port(reader, &mut map);
        map.end(reader);
        read
    };
    port.map(|port| WatchedPort {
        port,
        transport,
        mode: Visibility::Proxy,
    })
}

pub(super) fn endpoint(
    reader: &mut Reader,
    at: &Cursor<'_>,
    known: &[Endpoint],
) -> Option<Endpoint> {
    let mut map = reader.map(at)?;
    let name = map.need(reader, "name").and_then(|at| reader.text(&at));
    let namespace = map
        .get("namespace")
        .and_then(|at| reader.text(&at))
        .unwrap_or("default");
    let mut endpoint = Endpoint {
        name: name.unwrap_or_default().to_owned(),
        namespace: namespace.to_owned(),
        labels: BTreeMap::new(),
        ips: Vec::new(),
        interface: map
            .get("interface")
            .and_then(|at| reader.text(&at))
            .map(interface),
        named_ports: BTreeMap::new(),
        ports: BTreeSet::new(),
        service_account: map
            .get("serviceAccount")
            .and_then(|at| reader.text(&at))
            .map(str::to_owned),
        workload: None,
        line: at.line(),
    };
    endpoint.labels = free_labels(reader, &mut map, "labels");
    for (key, value) in free_entries(reader, &mut map, "namedPorts") {
        endpoint.named_ports.extend(
            reader
                .parse(&value, "a port")
                .map(|port| (key.to_owned(), port)),
        );
    }
    if let Some(at) = map.need(reader, "ips") {
        let items = reader.list(&at);
        endpoint.ips = items
            .iter()
            .filter_map(|item| reader.parse(item, "an IP address"))
            .collect();
    }
    if let Some(at) = map.get("workload") {
        match reader.text(&at).map(|text| text.split_once('/')) {
            Some(Some((kind, name))) => {
                endpoint.workload = Some((kind.to_owned(), name.to_owned()));
            }
            Some(None) => reader.fault(&at, "expected Kind/name, such as Deployment/web"),
            None => {}
        }
    }
    check_unique(reader, at, &endpoint, known);
    map.end(reader);
    name.is_some().then_some(endpoint)
}

/// `auto`, or a name.
fn interface(text: &str) -> Interface {
    match text {
        "auto" => Interface::Found,
        name => Interface::Named(name.to_owned()),
    }
}

fn check_unique(reader: &mut Reader, at: &Cursor<'_>, endpoint: &Endpoint, known: &[Endpoint]) {
    for other in known {
        let line = other.line;
        if other.name == endpoint.name && other.namespace == endpoint.namespace {
            reader.fault(
                at,
                format!(
                    "{}/{} stands in line {line} already",
                    other.namespace, other.name
                ),
            );
        }
        if let Some(ip) = endpoint.ips.iter().find(|ip| other.ips.contains(ip)) {
            reader.fault(
                at,
                format!("{ip} belongs to {} in line {line} already", other.name),
            );
        }
        if let Some(Interface::Named(interface)) = &endpoint.interface
            && endpoint.interface == other.interface
        {
            reader.fault(
                at,
                format!(
                    "{interface} belongs to {} in line {line} already",
                    other.name
                ),
            );
        }
    }
}
