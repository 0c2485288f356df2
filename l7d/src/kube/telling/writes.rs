//! What is written: a condition in a policy's status, and Events about it.

use hyper::Method;
use serde_json::{Value, json};

use super::plan::Job;
use crate::host::cluster::{Kind, Name};
use crate::kube::api::Write;
use crate::kube::resource::{escaped, plural_of_cilium};

/// All agents are one manager of their fields: what one writes, another may write as well.
const MANAGER: &str = "l7d";
/// Names of objects have 253 characters at most.
const NAME_MAX: usize = 230;
const INSTANCE_MAX: usize = 128;

/// Of the kinds that are told about.
fn api_version(kind: Kind) -> &'static str {
    if kind == Kind::NetworkPolicy {
        "networking.k8s.io/v1"
    } else {
        "cilium.io/v2"
    }
}

/// The condition of a policy, at a time as RFC 3339 has it. Applied by the server: other conditions, and
/// fields of other managers, stay; an object of that name that is another one refuses.
pub(super) fn status(job: &Job, now: &str) -> Write {
    let (kind, Name { namespace, name }) = &job.key;
    let mut metadata = json!({ "name": name, "uid": job.uid });
    let place = if namespace.is_empty() {
        String::new()
    } else {
        if let Value::Object(metadata) = &mut metadata {
            metadata.insert("namespace".to_owned(), Value::from(&**namespace));
        }
        format!("namespaces/{}/", escaped(namespace))
    };
    let condition = &job.condition;
    let former = job.former.as_ref();
    let since = former
        .filter(|former| former.status == condition.status)
        .map(|former| former.last_transition_time.as_str())
        .filter(|since| !since.is_empty())
        .unwrap_or(now);
    let body = json!({
        "apiVersion": api_version(*kind),
        "kind": kind.name(),
        "metadata": metadata,
        "status": { "conditions": [{
            "type": "Valid",
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": since,
        }] },
    });
    let plural = plural_of_cilium(*kind).unwrap_or_default();
    Write {
        method: Method::PATCH,
        path: format!(
            "/apis/cilium.io/v2/{place}{plural}/{}/status?fieldManager={MANAGER}&force=true",
            escaped(name)
        ),
        content_type: "application/apply-patch+yaml",
        json: body.to_string(),
    }
}

/// An Event about a policy, where people are to be told: by the same name from every agent.
pub(super) fn event(job: &Job, node: &str, now: &str) -> Option<Write> {
    let is_warning = job.condition.is_event()?;
    let (kind, Name { namespace, name }) = &job.key;
    // Objects of the cluster have their Events there.
    let place = if namespace.is_empty() {
        "default"
    } else {
        namespace
    };
    let condition = &job.condition;
    let mut regarding = json!({
        "apiVersion": api_version(*kind),
        "kind": kind.name(),
        "name": name,
        "uid": job.uid,
    });
    if let Value::Object(regarding) = &mut regarding
        && !namespace.is_empty()
    {
        regarding.insert("namespace".to_owned(), Value::from(&**namespace));
    }
    let body = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": event_name(job), "namespace": place },
        "eventTime": now,
        "reportingController": MANAGER,
        "reportingInstance": node.chars().take(INSTANCE_MAX).collect::<String>(),
        "action": "Enforce",
        "reason": condition.reason,
        "type": if is_warning { "Warning" } else { "Normal" },
        "note": condition.message,
        "regarding": regarding,
    });
    Some(Write {
        method: Method::POST,
        path: format!(
            "/apis/events.k8s.io/v1/namespaces/{}/events",
            escaped(place)
        ),
        content_type: "application/json",
        json: body.to_string(),
    })
}

/// A name that every agent gives to the Event about one outcome of one version of a policy.
fn event_name(job: &Job) -> String {
    let (kind, Name { name, .. }) = &job.key;
    let mut hash = crc32fast::Hasher::new();
    for part in [
        kind.name(),
        &job.uid,
        &job.condition.reason,
        &job.condition.message,
    ] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    let name: String = name.chars().take(NAME_MAX).collect();
    let name = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    format!("{name}.l7d-{:08x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::super::condition::Condition;
    use super::*;
    use crate::host::cluster::Outcome;

    fn job(kind: Kind, outcome: &Outcome) -> Job {
        Job {
            key: (kind, Name::new("shop", &"a.".repeat(120))),
            uid: "u".to_owned(),
            generation: 1,
            condition: Condition::of(outcome, 1),
            former: None,
        }
    }

    #[test]
    fn every_agent_gives_an_event_the_same_name() {
        let job = job(Kind::NetworkPolicy, &Outcome::SelectsNothing);
        let read = |node: &str| -> Value {
            let write = event(&job, node, "2026-01-01T00:00:00.000000Z").expect("an Event");
            serde_json::from_str(&write.json).expect("JSON")
        };
        let (one, other) = (read("a"), read("b"));
        assert_eq!(one["metadata"], other["metadata"]);
        let name = one["metadata"]["name"].as_str().expect("a name");
        assert!(name.len() <= 253 && !name.contains(".."), "{name}");
        assert_eq!(one["type"], "Normal");
    }

    #[test]
    fn a_condition_that_stays_true_keeps_its_time() {
        let mut job = job(Kind::CiliumNetworkPolicy, &Outcome::SelectsNothing);
        job.former = Some(Condition {
            last_transition_time: "2025-01-01T00:00:00Z".to_owned(),
            ..Condition::of(&Outcome::Accepted, 1)
        });
        let read = |job: &Job| -> Value {
            let write = status(job, "2026-01-01T00:00:00Z");
            serde_json::from_str(&write.json).expect("JSON")
        };
        let time = |value: &Value| value["status"]["conditions"][0]["lastTransitionTime"].clone();
        assert_eq!(time(&read(&job)), "2025-01-01T00:00:00Z");
        job.former = Some(Condition::of(&Outcome::Refused(Vec::new()), 1));
        assert_eq!(time(&read(&job)), "2026-01-01T00:00:00Z");
    }
}
