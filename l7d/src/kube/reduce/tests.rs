use serde_json::json;

use super::*;

fn of_kind(kind: Kind) -> OfKind {
    OfKind {
        kind,
        seen: None,
        network_status: false,
    }
}

fn told(kind: Kind, object: &Value) -> Result<Option<Update>, String> {
    of_kind(kind).object(&object.to_string())
}

fn pod() -> Value {
    json!({
        "metadata": {
            "name": "web-7d9c-x2x4z", "namespace": "shop",
            "labels": { "app": "web", "pod-template-hash": "7d9c" },
            "annotations": { "note": "kept by nobody" },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": "web-7d9c", "controller": true }],
        },
        "spec": {
            "nodeName": "a",
            "serviceAccountName": "web",
            "containers": [{ "name": "c", "env": [{ "name": "A", "value": "b" }], "ports": [{ "name": "http", "containerPort": 8080 }] }],
        },
        "status": { "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }] },
    })
}

#[test]
fn a_pod_is_what_it_is_in_a_file() {
    let text = json!({ "apiVersion": "v1", "kind": "List", "items": [pod()] }).to_string();
    let text = text.replace(
        "{\"metadata\"",
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\"",
    );
    let mut file = config::Told::default();
    file.read("pods.json", &text).expect("a pod");
    let Ok(Some(Update::Applied(Object::Pod(told)))) = told(Kind::Pod, &pod()) else {
        panic!("a pod");
    };
    assert_eq!(vec![told.endpoint], file.config.endpoints);
    assert_eq!(told.node, "a");
    assert_eq!(file.config.endpoints[0].ips.len(), 2);
    let workload = ("Deployment".to_owned(), "web".to_owned());
    assert_eq!(file.config.endpoints[0].workload, Some(workload));
}

#[test]
fn addresses_of_further_networks_are_a_pods_where_that_is_wanted() {
    let told = |annotation: &str, network_status| {
        let mut pod = pod();
        pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"] = annotation.into();
        let mut reduce = OfKind {
            network_status,
            ..of_kind(Kind::Pod)
        };
        let Ok(Some(Update::Applied(Object::Pod(pod)))) = reduce.object(&pod.to_string()) else {
            panic!("a pod");
        };
        pod.endpoint.ips.len()
    };
    let both = r#"[{"ips":["10.0.0.1","fd00::1"],"default":true},{"ips":["192.0.2.7"]}]"#;
    assert_eq!(told(both, false), 2);
    assert_eq!(told(both, true), 3);
    assert_eq!(told("no list", true), 2, "those of the status stay");
}

#[test]
fn who_has_no_address_of_its_own_is_told_as_gone() {
    let gone = Update::Deleted(Kind::Pod, Name::new("shop", "web-7d9c-x2x4z"));
    let mut of_host = pod();
    of_host["spec"]["hostNetwork"] = true.into();
    let mut ended = pod();
    ended["status"]["phase"] = "Failed".into();
    for object in [of_host, ended] {
        let told = told(Kind::Pod, &object).expect("an update");
        assert_eq!(told.as_ref(), Some(&gone));
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    let mut object = pod();
    object["status"]["podIPs"][0]["ip"] = "10.0.0".into();
    let malformed = told(Kind::Pod, &object).expect_err("an address");
    assert_eq!(
        malformed,
        "status.podIPs[0].ip: `10.0.0` is not an IP address: invalid IP address syntax"
    );
    assert!(of_kind(Kind::Pod).object("[1, {}]").is_err());
}

#[test]
fn a_policy_is_the_same_when_only_its_status_changes() {
    let object = |version: &str, status: &str| {
        json!({
            "metadata": {
                "name": "p", "namespace": "shop", "uid": "u", "generation": 3, "resourceVersion": version,
                "managedFields": [{}],
                "annotations": { LAST_APPLIED: "{}", "policy.cilium.io/x": "y" },
            },
            "spec": { "podSelector": {} },
            "status": { "conditions": [status] },
        })
    };
    let read = |object: &Value| match told(Kind::NetworkPolicy, object) {
        Ok(Some(Update::Applied(Object::Policy(policy)))) => policy,
        other => panic!("{other:?}"),
    };
    let policy = read(&object("1", "a"));
    assert_eq!(policy, read(&object("2", "b")));
    assert_eq!((policy.uid.as_str(), policy.generation), ("u", 3));
    let objects = policy_l7::read_objects("p", &policy.json).expect("a policy");
    assert_eq!(objects.policies.len(), 1);
}

#[test]
fn slices_tell_addresses_of_services() {
    let object = json!({
        "metadata": { "name": "db-1", "namespace": "shop", "labels": { "kubernetes.io/service-name": "db", "a": "b" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": ["203.0.113.7"] }, { "addresses": ["db.example.com"] }],
    });
    let Ok(Some(Update::Applied(Object::EndpointSlice(slice)))) =
        told(Kind::EndpointSlice, &object)
    else {
        panic!("a slice");
    };
    assert_eq!((slice.service.as_str(), slice.addresses.len()), ("db", 1));
    let of_nobody = json!({ "metadata": { "name": "x", "namespace": "shop" }, "endpoints": null });
    let gone = Update::Deleted(Kind::EndpointSlice, Name::new("shop", "x"));
    assert_eq!(
        told(Kind::EndpointSlice, &of_nobody).expect("an update"),
        Some(gone)
    );
}
