//! What a cluster has told, object by object, as far as it is kept: enough to be told the same once more.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::cluster::{Kind, Name, Object, Pod};
use super::known::Known;
use super::{Inventory, Origin, labels};
use crate::config;

/// Some objects of a kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of their names.
    pub objects: Vec<Object>,
    /// The last one's name, where others come behind it.
    pub last: Option<Name>,
}

impl Page {
    /// The first so many of these.
    pub fn of(mut all: impl Iterator<Item = (Name, Object)>, most: usize) -> Self {
        let mut page = Self::default();
        let mut last = None;
        for (name, object) in all.by_ref().take(most) {
            page.objects.push(object);
            last = Some(name);
        }
        page.last = last.filter(|_| page.objects.len() == most && all.next().is_some());
        page
    }
}

/// Behind a name, or from the first one on.
fn behind(after: Option<&Name>) -> Bound<(Name, Origin)> {
    after.map_or(Bound::Unbounded, |name| {
        Bound::Excluded((name.clone(), Origin::Cluster))
    })
}

impl Inventory {
    /// Objects that the cluster has told of, behind a name; none of policies, which are not kept here.
    pub fn told(&self, kind: Kind, after: Option<&Name>, most: usize) -> Page {
        match kind {
            Kind::Pod => {
                let pods = self.endpoints.range((behind(after), Bound::Unbounded));
                let pods = pods.filter(|((_, origin), _)| *origin == Origin::Cluster);
                let pods = pods.map(|((name, _), known)| (name.clone(), self.pod(known)));
                Page::of(pods, most)
            }
            Kind::Service => {
                let services = self.services.range((behind(after), Bound::Unbounded));
                let services = services.filter(|((_, origin), _)| *origin == Origin::Cluster);
                let told = services
                    .map(|((name, _), service)| (name.clone(), Object::Service(service.clone())));
                Page::of(told, most)
            }
            Kind::Namespace => {
                let all = self.namespaces.iter();
                let all = all.filter(|((_, origin), _)| *origin == Origin::Cluster);
                let told = all.map(|((name, _), labels)| {
                    let object = Object::Namespace(name.clone(), labels.clone());
                    (Name::new("", name), object)
                });
                Page::of(told, usize::MAX)
            }
            Kind::Node => {
                let this = self.host.told.get(&Origin::Cluster);
                let others = self.nodes.iter();
                let others = others.filter(|((_, origin), _)| *origin == Origin::Cluster);
                let all = this.into_iter().chain(others.map(|(_, node)| &node.told));
                let told = all.map(|node| (Name::new("", &node.name), Object::Node(node.clone())));
                Page::of(told, usize::MAX)
            }
            Kind::EndpointSlice => {
                let all = self.slices.iter();
                let told =
                    all.map(|(name, slice)| (name.clone(), Object::EndpointSlice(slice.clone())));
                Page::of(told, usize::MAX)
            }
            Kind::NetworkPolicy
            | Kind::CiliumNetworkPolicy
            | Kind::CiliumClusterwideNetworkPolicy
            | Kind::CiliumCidrGroup => Page::default(),
        }
    }

    fn pod(&self, known: &Known) -> Object {
        let (own, service_account) = labels::own_of(&known.labels);
        let node = if known.is_local() {
            self.host.name.clone()
        } else {
            String::new()
        };
        let endpoint = &known.endpoint;
        let workload = endpoint.workload.as_ref();
        Object::Pod(Pod {
            endpoint: config::Endpoint {
                name: endpoint.name.clone(),
                namespace: endpoint.namespace.clone(),
                labels: own,
                ips: known.addresses.to_vec(),
                interface: None,
                named_ports: known
                    .named_ports
                    .iter()
                    .cloned()
                    .collect::<BTreeMap<_, _>>(),
                ports: BTreeSet::new(),
                service_account,
                workload: workload.map(|of| (of.kind.clone(), of.name.clone())),
                line: 0,
            },
            node,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_config;
    use crate::host::cluster::{Slice, Update};
    use crate::state::{read_object, write_object};

    fn inventory() -> Inventory {
        let config = read_config("l7d.yaml", "node: a\n").expect("a configuration");
        Inventory::from_config(&config, Vec::new()).expect("an inventory")
    }

    fn pod(name: &str, node: &str, ip: &str) -> Object {
        let text = format!(
            "endpoints:\n- {{name: {name}, namespace: shop, serviceAccount: w, ips: [{ip}], labels: {{app: {name}, pod-template-hash: x}}, workload: Deployment/web}}\n"
        );
        let mut config = read_config("l7d.yaml", &text).expect("a configuration");
        let mut endpoint = config.endpoints.remove(0);
        endpoint.named_ports = [("http".to_owned(), 8080)].into();
        Object::Pod(Pod {
            endpoint,
            node: node.to_owned(),
        })
    }

    fn objects() -> Vec<Object> {
        let node = |name: &str, ip: &str| {
            Object::Node(config::Node {
                name: name.to_owned(),
                labels: [("zone".to_owned(), "x".to_owned())].into(),
                ips: vec![ip.parse().expect("an address")],
            })
        };
        let labels = [("team".to_owned(), "blue".to_owned())].into();
        vec![
            Object::Namespace("shop".to_owned(), labels),
            pod("web", "a", "10.0.0.1"),
            pod("db", "b", "10.0.0.2"),
            pod("cart", "b", "10.0.0.3"),
            node("a", "192.0.2.1"),
            node("b", "192.0.2.2"),
            Object::Service(config::Service {
                name: "web".to_owned(),
                namespace: "shop".to_owned(),
                ips: vec!["10.96.0.7".parse().expect("an address")],
                ports: vec![config::ServicePort {
                    port: 80,
                    protocol: 6,
                    node_port: Some(30080),
                }],
                ..config::Service::default()
            }),
            Object::EndpointSlice(Slice {
                name: Name::new("default", "kubernetes"),
                service: "kubernetes".to_owned(),
                addresses: vec!["192.0.2.2".parse().expect("an address")],
            }),
        ]
    }

    fn all_of(inventory: &Inventory) -> Vec<(Kind, Object)> {
        let mut all = Vec::new();
        for kind in Kind::ALL {
            let mut after = None;
            loop {
                let page = inventory.told(kind, after.as_ref(), 2);
                all.extend(page.objects.into_iter().map(|object| (kind, object)));
                after = page.last;
                if after.is_none() {
                    break;
                }
            }
        }
        all
    }

    fn named(inventory: &Inventory) -> Vec<String> {
        let table = inventory.table(&[]).build();
        let of = |ip: &str| format!("{:?}", table.endpoint(ip.parse().expect("an address")));
        ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1", "192.0.2.2"]
            .map(of)
            .into()
    }

    #[test]
    fn what_is_kept_makes_the_same_inventory() {
        let mut first = inventory();
        for object in objects() {
            first.apply(Update::Applied(object));
        }
        let mut second = inventory();
        let told = all_of(&first);
        assert_eq!(told.len(), objects().len());
        for (kind, object) in told {
            let mut line = Vec::new();
            write_object(object.clone(), &mut line).expect("a line");
            let read = read_object(kind, line.trim_ascii_end()).expect("an object");
            assert_eq!(read, object);
            second.apply(Update::Applied(read));
        }
        assert_eq!(named(&first), named(&second));
        assert_eq!(first.services(), second.services());
        let ports = |inventory: &Inventory| format!("{:?}", inventory.port_names());
        assert_eq!(ports(&first), ports(&second));
        assert_eq!(
            first.local_endpoints().len(),
            second.local_endpoints().len()
        );
    }

    #[test]
    fn what_a_list_does_not_name_is_gone_though_it_was_remembered() {
        let mut inventory = inventory();
        for object in objects() {
            inventory.apply(Update::Applied(object));
        }
        inventory.apply(Update::ListBegins(Kind::Pod));
        inventory.apply(Update::Applied(pod("web", "a", "10.0.0.1")));
        inventory.apply(Update::ListEnds(Kind::Pod));
        let page = inventory.told(Kind::Pod, None, 10);
        assert_eq!((page.objects.len(), page.last), (1, None));
    }
}
