//! What refers to what: selectors to pods, services to ports, mounts to volumes, bindings to accounts.

use std::collections::{BTreeMap, BTreeSet};

use charts::Document;
use serde_json::{Value, json};

use crate::rendering::{items, one, rendered_without_keys, texts};

/// Everything that refers to nothing, and every object that is there twice.
pub(crate) fn inconsistencies(documents: &[Document]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for document in documents {
        let place = format!("{} {}", document.kind(), document.name());
        if !seen.insert((
            document.kind(),
            document.text("/metadata/namespace"),
            document.name(),
        )) {
            faults.push(format!("{place} is there twice"));
        }
        let is_of_cluster = document.kind().starts_with("ClusterRole");
        if document.text("/metadata/namespace").is_empty() != is_of_cluster {
            faults.push(format!("{place}: its namespace"));
        }
        for found in [
            selected(document, documents),
            mounted(document, documents),
            bound(document, documents),
            offered(document, documents),
        ]
        .concat()
        {
            faults.push(format!("{place}: {found}"));
        }
    }
    faults
}

fn labels(value: &Value) -> BTreeMap<&str, &str> {
    let entries = value.as_object().into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect()
}

/// Pods with all of these labels.
fn pods<'d>(
    documents: &'d [Document],
    wanted: &Value,
) -> impl Iterator<Item = (&'d Value, &'d Value)> {
    let wanted: BTreeMap<String, String> = labels(wanted)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let pods = documents.iter().filter_map(Document::pod);
    pods.filter(move |(metadata, _)| {
        let has = labels(&metadata["labels"]);
        wanted
            .iter()
            .all(|(key, value)| has.get(key.as_str()) == Some(&value.as_str()))
    })
}

/// Selectors select pods, and those of workloads nobody else's.
fn selected(document: &Document, documents: &[Document]) -> Vec<String> {
    let pointer = match document.kind() {
        "DaemonSet" | "Deployment" | "PodDisruptionBudget" | "PodMonitor" => {
            "/spec/selector/matchLabels"
        }
        "NetworkPolicy" => "/spec/podSelector/matchLabels",
        "Service" => "/spec/selector",
        _ => return Vec::new(),
    };
    let selector = document.at(pointer);
    match (selector, pods(documents, selector).count()) {
        (Value::Null, _) => vec!["no selector".to_owned()],
        (_, 1) => Vec::new(),
        (selector, count) => vec![format!("{selector} selects {count} kinds of pods")],
    }
}

/// Mounts have volumes, volumes have mounts, and what volumes take is there.
fn mounted(document: &Document, documents: &[Document]) -> Vec<String> {
    let Some((_, spec)) = document.pod() else {
        return Vec::new();
    };
    let volumes = items(&spec["volumes"]);
    let has: BTreeSet<&str> = volumes
        .filter_map(|volume| volume["name"].as_str())
        .collect();
    let containers = items(&spec["containers"]);
    let mounts = containers.flat_map(|container| items(&container["volumeMounts"]));
    let used: BTreeSet<&str> = mounts.filter_map(|mount| mount["name"].as_str()).collect();
    // Volumes that a test gives are mounted by nobody.
    let given = BTreeSet::from(["log", "x"]);
    let mut faults = Vec::new();
    for name in used.difference(&has) {
        faults.push(format!("mounts {name}, which is no volume"));
    }
    for name in has.difference(&used).filter(|name| !given.contains(*name)) {
        faults.push(format!("nobody mounts {name}"));
    }
    let is_there = |kind: &str, name: &str| {
        let mut of_kind = documents.iter().filter(|document| document.kind() == kind);
        of_kind.any(|document| document.name() == name)
    };
    for volume in items(&spec["volumes"]) {
        if let Some(name) = volume["configMap"]["name"].as_str()
            && !is_there("ConfigMap", name)
        {
            faults.push(format!("no ConfigMap {name}"));
        }
        if let Some(name) = volume["secret"]["secretName"].as_str() {
            // Named by whoever installs.
            let is_given = ["a", "b", "c", "d", "token"].contains(&name);
            let is_made = documents.iter().any(|document| {
                document.kind() == "Certificate" && document.text("/spec/secretName") == name
            });
            if !is_given && !is_made && !is_there("Secret", name) {
                faults.push(format!("no Secret {name}"));
            }
        }
    }
    let account = spec["serviceAccountName"].as_str().unwrap_or("default");
    let is_given = ["theirs", "default"].contains(&account);
    if !is_given && !is_there("ServiceAccount", account) {
        faults.push(format!("no ServiceAccount {account}"));
    }
    faults
}

/// Bindings bind roles that are there to accounts that pods have.
fn bound(document: &Document, documents: &[Document]) -> Vec<String> {
    if !document.kind().ends_with("Binding") {
        return Vec::new();
    }
    let (kind, name) = (
        document.text("/roleRef/kind"),
        document.text("/roleRef/name"),
    );
    let has_role = documents
        .iter()
        .any(|document| document.kind() == kind && document.name() == name);
    let mut faults = Vec::new();
    if !has_role {
        faults.push(format!("no {kind} {name}"));
    }
    for subject in items(document.at("/subjects")) {
        let mut specs = documents.iter().filter_map(Document::pod);
        let account = &subject["name"];
        if !specs.any(|(_, spec)| spec["serviceAccountName"] == *account) {
            faults.push(format!("no pod runs as {account}"));
        }
        if subject["namespace"] != "l7d-system" {
            faults.push(format!("{account} of another namespace"));
        }
    }
    faults
}

/// Ports that services, policies and monitors name are pods' ports.
fn offered(document: &Document, documents: &[Document]) -> Vec<String> {
    let (selector, wanted): (_, Vec<&Value>) = match document.kind() {
        "Service" => (
            document.at("/spec/selector"),
            items(document.at("/spec/ports"))
                .map(|port| &port["targetPort"])
                .collect(),
        ),
        "PodMonitor" => (
            document.at("/spec/selector/matchLabels"),
            items(document.at("/spec/podMetricsEndpoints"))
                .map(|endpoint| &endpoint["port"])
                // One that names none has its address relabelled.
                .filter(|port| !port.is_null())
                .collect(),
        ),
        "NetworkPolicy" => (
            document.at("/spec/podSelector/matchLabels"),
            items(document.at("/spec/ingress"))
                .flat_map(|rule| items(&rule["ports"]))
                .map(|port| &port["port"])
                .collect(),
        ),
        _ => return Vec::new(),
    };
    let ports: Vec<&str> = pods(documents, selector)
        .flat_map(|(_, spec)| items(&spec["containers"]))
        .flat_map(|container| items(&container["ports"]))
        .filter_map(|port| port["name"].as_str())
        .collect();
    let is_missing = |wanted: &&&Value| !wanted.as_str().is_some_and(|name| ports.contains(&name));
    let missing = wanted.iter().filter(is_missing);
    missing
        .map(|port| format!("no pod has a port {port}"))
        .collect()
}

#[test]
fn agents_and_relays_have_the_labels_by_which_they_find_each_other() {
    let documents = rendered_without_keys(&json!({ "fullnameOverride": "other" }));
    for (kind, name, component) in [
        ("DaemonSet", "other-agent", "agent"),
        ("Deployment", "other-relay", "relay"),
    ] {
        let (metadata, _) = one(&documents, kind, name).pod().expect("a pod");
        assert_eq!(metadata["labels"]["app.kubernetes.io/name"], "l7d");
        assert_eq!(metadata["labels"]["app.kubernetes.io/component"], component);
    }
}

#[test]
fn the_relay_is_told_where_agents_are_and_what_their_certificates_say() {
    let documents = rendered_without_keys(&json!({ "clusterName": "north.1" }));
    let (_, spec) = one(&documents, "Deployment", "l7d-relay")
        .pod()
        .expect("a pod");
    let arguments = texts(&spec["containers"][0]["args"]);
    for wanted in [
        "relay",
        "--kubernetes",
        "--kubernetes-namespace=l7d-system",
        "--kubernetes-port=4244",
        "--kubernetes-selector=app.kubernetes.io/name=l7d,app.kubernetes.io/instance=l7d,app.kubernetes.io/component=agent",
        "--cluster-name=north.1",
    ] {
        assert!(arguments.contains(&wanted), "{arguments:?}");
    }
    let agent = one(&documents, "DaemonSet", "l7d-agent")
        .pod()
        .expect("a pod")
        .1;
    // The scheduler would let no other pod with the same ports onto the node.
    assert!(agent["containers"][0]["ports"].is_null());
    let arguments = texts(&agent["containers"][0]["args"]);
    assert!(arguments.contains(&"--when-replaced=wait"), "{arguments:?}");
    assert_eq!(agent["containers"][0]["env"][0]["name"], "NODE_NAME");
}

#[test]
fn what_refers_to_nothing_is_found() {
    let mut documents = rendered_without_keys(&json!({}));
    assert_eq!(inconsistencies(&documents), Vec::<String>::new());
    for document in &mut documents {
        if document.kind() == "Service" {
            document.value["spec"]["ports"][0]["targetPort"] = json!("rely");
        }
    }
    documents.retain(|document| document.kind() != "ConfigMap" && document.kind() != "Role");
    let faults = inconsistencies(&documents).join("\n");
    assert!(faults.contains("no pod has a port \"rely\""), "{faults}");
    assert!(faults.contains("no ConfigMap l7d-agent"), "{faults}");
    assert!(faults.contains("no Role l7d-relay"), "{faults}");
}
