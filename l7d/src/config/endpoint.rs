//! Who is who, where the file tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Interface;

/// An endpoint: a pod, or anything else with an address of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Pod name.
    pub name: String,
    /// Namespace; default `default`.
    pub namespace: String,
    /// Labels without source; those that make an identity become `k8s:key=value`.
    pub labels: BTreeMap<String, String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// Its interfaces at the node's end. Without any the endpoint is of another node: it is named in flows
    /// and selected by peers' rules, but nothing is attached for it.
    pub interface: Option<Interface>,
    /// Named ports, for policies that use names.
    pub named_ports: BTreeMap<String, u16>,
    /// Ports that containers say they serve, with their IP protocols; empty where nothing is said.
    pub ports: BTreeSet<(u8, u16)>,
    /// Service account that it runs as, for policies that select by it.
    pub service_account: Option<String>,
    /// Owner, as `Kind/name`.
    pub workload: Option<(String, String)>,
    /// Line in the file, for later messages.
    pub line: usize,
}

/// A node of the cluster: who its addresses are, and its labels for policies that select nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Labels without source; they become `node:key=value`.
    pub labels: BTreeMap<String, String>,
    /// Addresses; those of this node are found without being told.
    pub ips: Vec<IpAddr>,
}

/// A service: names in flows, addresses whose policy is decided behind the NAT, and what `toServices`
/// of policies finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Name.
    pub name: String,
    /// Namespace; default `default`.
    pub namespace: String,
    /// Virtual addresses, those of load balancers and external ones among them.
    pub ips: Vec<IpAddr>,
    /// Ports; empty means every port.
    pub ports: Vec<ServicePort>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Labels of the pods behind it; empty where its backends are told one by one.
    pub selector: BTreeMap<String, String>,
    /// Addresses behind a service without a selector.
    pub backends: Vec<IpAddr>,
}

/// A port of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServicePort {
    /// Of its addresses.
    pub port: u16,
    /// IP protocol number, 0 for any.
    pub protocol: u8,
    /// Of every node, where it has one.
    pub node_port: Option<u16>,
}
