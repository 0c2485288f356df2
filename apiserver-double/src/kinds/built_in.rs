//! Kinds that every server has.

use std::sync::Arc;

use super::{EVENTS, Resource, Version, qualify};

/// Scope and whether there is a status.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Namespaced,
    NamespacedWithStatus,
    Cluster,
    ClusterWithStatus,
}
use Is::{Cluster, ClusterWithStatus, Namespaced, NamespacedWithStatus};

/// Group, version, plural, kind, how it is served, short name.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Is,
    &'static str,
);

const BUILT_IN: [Row; 35] = [
    ("", "v1", "pods", "Pod", NamespacedWithStatus, "po"),
    ("", "v1", "namespaces", "Namespace", ClusterWithStatus, "ns"),
    ("", "v1", "nodes", "Node", ClusterWithStatus, "no"),
    ("", "v1", "services", "Service", NamespacedWithStatus, "svc"),
    ("", "v1", "endpoints", "Endpoints", Namespaced, "ep"),
    ("", "v1", "events", "Event", Namespaced, "ev"),
    (
        "",
        "v1",
        "serviceaccounts",
        "ServiceAccount",
        Namespaced,
        "sa",
    ),
    ("", "v1", "configmaps", "ConfigMap", Namespaced, "cm"),
    ("", "v1", "secrets", "Secret", Namespaced, ""),
    (
        "",
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        NamespacedWithStatus,
        "pvc",
    ),
    (
        "apps",
        "v1",
        "deployments",
        "Deployment",
        NamespacedWithStatus,
        "deploy",
    ),
    (
        "apps",
        "v1",
        "daemonsets",
        "DaemonSet",
        NamespacedWithStatus,
        "ds",
    ),
    (
        "apps",
        "v1",
        "replicasets",
        "ReplicaSet",
        NamespacedWithStatus,
        "rs",
    ),
    (
        "apps",
        "v1",
        "statefulsets",
        "StatefulSet",
        NamespacedWithStatus,
        "sts",
    ),
    ("batch", "v1", "jobs", "Job", NamespacedWithStatus, ""),
    (
        "batch",
        "v1",
        "cronjobs",
        "CronJob",
        NamespacedWithStatus,
        "cj",
    ),
    (
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        NamespacedWithStatus,
        "hpa",
    ),
    (
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        NamespacedWithStatus,
        "pdb",
    ),
    (
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "EndpointSlice",
        Namespaced,
        "",
    ),
    (
        "networking.k8s.io",
        "v1",
        "networkpolicies",
        "NetworkPolicy",
        Namespaced,
        "netpol",
    ),
    (
        "networking.k8s.io",
        "v1",
        "ingresses",
        "Ingress",
        NamespacedWithStatus,
        "ing",
    ),
    (
        "networking.k8s.io",
        "v1",
        "ingressclasses",
        "IngressClass",
        Cluster,
        "",
    ),
    ("events.k8s.io", "v1", "events", "Event", Namespaced, "ev"),
    (
        "coordination.k8s.io",
        "v1",
        "leases",
        "Lease",
        Namespaced,
        "",
    ),
    (
        "scheduling.k8s.io",
        "v1",
        "priorityclasses",
        "PriorityClass",
        Cluster,
        "pc",
    ),
    (
        "storage.k8s.io",
        "v1",
        "storageclasses",
        "StorageClass",
        Cluster,
        "sc",
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "roles",
        "Role",
        Namespaced,
        "",
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "rolebindings",
        "RoleBinding",
        Namespaced,
        "",
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "clusterroles",
        "ClusterRole",
        Cluster,
        "",
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "clusterrolebindings",
        "ClusterRoleBinding",
        Cluster,
        "",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        Cluster,
        "",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        Cluster,
        "",
    ),
    (
        "apiregistration.k8s.io",
        "v1",
        "apiservices",
        "APIService",
        ClusterWithStatus,
        "",
    ),
    (
        "certificates.k8s.io",
        "v1",
        "certificatesigningrequests",
        "CertificateSigningRequest",
        ClusterWithStatus,
        "csr",
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        ClusterWithStatus,
        "crd",
    ),
];

/// Kinds that every server has.
pub(crate) fn built_in() -> Vec<Arc<Resource>> {
    BUILT_IN.iter().map(|row| Arc::new(of_row(row))).collect()
}

fn of_row((group, version, plural, kind, is, short): &Row) -> Resource {
    let storage = if *plural == EVENTS {
        EVENTS.to_owned()
    } else {
        qualify(plural, group)
    };
    Resource {
        group: (*group).to_owned(),
        versions: vec![Version {
            name: (*version).to_owned(),
            schema: None,
            columns: Vec::new(),
        }],
        plural: (*plural).to_owned(),
        singular: kind.to_lowercase(),
        kind: (*kind).to_owned(),
        list_kind: format!("{kind}List"),
        short_names: [*short]
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| (*name).to_owned())
            .collect(),
        categories: Vec::new(),
        is_namespaced: matches!(is, Namespaced | NamespacedWithStatus),
        has_status: matches!(is, NamespacedWithStatus | ClusterWithStatus),
        is_custom: false,
        storage: storage.into(),
    }
}
