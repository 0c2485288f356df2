//! The labels that policies see: of pods, nodes and services.

use std::collections::BTreeMap;

use policy_l7::labels::counts_for_identity;
use policy_l7::{Label, Labels};

use super::Error;
use crate::config;

/// The namespace that a pod is in.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Before each label of that namespace.
const OF_NAMESPACE: &str = "io.cilium.k8s.namespace.labels.";
/// The cluster that a pod is in.
const CLUSTER: &str = "io.cilium.k8s.policy.cluster";
/// The service account that a pod runs as.
const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";

/// What a pod has of its own, as far as it makes an identity, and what is told of it: its namespace
/// with that one's labels, its cluster, its service account. A pod says nothing of the latter itself:
/// such labels of its own do not count.
pub(super) fn of_endpoint(
    endpoint: &config::Endpoint,
    of_namespace: Option<&BTreeMap<String, String>>,
    cluster: &str,
) -> Result<Labels, Error> {
    let namespace = &endpoint.namespace;
    let own = endpoint.labels.iter();
    let own = own
        .filter(|(key, _)| counts_for_identity(key) && !is_told(key))
        .map(|(key, value)| (key.clone(), value.as_str()));
    let told = [
        (NAMESPACE.to_owned(), namespace.as_str()),
        (CLUSTER.to_owned(), cluster),
    ];
    let account = endpoint.service_account.as_ref();
    let account = account.map(|account| (SERVICE_ACCOUNT.to_owned(), account.as_str()));
    let of = format!("endpoint {namespace}/{}", endpoint.name);
    own.chain(of_its_namespace(namespace, of_namespace))
        .chain(told)
        .chain(account)
        .map(|(key, value)| label(&of, "k8s", &key, value))
        .collect()
}

/// What a pod with these labels has of its own, and its service account: the reverse of [`of_endpoint`].
pub(super) fn own_of(labels: &Labels) -> (BTreeMap<String, String>, Option<String>) {
    let mut own = BTreeMap::new();
    let mut account = None;
    for label in labels.iter() {
        let key = &*label.key;
        if key == SERVICE_ACCOUNT {
            account = Some(label.value.clone());
        } else if !is_told(key) {
            own.insert(label.key.clone(), label.value.clone());
        }
    }
    (own, account)
}

/// Whether labels of that name are told of a pod, and not by it.
fn is_told(key: &str) -> bool {
    [NAMESPACE, CLUSTER, SERVICE_ACCOUNT].contains(&key) || key.starts_with(OF_NAMESPACE)
}

/// The same pod, when its namespace has other labels.
pub(super) fn in_namespace(
    labels: &Labels,
    namespace: &str,
    of_namespace: Option<&BTreeMap<String, String>>,
) -> Result<Labels, Error> {
    let of = format!("namespace {namespace}");
    let others = labels.iter();
    let others = others.filter(|label| !label.key.starts_with(OF_NAMESPACE));
    let of_namespace = of_its_namespace(namespace, of_namespace);
    let of_namespace = of_namespace.map(|(key, value)| label(&of, "k8s", &key, value));
    others.map(Ok).chain(of_namespace).collect()
}

/// Labels that a pod has by its namespace. The API server gives every namespace one with its name.
fn of_its_namespace<'n>(
    namespace: &'n str,
    labels: Option<&'n BTreeMap<String, String>>,
) -> impl Iterator<Item = (String, &'n str)> {
    let of_itself = format!("{OF_NAMESPACE}kubernetes.io/metadata.name");
    let labels = labels.into_iter().flatten();
    labels
        .map(|(key, value)| (format!("{OF_NAMESPACE}{key}"), value.as_str()))
        .chain([(of_itself, namespace)])
}

/// Reserved labels and those of the node.
pub(super) fn of_node(reserved: &[&str], node: Option<&config::Node>) -> Result<Labels, Error> {
    let of = format!("node {}", node.map_or("", |node| &node.name));
    let own = node.into_iter().flat_map(|node| &node.labels);
    let reserved = reserved.iter();
    own.map(|(key, value)| label(&of, "node", key, value))
        .chain(reserved.map(|name| label(&of, "reserved", name, "")))
        .collect()
}

/// A service, as policies may name it.
pub(super) fn of_service(service: &config::Service) -> policy_l7::Service {
    let labels = service.labels.iter().map(|(key, value)| Label {
        source: "k8s".to_owned(),
        key: key.clone(),
        value: value.clone(),
    });
    policy_l7::Service {
        namespace: service.namespace.clone(),
        name: service.name.clone(),
        labels: labels.collect(),
        selector: service.selector.clone(),
        backends: service.backends.clone(),
    }
}

fn label(of: &str, source: &str, key: &str, value: &str) -> Result<Label, Error> {
    let text = format!("{source}:{key}={value}");
    text.parse().map_err(|cause| Error::Label {
        of: of.to_owned(),
        label: format!("{key}: {value}"),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_config;

    fn labels(text: &str) -> Vec<String> {
        let config = read_config("l7d.yaml", text).expect("a configuration");
        let labels = {
            let endpoint = &config.endpoints[0];
            let of_namespace = config.namespaces.get(&endpoint.namespace);
            of_endpoint(endpoint, of_namespace, &config.cluster).expect("labels")
        };
        labels.iter().map(|label| label.to_string()).collect()
    }

    #[test]
    fn a_pod_has_its_own_labels_and_those_that_are_told_of_it() {
        let text = "cluster: c1\nnamespaces: [{name: shop, labels: {team: blue}}]\nendpoints:\n- {name: web, namespace: shop, serviceAccount: w, ips: [10.0.0.1], labels: {app: web, pod-template-hash: a1, app.kubernetes.io/name: web}}\n";
        assert_eq!(
            labels(text),
            [
                "k8s:app=web",
                "k8s:app.kubernetes.io/name=web",
                "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop",
                "k8s:io.cilium.k8s.namespace.labels.team=blue",
                "k8s:io.cilium.k8s.policy.cluster=c1",
                "k8s:io.cilium.k8s.policy.serviceaccount=w",
                "k8s:io.kubernetes.pod.namespace=shop",
            ]
        );
    }

    #[test]
    fn a_pod_cannot_say_that_it_is_elsewhere() {
        let text = "endpoints:\n- {name: web, ips: [10.0.0.1], labels: {io.kubernetes.pod.namespace: bank, io.cilium.k8s.namespace.labels.team: red, io.cilium.k8s.policy.cluster: c2, io.cilium.k8s.policy.serviceaccount: root}}\n";
        assert_eq!(
            labels(text),
            [
                "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default",
                "k8s:io.cilium.k8s.policy.cluster=default",
                "k8s:io.kubernetes.pod.namespace=default",
            ]
        );
    }
}
