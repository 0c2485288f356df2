//! What is wrong with an object by the schema of its kind.
//!
//! Kubernetes' own types know which fields there are and of which type, but read past what they do not know,
//! as an API server does unless it is asked to be strict. So whatever is missing in what they write back was
//! unknown to them.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Document;
use crate::operator::{Certificate, Issuer, PodMonitor, PrometheusRule};

/// Everything that is wrong with it; a kind that is not known here is a fault, too.
pub fn faults(document: &Document) -> Vec<String> {
    let version = document.text("/apiVersion");
    let read = match (version, document.kind()) {
        ("apps/v1", "DaemonSet") => written_back::<DaemonSet>,
        ("apps/v1", "Deployment") => written_back::<Deployment>,
        ("autoscaling/v2", "HorizontalPodAutoscaler") => written_back::<HorizontalPodAutoscaler>,
        ("cert-manager.io/v1", "Certificate") => written_back::<Certificate>,
        ("cert-manager.io/v1", "Issuer") => written_back::<Issuer>,
        ("monitoring.coreos.com/v1", "PodMonitor") => written_back::<PodMonitor>,
        ("monitoring.coreos.com/v1", "PrometheusRule") => written_back::<PrometheusRule>,
        ("networking.k8s.io/v1", "NetworkPolicy") => written_back::<NetworkPolicy>,
        ("policy/v1", "PodDisruptionBudget") => written_back::<PodDisruptionBudget>,
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => written_back::<ClusterRole>,
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            written_back::<ClusterRoleBinding>
        }
        ("rbac.authorization.k8s.io/v1", "Role") => written_back::<Role>,
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => written_back::<RoleBinding>,
        ("v1", "ConfigMap") => written_back::<ConfigMap>,
        ("v1", "Pod") => written_back::<Pod>,
        ("v1", "Secret") => written_back::<Secret>,
        ("v1", "Service") => written_back::<Service>,
        ("v1", "ServiceAccount") => written_back::<ServiceAccount>,
        (version, kind) => return vec![format!("no schema for {kind} of {version}")],
    };
    let mut faults = match read(&document.value) {
        Ok(fresh) => dropped("", &document.value, &fresh),
        Err(fault) => vec![fault.to_string()],
    };
    for fault in &mut faults {
        let (source, kind, name) = (&document.source, document.kind(), document.name());
        *fault = format!("{source}: {kind} {name}: {fault}");
    }
    faults
}

fn written_back<T: DeserializeOwned + Serialize>(value: &Value) -> serde_json::Result<Value> {
    serde_json::to_value(serde_json::from_value::<T>(value.clone())?)
}

/// What `fresh` lacks, or has otherwise.
fn dropped(path: &str, former: &Value, fresh: &Value) -> Vec<String> {
    match (former, fresh) {
        (Value::Object(former), Value::Object(fresh)) => {
            let entries = former.iter().filter(|(_, value)| !value.is_null());
            entries
                .flat_map(|(name, value)| match fresh.get(name) {
                    Some(fresh) => dropped(&format!("{path}.{name}"), value, fresh),
                    None => vec![format!("{path}.{name}: no such field")],
                })
                .collect()
        }
        (Value::Array(former), Value::Array(fresh)) if former.len() == fresh.len() => {
            let pairs = former.iter().zip(fresh).enumerate();
            pairs
                .flat_map(|(at, (former, fresh))| dropped(&format!("{path}[{at}]"), former, fresh))
                .collect()
        }
        (former, fresh) if former == fresh => Vec::new(),
        (former, fresh) => vec![format!("{path}: {former} is read as {fresh}")],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults_of(value: Value) -> Vec<String> {
        faults(&Document {
            source: "x.yaml".to_owned(),
            value,
        })
    }

    #[test]
    fn a_misspelt_field_and_a_wrong_type_are_found() {
        let pod = |container: Value| {
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
                    "spec": { "containers": [ container ] } })
        };
        assert!(faults_of(pod(json!({ "name": "c", "image": "i" }))).is_empty());
        let misspelt = pod(json!({ "name": "c", "securityContext": { "privilegd": false } }));
        assert_eq!(
            faults_of(misspelt),
            ["x.yaml: Pod p: .spec.containers[0].securityContext.privilegd: no such field"]
        );
        let port = pod(json!({ "name": "c", "ports": [ { "containerPort": "80" } ] }));
        assert_eq!(faults_of(port).len(), 1);
        let unknown = json!({ "apiVersion": "v1", "kind": "Pott", "metadata": { "name": "p" } });
        assert!(faults_of(unknown)[0].contains("no schema"));
    }

    #[test]
    fn resources_of_operators_are_read_strictly() {
        let rule = |rule: Value| {
            json!({ "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
                    "metadata": { "name": "r" },
                    "spec": { "groups": [ { "name": "g", "rules": [ rule ] } ] } })
        };
        assert!(faults_of(rule(json!({ "alert": "A", "expr": "up == 0" }))).is_empty());
        let faults = faults_of(rule(json!({ "alert": "A", "exprr": "up == 0" })));
        assert!(faults[0].contains("unknown field `exprr`"), "{faults:?}");
    }
}
