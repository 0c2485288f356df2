//! What the server itself writes into objects, and what it refuses for what they say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::place;
use crate::refusal::Refusal;
use crate::store::Write;

/// This second, as objects write it.
pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Defaults of a new object. `number` is its own.
pub(crate) fn on_create(write: &Write, object: &mut Value, number: u32) -> Result<(), Refusal> {
    match &*write.resource.storage {
        "namespaces" => {
            let name = write.name.name.as_str();
            place::set(
                object,
                &["metadata", "labels", "kubernetes.io/metadata.name"],
                name,
            );
            place::set(object, &["spec", "finalizers"], json!(["kubernetes"]));
            place::set(object, &["status", "phase"], "Active");
        }
        "pods" => {
            if place::items(object, "/spec/containers").is_empty() {
                return Err(write.invalid("spec.containers", "Required value"));
            }
            for (member, default) in [
                ("restartPolicy", "Always"),
                ("dnsPolicy", "ClusterFirst"),
                ("schedulerName", "default-scheduler"),
                ("serviceAccountName", "default"),
            ] {
                place::set_absent(object, &["spec", member], default);
            }
            place::set_absent(object, &["status", "phase"], "Pending");
        }
        "services" => {
            let [high, low] = [number >> 8 & 0xff, number & 0xff];
            let kind = place::text(object, "/spec/type");
            if kind != "ExternalName" {
                place::set_absent(
                    object,
                    &["spec", "clusterIP"],
                    format!("10.96.{high}.{low}"),
                );
                let address = object
                    .pointer("/spec/clusterIP")
                    .cloned()
                    .unwrap_or_default();
                place::set_absent(object, &["spec", "clusterIPs"], json!([address]));
            }
        }
        "events" => check_event(write, object)?,
        _ => {}
    }
    defaults(write, object);
    Ok(())
}

/// Defaults of a changed object.
pub(crate) fn on_update(write: &Write, before: &Value, object: &mut Value) -> Result<(), Refusal> {
    match &*write.resource.storage {
        "namespaces" => {
            let name = write.name.name.as_str();
            place::set(
                object,
                &["metadata", "labels", "kubernetes.io/metadata.name"],
                name,
            );
        }
        "services" => {
            for member in ["clusterIP", "clusterIPs"] {
                if let Some(value) = before.pointer(&format!("/spec/{member}")) {
                    place::set_absent(object, &["spec", member], value.clone());
                }
            }
        }
        "pods" => check_pod(write, before, object)?,
        _ => {}
    }
    defaults(write, object);
    Ok(())
}

/// A pod's specification stays, but for its images.
fn check_pod(write: &Write, before: &Value, after: &Value) -> Result<(), Refusal> {
    let fixed = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for containers in ["containers", "initContainers"] {
            let containers = spec.get_mut(containers).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                place::take(container, &["image"]);
            }
        }
        for member in [
            "tolerations",
            "activeDeadlineSeconds",
            "terminationGracePeriodSeconds",
        ] {
            place::take(&mut spec, &[member]);
        }
        spec
    };
    if fixed(before) == fixed(after) {
        return Ok(());
    }
    let message = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, \
                   `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations`, \
                   `spec.terminationGracePeriodSeconds`";
    Err(write.invalid("spec", message))
}

fn defaults(write: &Write, object: &mut Value) {
    match &*write.resource.storage {
        "services" => {
            place::set_absent(object, &["spec", "type"], "ClusterIP");
            place::set_absent(object, &["spec", "sessionAffinity"], "None");
            let ports = object
                .pointer_mut("/spec/ports")
                .and_then(Value::as_array_mut);
            for port in ports.into_iter().flatten() {
                let number = port.get("port").cloned().unwrap_or_default();
                place::set_absent(port, &["protocol"], "TCP");
                place::set_absent(port, &["targetPort"], number);
            }
        }
        "networkpolicies.networking.k8s.io" => {
            let has_egress = !place::items(object, "/spec/egress").is_empty();
            let types = if has_egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
            place::set_absent(object, &["spec", "policyTypes"], types);
        }
        "secrets" => {
            place::set_absent(object, &["type"], "Opaque");
            if let Some(Value::Object(plain)) = place::take(object, &["stringData"]) {
                for (key, value) in plain {
                    let value = STANDARD.encode(value.as_str().unwrap_or_default());
                    place::set(object, &["data", &key], value);
                }
            }
        }
        _ => {}
    }
}

/// What events of either group must say.
fn check_event(write: &Write, event: &Value) -> Result<(), Refusal> {
    let about = place::text(event, "/involvedObject/namespace");
    let about = if about.is_empty() { "default" } else { about };
    if about != write.name.namespace {
        return Err(write.invalid(
            "involvedObject.namespace",
            &format!("Invalid value: \"{about}\": does not match event.namespace"),
        ));
    }
    if write.resource.group.is_empty() {
        return Ok(());
    }
    let required = [
        ("eventTime", "/eventTime", usize::MAX),
        ("reportingController", "/reportingComponent", 128),
        ("reportingInstance", "/reportingInstance", 128),
        ("action", "/action", 128),
        ("reason", "/reason", 128),
    ];
    for (field, pointer, most) in required {
        let value = place::text(event, pointer);
        if value.is_empty() {
            return Err(write.invalid(field, "Required value"));
        }
        if value.len() > most {
            return Err(write.invalid(
                field,
                &format!("Invalid value: can have at most {most} characters"),
            ));
        }
    }
    if place::text(event, "/message").len() > 1024 {
        return Err(write.invalid("note", "Invalid value: can have at most 1024 characters"));
    }
    if !["Normal", "Warning"].contains(&place::text(event, "/type")) {
        return Err(write.invalid("type", "Invalid value: has invalid value"));
    }
    Ok(())
}

/// A definition says that its kind is served.
pub(crate) fn establish(definition: &mut Value) {
    let names = definition
        .pointer("/spec/names")
        .cloned()
        .unwrap_or_default();
    let stored = place::items(definition, "/spec/versions").iter();
    let stored = stored.filter(|version| version.get("storage") == Some(&Value::Bool(true)));
    let stored: Vec<String> = stored
        .map(|version| place::text(version, "/name").to_owned())
        .collect();
    place::set(definition, &["status", "acceptedNames"], names);
    place::set(definition, &["status", "storedVersions"], stored);
    let condition = |kind: &str, reason: &str, message: &str| json!({ "type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now() });
    place::set_absent(
        definition,
        &["status", "conditions"],
        json!([
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                "InitialNamesAccepted",
                "the initial names have been accepted"
            ),
        ]),
    );
}
