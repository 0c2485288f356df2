//! Which ends are one node of the map.

use std::net::IpAddr;

use proto::flow::{Endpoint, Service};

/// What nodes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// Workloads: all pods of a deployment are one.
    #[default]
    Workload,
    /// Each pod.
    Pod,
    /// Namespaces.
    Namespace,
}

/// One node: everything of this name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Namespace; empty outside of any.
    pub namespace: String,
    /// Its name in there.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A workload, a pod, or all pods with one label.
    Workload,
    /// A namespace.
    Namespace,
    /// A service whose pods are not told.
    Service,
    /// A name of DNS.
    Name,
    /// An address that nobody names.
    Address,
    /// Something that every cluster has: the host, the world.
    Entity,
    /// What found no room of its own.
    Others,
}

/// Everything outside that has no name.
const WORLD: &str = "world";
/// Labels that say what a pod is, the surest first.
const APP: [&str; 3] = ["k8s:app.kubernetes.io/name=", "k8s:app=", "k8s:k8s-app="];

/// What a flow knows of one of its ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'f> {
    pub(super) endpoint: Option<&'f Endpoint>,
    pub(super) service: Option<&'f Service>,
    pub(super) names: &'f [String],
    pub(super) ip: &'f str,
    /// `namespace/pod`, where a translation hides it from the fields above.
    pub(super) hidden_pod: &'f str,
}

impl Node {
    /// Names come from peers: they are one line, which reads in one direction.
    pub(super) fn new(namespace: &str, name: &str, kind: NodeKind) -> Self {
        Self {
            namespace: plain(namespace),
            name: plain(name),
            kind,
        }
    }

    /// Where further nodes go when there are too many.
    pub(super) fn others() -> Self {
        Self::new("", "others", NodeKind::Others)
    }

    /// `namespace/name`, or the name alone.
    pub fn shown(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

impl End<'_> {
    /// Its node; `is_alone` where nobody knows the other end either.
    pub(super) fn node(&self, by: By, is_alone: bool) -> Node {
        match self.known(by) {
            Some(node) if by == By::Namespace && !node.namespace.is_empty() => {
                Node::new("", &node.namespace, NodeKind::Namespace)
            }
            Some(node) => node,
            None => self.unknown(is_alone),
        }
    }

    /// Whether anything but the address tells who it is.
    pub(super) fn is_known(&self) -> bool {
        self.known(By::Workload).is_some()
    }

    /// The pod, or the address.
    pub(super) fn pod(&self) -> String {
        let endpoint = self.endpoint.filter(|end| !end.pod_name.is_empty());
        match endpoint {
            Some(end) if end.namespace.is_empty() => plain(&end.pod_name),
            Some(end) => plain(&format!("{}/{}", end.namespace, end.pod_name)),
            None if !self.hidden_pod.is_empty() => plain(self.hidden_pod),
            None => plain(self.ip),
        }
    }

    fn known(&self, by: By) -> Option<Node> {
        let workload = self.endpoint.and_then(|end| of_endpoint(end, by));
        workload
            .or_else(|| self.hidden(by))
            .or_else(|| self.entity())
            .or_else(|| self.service())
            .or_else(|| {
                let name = self.names.last()?;
                let name = name.trim_end_matches('.');
                Some(Node::new("", name, NodeKind::Name))
            })
    }

    fn hidden(&self, by: By) -> Option<Node> {
        let (namespace, pod) = self.hidden_pod.split_once('/')?;
        Some(Node::new(namespace, of_pod(pod, by), NodeKind::Workload))
    }

    fn service(&self) -> Option<Node> {
        let service = self.service.filter(|service| !service.name.is_empty())?;
        Some(Node::new(
            &service.namespace,
            &service.name,
            NodeKind::Service,
        ))
    }

    /// What every cluster has; the world is no answer where an address can be named.
    fn entity(&self) -> Option<Node> {
        let endpoint = self.endpoint?;
        let reserved = endpoint.labels.iter();
        let mut reserved = reserved.filter_map(|label| label.strip_prefix("reserved:"));
        let named = |name| Some(Node::new("", name, NodeKind::Entity));
        if reserved.clone().any(|name| name == "kube-apiserver") || endpoint.identity == 7 {
            return named("kube-apiserver");
        }
        let by_label = reserved.find(|name| !name.starts_with(WORLD) && *name != "unknown");
        match (by_label, endpoint.identity) {
            (Some("remote-node"), _) | (None, 6) => named("remote nodes"),
            (Some(name), _) => named(name),
            (None, 1) => named("host"),
            (None, 3) => named("unmanaged"),
            (None, 4) => named("health"),
            (None, 8) => named("ingress"),
            (None, _) => None,
        }
    }

    fn unknown(&self, is_alone: bool) -> Node {
        let ip = self.ip.parse().ok();
        match ip {
            Some(ip) if !is_alone && is_public(ip) => Node::new("", WORLD, NodeKind::Entity),
            Some(_) => Node::new("", self.ip, NodeKind::Address),
            None => Node::new("", "unknown", NodeKind::Entity),
        }
    }
}

fn of_endpoint(end: &Endpoint, by: By) -> Option<Node> {
    let node = |name: &str| Node::new(&end.namespace, name, NodeKind::Workload);
    if by == By::Pod && !end.pod_name.is_empty() {
        return Some(node(&end.pod_name));
    }
    let workload = end.workloads.first().map(|workload| workload.name.as_str());
    if let Some(workload) = workload.filter(|name| !name.is_empty()) {
        return Some(node(workload));
    }
    let labelled = APP
        .iter()
        .find_map(|key| end.labels.iter().find_map(|label| label.strip_prefix(key)));
    match labelled {
        Some(app) if !app.is_empty() => Some(node(app)),
        _ if !end.pod_name.is_empty() => Some(node(of_pod(&end.pod_name, by))),
        _ => None,
    }
}

/// `web-6c9f8d7b9-x2x4z` → `web`, `db-0` → `db`: what controllers add to a workload's name is taken off.
fn of_pod(pod: &str, by: By) -> &str {
    if by == By::Pod {
        return pod;
    }
    // The letters that Kubernetes makes names of have no vowels, lest they be words.
    let is_made = |part: &str| {
        let letters = part.bytes();
        part.bytes().any(|byte| byte.is_ascii_digit()) | (part.len() == 5)
            && letters
                .into_iter()
                .all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
    };
    let Some((rest, last)) = pod.rsplit_once('-') else {
        return pod;
    };
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return rest;
    }
    if last.len() != 5 || !is_made(last) {
        return pod;
    }
    match rest.rsplit_once('-') {
        Some((workload, hash)) if (6..=10).contains(&hash.len()) && is_made(hash) => workload,
        _ => rest,
    }
}

/// Text without what would move a cursor, or turn the direction of what follows.
pub(crate) fn plain(text: &str) -> String {
    let is_plain = |c: &char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
        !c.is_control() && !turns
    };
    let shown = |c: char| if is_plain(&c) { c } else { '\u{fffd}' };
    text.chars().map(shown).collect()
}

/// Whether an address may be anywhere in the world.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_unspecified()
                || is_shared)
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::flow::Workload;

    fn end<'f>(endpoint: &'f Endpoint, ip: &'f str) -> End<'f> {
        End {
            endpoint: Some(endpoint),
            service: None,
            names: &[],
            ip,
            hidden_pod: "",
        }
    }

    fn pod(name: &str, labels: &[&str], workload: Option<&str>) -> Endpoint {
        Endpoint {
            namespace: "shop".to_owned(),
            pod_name: name.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            workloads: workload
                .map(|name| Workload {
                    name: name.to_owned(),
                    kind: "Deployment".to_owned(),
                })
                .into_iter()
                .collect(),
            ..Endpoint::default()
        }
    }

    #[test]
    fn pods_of_a_workload_are_one_node() {
        let shown = |end: &Endpoint, by| self::end(end, "10.0.0.1").node(by, false).shown();
        let told = pod("web-1", &["k8s:app=front"], Some("web"));
        assert_eq!(shown(&told, By::Workload), "shop/web");
        assert_eq!(shown(&told, By::Pod), "shop/web-1");
        assert_eq!(shown(&told, By::Namespace), "shop");
        let labelled = pod("web-6c9f-abcde", &["k8s:tier=a", "k8s:app=web"], None);
        assert_eq!(shown(&labelled, By::Workload), "shop/web");
    }

    #[test]
    fn what_controllers_add_to_a_name_is_taken_off() {
        for (pod, workload) in [
            ("web-6c9f8d7b9-x2x4z", "web"),
            ("cart-7d4b9c6f5d-2xkqj", "cart"),
            ("db-0", "db"),
            ("agent-x2k4z", "agent"),
            ("my-database", "my-database"),
            ("black-horse", "black-horse"),
            ("client", "client"),
        ] {
            assert_eq!(of_pod(pod, By::Workload), workload, "{pod}");
            assert_eq!(of_pod(pod, By::Pod), pod);
        }
    }

    #[test]
    fn what_every_cluster_has_goes_by_its_name() {
        let of = |identity: u32, labels: &[&str]| Endpoint {
            identity,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..Endpoint::default()
        };
        for (endpoint, name) in [
            (of(1, &["reserved:host"]), "host"),
            (of(6, &[]), "remote nodes"),
            (
                of(7, &["reserved:remote-node", "reserved:kube-apiserver"]),
                "kube-apiserver",
            ),
            (of(2, &["reserved:world"]), "world"),
        ] {
            let node = end(&endpoint, "192.0.2.1").node(By::Workload, false);
            assert_eq!(
                (node.shown(), node.kind),
                (name.to_owned(), NodeKind::Entity)
            );
        }
    }

    #[test]
    fn an_address_is_a_node_only_where_it_says_more_than_the_world() {
        let world = Endpoint {
            identity: 2,
            ..Endpoint::default()
        };
        let shown = |ip, is_alone| end(&world, ip).node(By::Workload, is_alone).shown();
        assert_eq!(shown("203.0.113.9", false), "world");
        assert_eq!(shown("203.0.113.9", true), "203.0.113.9");
        assert_eq!(shown("10.9.9.9", false), "10.9.9.9");
        assert_eq!(shown("fd00::9", false), "fd00::9");
        assert_eq!(shown("2001:db8::9", false), "world");
        let named = End {
            names: &["old.example".to_owned(), "api.example.".to_owned()],
            ..end(&world, "203.0.113.9")
        };
        assert_eq!(named.node(By::Workload, false).shown(), "api.example");
    }

    #[test]
    fn a_pod_behind_a_service_is_the_one_that_serves() {
        let world = Endpoint::default();
        let service = Service {
            name: "cart".to_owned(),
            namespace: "shop".to_owned(),
        };
        let asked = End {
            service: Some(&service),
            ..end(&world, "10.96.0.9")
        };
        let node = asked.node(By::Workload, false);
        assert_eq!(
            (node.shown(), node.kind),
            ("shop/cart".into(), NodeKind::Service)
        );
        let served = End {
            hidden_pod: "shop/cart-v2-6c9f8d7b9-x2x4z",
            ..asked
        };
        assert_eq!(served.node(By::Workload, false).shown(), "shop/cart-v2");
        assert_eq!(served.pod(), "shop/cart-v2-6c9f8d7b9-x2x4z");
    }
}
