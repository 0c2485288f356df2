//! Pods as an API server has them.

use serde_json::{Value, json};

/// Namespaces that pods are in.
pub(super) const NAMESPACES: usize = 200;
const PODS_OF_A_NODE: usize = 50;
const PODS_OF_A_WORKLOAD: usize = 20;

pub(super) fn namespace(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": format!("team-{number}"), "labels": { "team": "x" } },
    })
}

/// As an API server has it, with all that is not kept.
pub(super) fn pod(index: usize, at: u64) -> Value {
    let workload = index / PODS_OF_A_WORKLOAD;
    let namespace = format!("team-{}", workload % NAMESPACES);
    let name = format!("service-{workload}-7d9c6b8f5d-{index:05x}");
    let ip = format!(
        "10.{}.{}.{}",
        index >> 16 & 255,
        index >> 8 & 255,
        index & 255
    );
    let owned = |fields: Value| {
        json!({ "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": fields })
    };
    let fields: serde_json::Map<String, Value> = (0..40)
        .map(|field| (format!("f:field-{field}"), json!({ ".": {}, "f:name": {} })))
        .collect();
    let environment: Vec<Value> = (0..12)
        .map(|one| json!({ "name": format!("SETTING_{one}"), "value": format!("value of setting {one}") }))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "generateName": format!("service-{workload}-7d9c6b8f5d-"),
            "labels": {
                "app.kubernetes.io/name": format!("service-{workload}"), "app.kubernetes.io/part-of": namespace,
                "tier": "backend", "pod-template-hash": "7d9c6b8f5d", "at": at.to_string(),
            },
            "annotations": { "checksum/config": "b3f1d8c2".repeat(8) },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                "name": format!("service-{workload}-7d9c6b8f5d"), "uid": "1b7cfb39-9a4c-4a93-a1a4-5e5d1e8f1c11" }],
            "managedFields": [owned(json!({ "f:spec": fields })), owned(json!({ "f:status": fields }))],
        },
        "spec": {
            "nodeName": format!("node-{}", index / PODS_OF_A_NODE), "serviceAccountName": "default",
            "containers": [{
                "name": "service", "image": "registry.example.com/team/service:1.2.3", "env": environment,
                "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
                "resources": { "requests": { "cpu": "100m", "memory": "128Mi" } },
                "volumeMounts": [{ "name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" }],
            }],
            "volumes": [{ "name": "token", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } }],
            "tolerations": [{ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute" }],
        },
        "status": {
            "phase": "Running", "hostIP": "192.0.2.1", "podIP": ip, "podIPs": [{ "ip": ip }],
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
            "containerStatuses": [{ "name": "service", "ready": true, "image": "registry.example.com/team/service:1.2.3" }],
        },
    })
}
