//! Who there is: pods, nodes, and addresses outside.

use std::net::IpAddr;

/// Everybody that policies can speak of.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Pods, of this node and of others.
    pub pods: Vec<Pod>,
    /// Other nodes of which more is known than that.
    pub nodes: Vec<Node>,
    /// Addresses outside the cluster.
    pub outside: Vec<Outside>,
    /// Services.
    pub services: Vec<Service>,
    /// Groups of prefixes.
    pub cidr_groups: Vec<CidrGroup>,
}

/// A pod.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// Name, for messages.
    pub name: String,
    /// Labels with their source, its namespace's among them.
    pub labels: Vec<Label>,
    /// Names of its ports.
    pub named_ports: Vec<(String, u16)>,
    /// Whether it is of this node.
    pub is_here: bool,
}

/// Another node.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Name, for messages.
    pub name: String,
    /// Its own labels.
    pub labels: Vec<Label>,
}

/// A service.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Labels of the object.
    pub labels: Vec<Label>,
    /// What pods behind it have: keys and values. Without any, its backends are told.
    pub selector: Vec<(String, String)>,
    /// Addresses behind a service without a selector.
    pub backends: Vec<IpAddr>,
}

/// A `CiliumCIDRGroup`.
#[derive(Debug, Clone, Default)]
pub struct CidrGroup {
    /// Name.
    pub name: String,
    /// Labels of the object.
    pub labels: Vec<Label>,
    /// Prefixes and addresses.
    pub prefixes: Vec<String>,
}

/// An address outside the cluster.
#[derive(Debug, Clone)]
pub struct Outside {
    /// Address.
    pub address: IpAddr,
    /// The names that DNS has given it, in lower case and with their last dot.
    pub names: Vec<String>,
}

/// A label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// `k8s`, `node`, `reserved`.
    pub source: String,
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

impl Label {
    /// A label of Kubernetes.
    pub fn new(key: &str, value: &str) -> Self {
        Self {
            source: "k8s".to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    /// A label of a node.
    pub fn of_node(key: &str, value: &str) -> Self {
        Self {
            source: "node".to_owned(),
            ..Self::new(key, value)
        }
    }

    fn reserved(name: &str) -> Self {
        Self {
            source: "reserved".to_owned(),
            key: name.to_owned(),
            value: String::new(),
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub enum End<'w> {
    /// Another node.
    Node(&'w Node),
    /// A pod.
    Pod(&'w Pod),
    /// One of the reserved identities, by its name.
    Reserved(&'static str),
    /// Somebody outside.
    Outside(&'w Outside),
}

/// The reserved identities that are somebody, and their numbers.
pub const RESERVED: [(&str, u32); 7] = [
    ("host", 1),
    ("unmanaged", 3),
    ("health", 4),
    ("init", 5),
    ("remote-node", 6),
    ("kube-apiserver", 7),
    ("ingress", 8),
];

impl World {
    /// Everybody.
    pub fn ends(&self) -> impl Iterator<Item = End<'_>> {
        let reserved = RESERVED.iter().map(|(name, _)| End::Reserved(name));
        let pods = self.pods.iter().map(End::Pod);
        pods.chain(self.nodes.iter().map(End::Node))
            .chain(reserved)
            .chain(self.outside.iter().map(End::Outside))
    }
}

impl End<'_> {
    pub(super) fn labels(self) -> Vec<Label> {
        match self {
            Self::Node(node) => {
                let reserved = Label::reserved("remote-node");
                node.labels.iter().cloned().chain([reserved]).collect()
            }
            Self::Pod(pod) => pod.labels.clone(),
            // It runs on a node.
            Self::Reserved("kube-apiserver") => {
                vec![
                    Label::reserved("kube-apiserver"),
                    Label::reserved("remote-node"),
                ]
            }
            Self::Reserved(name) => vec![Label::reserved(name)],
            Self::Outside(_) => vec![Label::reserved("world")],
        }
    }
}
