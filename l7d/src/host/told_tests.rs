use std::collections::BTreeMap;
use std::net::IpAddr;

use super::cluster::{Kind, Name, Object, Pod, Slice, Update};
use super::{Changed, Inventory};
use crate::config::{self, Endpoint, Node, Service, ServicePort};
use crate::record::IdentityNumber;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Of node `a`, asked by nobody else.
fn inventory(text: &str) -> Inventory {
    let config = config::read_config("l7d.yaml", &format!("node: a\n{text}")).expect("good");
    let mut inventory =
        Inventory::from_config(&config, vec![ip("192.0.2.1")]).expect("an inventory");
    inventory.take_changed();
    inventory
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn pod(name: &str, app: &str, node: &str, address: &str) -> Update {
    Update::Applied(Object::Pod(Pod {
        endpoint: Endpoint {
            name: name.to_owned(),
            namespace: "shop".to_owned(),
            labels: labels(&[("app", app)]),
            ips: vec![ip(address)],
            interface: None,
            named_ports: BTreeMap::from([("web".to_owned(), 8080)]),
            ports: [(6, 8080)].into(),
            service_account: None,
            workload: Some(("Deployment".to_owned(), app.to_owned())),
            line: 0,
        },
        node: node.to_owned(),
    }))
}

fn gone(kind: Kind, namespace: &str, name: &str) -> Update {
    Update::Deleted(kind, Name::new(namespace, name))
}

fn namespace(name: &str, pairs: &[(&str, &str)]) -> Update {
    Update::Applied(Object::Namespace(name.to_owned(), labels(pairs)))
}

fn node(name: &str, address: &str, pairs: &[(&str, &str)]) -> Update {
    Update::Applied(Object::Node(Node {
        name: name.to_owned(),
        labels: labels(pairs),
        ips: vec![ip(address)],
    }))
}

fn slice(name: &str, service: &str, addresses: &[&str]) -> Update {
    Update::Applied(Object::EndpointSlice(Slice {
        name: Name::new("default", name),
        service: service.to_owned(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
    }))
}

fn apply(inventory: &mut Inventory, updates: impl IntoIterator<Item = Update>) -> Changed {
    for update in updates {
        inventory.apply(update);
    }
    inventory.take_changed()
}

/// Name and labels of who has an address.
fn who(inventory: &Inventory, address: &str) -> (String, Vec<String>) {
    let endpoint = inventory.table(&[]).build().endpoint(ip(address));
    (endpoint.name.clone(), endpoint.labels.to_vec())
}

#[test]
fn a_pod_of_this_node_is_an_endpoint_and_others_have_names() {
    let mut inventory = inventory("");
    let changed = apply(
        &mut inventory,
        [
            pod("web-1", "web", "a", "10.0.0.1"),
            pod("web-2", "web", "b", "10.0.1.1"),
        ],
    );
    assert!(changed.identities && changed.local && changed.port_names);
    let local = inventory.local_endpoints();
    assert_eq!(local.len(), 1);
    assert_ne!(local[0].id, 0);
    let (name, labels) = who(&inventory, "10.0.1.1");
    assert_eq!(name, "web-2");
    assert!(labels.contains(&"k8s:app=web".to_owned()), "{labels:?}");
    let table = inventory.table(&[]).build();
    let identity = |address| table.endpoint(ip(address)).identity;
    assert_eq!(identity("10.0.0.1"), identity("10.0.1.1"));
    assert_eq!(table.local()[0].interface, None, "it is to be found");
}

#[test]
fn what_is_told_again_changes_nothing() {
    let mut inventory = inventory("");
    let all = || {
        [
            namespace("shop", &[("team", "blue")]),
            pod("web-1", "web", "a", "10.0.0.1"),
            node("b", "192.0.2.2", &[]),
            slice("s", "kubernetes", &["192.0.2.2"]),
        ]
    };
    apply(&mut inventory, all());
    let before = inventory.identities();
    assert_eq!(apply(&mut inventory, all()), Changed::default());
    assert_eq!(inventory.identities(), before);
}

#[test]
fn another_pod_of_a_known_kind_changes_addresses_only() {
    let mut inventory = inventory("");
    apply(&mut inventory, [pod("web-1", "web", "b", "10.0.1.1")]);
    let changed = apply(&mut inventory, [pod("web-2", "web", "b", "10.0.1.2")]);
    assert!(changed.any && !changed.needs_compiling());
    let changed = apply(&mut inventory, [gone(Kind::Pod, "shop", "web-1")]);
    assert!(changed.any && !changed.needs_compiling());
    let changed = apply(&mut inventory, [gone(Kind::Pod, "shop", "web-2")]);
    assert!(changed.identities && changed.port_names);
    assert_eq!(who(&inventory, "10.0.1.2").1, ["reserved:world"]);
}

#[test]
fn a_pod_that_takes_over_an_address_has_it_whatever_the_former_one_still_says() {
    let mut inventory = inventory("");
    apply(
        &mut inventory,
        [
            pod("old", "web", "a", "10.0.0.1"),
            pod("new", "db", "a", "10.0.0.1"),
            // The old one is told once more, on its way out.
            pod("old", "web-ending", "a", "10.0.0.1"),
        ],
    );
    assert_eq!(who(&inventory, "10.0.0.1").0, "new");
    apply(&mut inventory, [gone(Kind::Pod, "shop", "old")]);
    assert_eq!(who(&inventory, "10.0.0.1").0, "new");
    assert_eq!(inventory.local_endpoints().len(), 1);
}

#[test]
fn labels_of_a_namespace_are_its_pods_whichever_is_told_first() {
    let team = "k8s:io.cilium.k8s.namespace.labels.team=blue".to_owned();
    let mut inventory = inventory("");
    apply(&mut inventory, [pod("web-1", "web", "a", "10.0.0.1")]);
    assert!(!who(&inventory, "10.0.0.1").1.contains(&team));
    let changed = apply(&mut inventory, [namespace("shop", &[("team", "blue")])]);
    assert!(changed.identities && changed.local);
    assert!(who(&inventory, "10.0.0.1").1.contains(&team));
    apply(&mut inventory, [pod("web-2", "web", "b", "10.0.1.1")]);
    assert!(who(&inventory, "10.0.1.1").1.contains(&team));
    apply(&mut inventory, [namespace("shop", &[])]);
    for address in ["10.0.0.1", "10.0.1.1"] {
        let (name, labels) = who(&inventory, address);
        assert!(!labels.contains(&team), "{name}");
        assert!(labels.contains(&"k8s:app=web".to_owned()), "{name}");
    }
    let of_web = |inventory: &Inventory| {
        let all = inventory.identities().into_iter();
        all.filter(|identity| identity.labels.has("k8s", "app"))
            .count()
    };
    assert_eq!(of_web(&inventory), 1, "nobody has the others any more");
}

#[test]
fn what_a_list_does_not_name_is_gone_at_its_end() {
    let mut inventory = inventory("endpoints: [{name: file, namespace: shop, ips: [10.9.0.1]}]\n");
    apply(
        &mut inventory,
        [
            pod("web-1", "web", "b", "10.0.1.1"),
            pod("web-2", "web", "b", "10.0.1.2"),
        ],
    );
    apply(
        &mut inventory,
        [
            Update::ListBegins(Kind::Pod),
            pod("web-2", "web", "b", "10.0.1.2"),
        ],
    );
    assert_eq!(who(&inventory, "10.0.1.1").0, "web-1", "until the end");
    apply(&mut inventory, [Update::ListEnds(Kind::Pod)]);
    assert_eq!(who(&inventory, "10.0.1.1").0, "");
    assert_eq!(who(&inventory, "10.0.1.2").0, "web-2");
    assert_eq!(who(&inventory, "10.9.0.1").0, "file", "the file's own");
    let moved = inventory.take_moved();
    assert!(!moved[&Name::new("shop", "web-1")]);
    assert!(moved[&Name::new("shop", "web-2")]);
}

#[test]
fn nodes_and_the_api_server_are_entities() {
    let mut inventory = inventory("");
    apply(
        &mut inventory,
        [
            node("a", "192.0.2.1", &[("zone", "x")]),
            node("b", "192.0.2.2", &[("zone", "x")]),
            slice("kubernetes", "kubernetes", &["192.0.2.2", "198.51.100.1"]),
        ],
    );
    assert_eq!(
        who(&inventory, "192.0.2.1").1,
        ["node:zone=x", "reserved:host"]
    );
    let api = "reserved:kube-apiserver";
    assert_eq!(
        who(&inventory, "192.0.2.2").1,
        ["node:zone=x", api, "reserved:remote-node"]
    );
    assert_eq!(
        who(&inventory, "198.51.100.1").1,
        [api, "reserved:world"],
        "outside the cluster"
    );
    apply(
        &mut inventory,
        [slice("kubernetes", "kubernetes", &["192.0.2.1"])],
    );
    assert_eq!(
        who(&inventory, "192.0.2.1").1,
        ["node:zone=x", "reserved:host", api]
    );
    assert_eq!(
        who(&inventory, "192.0.2.2").1,
        ["node:zone=x", "reserved:remote-node"]
    );
    assert_eq!(who(&inventory, "198.51.100.1").1, ["reserved:world"]);
    apply(&mut inventory, [gone(Kind::Node, "", "b")]);
    assert_eq!(who(&inventory, "192.0.2.2").1, ["reserved:world"]);
}

#[test]
fn slices_are_behind_services_that_select_nobody() {
    let mut inventory = inventory("");
    let service = |name: &str, selector: &[(&str, &str)]| {
        Update::Applied(Object::Service(Service {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            ips: vec![ip("10.96.0.7")],
            ports: vec![ServicePort {
                port: 80,
                protocol: 6,
                node_port: None,
            }],
            selector: labels(selector),
            ..Service::default()
        }))
    };
    let changed = apply(
        &mut inventory,
        [service("db", &[]), slice("db-1", "db", &["203.0.113.7"])],
    );
    assert!(changed.services);
    assert_eq!(inventory.services()[0].backends, [ip("203.0.113.7")]);
    let party = |inventory: &Inventory| {
        let table = inventory.table(&[]).build();
        let party = table.party("10.96.0.7:80".parse().expect("an address"));
        party.service.map(|service| service.name.clone())
    };
    assert_eq!(party(&inventory).as_deref(), Some("db"));
    apply(&mut inventory, [gone(Kind::Service, "default", "db")]);
    assert_eq!(party(&inventory), None);
}

#[test]
fn what_cannot_be_used_is_told_until_it_can() {
    let mut inventory = inventory("");
    let bad = Update::Applied(Object::Pod(Pod {
        endpoint: Endpoint {
            labels: labels(&[("", "empty")]),
            ..match pod("web-1", "web", "b", "10.0.1.1") {
                Update::Applied(Object::Pod(pod)) => pod.endpoint,
                _ => unreachable!("a pod"),
            }
        },
        node: "b".to_owned(),
    }));
    apply(&mut inventory, [bad]);
    let troubles: Vec<String> = inventory.troubles().collect();
    assert!(troubles[0].starts_with("Pod shop/web-1: "), "{troubles:?}");
    apply(&mut inventory, [pod("web-1", "web", "b", "10.0.1.1")]);
    assert_eq!(inventory.troubles().count(), 0);
}

#[test]
fn identities_of_this_host_stay_when_the_file_is_read_again() {
    let mut inventory = inventory("endpoints: [{name: file, namespace: shop, ips: [10.9.0.1]}]\n");
    apply(&mut inventory, [pod("web-1", "web", "a", "10.0.0.1")]);
    let id = inventory.local_endpoints()[0].id;
    let config = config::read_config("l7d.yaml", "node: a\n").expect("good");
    inventory
        .set_config(&config, vec![ip("192.0.2.1")])
        .expect("an inventory");
    assert_eq!(who(&inventory, "10.9.0.1").0, "");
    assert_eq!(who(&inventory, "10.0.0.1").0, "web-1");
    assert_eq!(inventory.local_endpoints()[0].id, id);
    let host = inventory.table(&[]).build().endpoint(ip("192.0.2.1"));
    assert_eq!(host.identity, IdentityNumber::HOST);
}
