//! Writes: what they may do, and what they make of an object.

use apiserver_double::Double;
use serde_json::json;

use crate::client::{
    POLICIES, at, config_map, definition, get, pod, policy, send, write, write_as,
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[test]
fn an_object_is_made_changed_and_deleted() -> anyhow::Result<()> {
    let double = Double::start()?;
    let (code, made) = write(&double, "POST", MAPS, &config_map("a", "1"))?;
    assert_eq!(code, 201, "{made}");
    for member in ["uid", "creationTimestamp", "resourceVersion"] {
        assert!(made["metadata"].get(member).is_some(), "{member}: {made}");
    }
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "tester");
    let (code, status) = write(&double, "POST", MAPS, &config_map("a", "1"))?;
    assert_eq!(
        (code, at(&status, "/message")),
        (409, "configmaps \"a\" already exists")
    );

    let path = format!("{MAPS}/a");
    let mut second = made.clone();
    second["data"]["value"] = json!("2");
    let (code, replaced) = write(&double, "PUT", &path, &second)?;
    assert_eq!(code, 200, "{replaced}");
    let (code, status) = write(&double, "PUT", &path, &second)?;
    assert_eq!(
        (code, at(&status, "/reason")),
        (409, "Conflict"),
        "an old version"
    );
    let (_, same) = write(&double, "PUT", &path, &config_map("a", "2"))?;
    assert_eq!(
        same["metadata"]["resourceVersion"], replaced["metadata"]["resourceVersion"],
        "nothing has changed"
    );

    let wrong = json!({ "preconditions": { "uid": "another" } });
    assert_eq!(write(&double, "DELETE", &path, &wrong)?.0, 409);
    let right = json!({ "preconditions": { "uid": made["metadata"]["uid"] } });
    assert_eq!(write(&double, "DELETE", &path, &right)?.0, 200);
    let (code, status) = write(&double, "DELETE", &path, &json!({}))?;
    assert_eq!(
        (code, at(&status, "/message")),
        (404, "configmaps \"a\" not found")
    );
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_with_its_field() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut nameless = config_map("", "1");
    nameless["metadata"]["generateName"] = json!("made-");
    let (_, made) = write(&double, "POST", MAPS, &nameless)?;
    assert_eq!(at(&made, "/metadata/name").len(), "made-".len() + 5);
    let elsewhere = "/api/v1/namespaces/none/configmaps";
    let mut homeless = config_map("a", "1");
    homeless["metadata"]["namespace"] = json!("none");
    let cases = [
        (MAPS, config_map("Not_A_Name", "1"), 422, "metadata.name"),
        (MAPS, config_map("", "1"), 422, "metadata.name"),
        (
            MAPS,
            json!({ "kind": "Secret", "metadata": { "name": "a" } }),
            400,
            "Secret",
        ),
        (MAPS, homeless.clone(), 400, "namespace"),
        (elsewhere, homeless, 404, "namespaces \"none\" not found"),
        (
            "/api/v1/namespaces/default/pods",
            json!({ "metadata": { "name": "a" } }),
            422,
            "spec.containers",
        ),
    ];
    for (path, object, expected, word) in cases {
        let (code, status) = write(&double, "POST", path, &object)?;
        assert_eq!(code, expected, "{status}");
        assert!(at(&status, "/message").contains(word), "{status}");
    }
    Ok(())
}

#[test]
fn status_and_specification_are_written_apart_and_one_counts() -> anyhow::Result<()> {
    let double = Double::start()?;
    double.put(&definition())?;
    let mut wishful = policy("p");
    wishful["status"] = json!({ "conditions": [] });
    let (_, made) = write(&double, "POST", POLICIES, &wishful)?;
    assert!(made.get("status").is_none(), "{made}");
    assert_eq!(made["metadata"]["generation"], 1);

    let path = format!("{POLICIES}/p");
    let mut both = made;
    both["spec"]["ingress"] = json!([]);
    both["status"] = json!({ "conditions": [{ "type": "Valid", "status": "True" }] });
    let (code, after) = write(&double, "PUT", &format!("{path}/status"), &both)?;
    assert_eq!(code, 200, "{after}");
    assert_eq!(at(&after, "/status/conditions/0/status"), "True");
    assert!(after["spec"].get("ingress").is_none());
    assert_eq!(after["metadata"]["generation"], 1);

    let merge = "application/merge-patch+json";
    let change = json!({ "spec": { "ingress": [] }, "status": { "conditions": [] } });
    let (_, after) = write_as(&double, "PATCH", &path, merge, &change)?;
    assert_eq!(after["metadata"]["generation"], 2);
    assert_eq!(at(&after, "/status/conditions/0/status"), "True");
    let labels = json!({ "metadata": { "labels": { "a": "b" } } });
    let (_, after) = write_as(&double, "PATCH", &path, merge, &labels)?;
    assert_eq!(
        after["metadata"]["generation"], 2,
        "labels are no specification"
    );
    let unversioned = policy("p");
    assert_eq!(write(&double, "PUT", &path, &unversioned)?.0, 422);
    Ok(())
}

#[test]
fn status_is_applied_by_managers_side_by_side() -> anyhow::Result<()> {
    let double = Double::start()?;
    double.put(&definition())?;
    double.put(&policy("p"))?;
    let apply = |manager: &str, kind: &str, status: &str, more: &str| {
        let applied = json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": { "name": "p" },
            "status": { "conditions": [{ "type": kind, "status": status }] },
        });
        let path = format!("{POLICIES}/p/status?fieldManager={manager}{more}");
        write_as(
            &double,
            "PATCH",
            &path,
            "application/apply-patch+yaml",
            &applied,
        )
    };
    assert_eq!(apply("one", "Valid", "True", "")?.0, 200);
    let (code, both) = apply("two", "Other", "False", "")?;
    assert_eq!(code, 200, "{both}");
    assert_eq!(
        both["status"]["conditions"].as_array().map(Vec::len),
        Some(2)
    );
    let (code, conflict) = apply("two", "Valid", "False", "")?;
    assert_eq!(code, 409, "{conflict}");
    assert!(
        at(&conflict, "/message").contains("conflict with \"one\""),
        "{conflict}"
    );
    let (code, forced) = apply("two", "Valid", "False", "&force=true")?;
    assert_eq!(code, 200, "{forced}");
    assert_eq!(
        forced["status"]["conditions"],
        json!([{ "type": "Valid", "status": "False" }])
    );
    Ok(())
}

#[test]
fn patches_of_all_forms_change_what_they_name() -> anyhow::Result<()> {
    let double = Double::start()?;
    double.put(&pod("a", "web", "n1"))?;
    let at_pod = "/api/v1/namespaces/default/pods/a";
    let patch = |form: &str, patch: serde_json::Value| {
        write_as(
            &double,
            "PATCH",
            at_pod,
            &format!("application/{form}"),
            &patch,
        )
    };
    let (_, after) = patch(
        "strategic-merge-patch+json",
        json!({ "spec": { "containers": [{ "name": "c", "image": "new" }] } }),
    )?;
    assert_eq!(
        after["spec"]["containers"],
        json!([{ "name": "c", "image": "new" }])
    );
    let (_, after) = patch(
        "json-patch+json",
        json!([{ "op": "replace", "path": "/metadata/labels/app", "value": "api" }]),
    )?;
    assert_eq!(at(&after, "/metadata/labels/app"), "api");
    let (_, after) = patch(
        "merge-patch+json",
        json!({ "metadata": { "labels": { "app": null, "x": "y" } } }),
    )?;
    assert_eq!(after["metadata"]["labels"], json!({ "x": "y" }));
    assert_eq!(
        patch(
            "json-patch+json",
            json!([{ "op": "remove", "path": "/none" }])
        )?
        .0,
        422
    );
    assert_eq!(
        patch("merge-patch+json", json!({ "spec": { "nodeName": "n2" } }))?.0,
        422,
        "pods stay where they are"
    );
    assert_eq!(patch("yaml", json!({}))?.0, 415);
    let old = json!({ "metadata": { "resourceVersion": "1", "labels": { "x": "z" } } });
    assert_eq!(patch("merge-patch+json", old)?.0, 409);
    Ok(())
}

#[test]
fn a_namespace_takes_along_what_is_in_it() -> anyhow::Result<()> {
    let double = Double::start()?;
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "prod" } });
    let (_, made) = write(&double, "POST", "/api/v1/namespaces", &namespace)?;
    assert_eq!(
        made["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "prod"
    );
    let mut inside = config_map("a", "1");
    inside["metadata"]["namespace"] = json!("prod");
    double.put(&inside)?;
    assert_eq!(
        write(&double, "DELETE", "/api/v1/namespaces/prod", &json!({}))?.0,
        200
    );
    assert_eq!(double.object("ConfigMap", "prod", "a"), None);
    assert_eq!(double.object("Namespace", "", "prod"), None);
    Ok(())
}

#[test]
fn finalizers_hold_an_object_until_they_are_gone() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut held = config_map("a", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    double.put(&held)?;
    let path = format!("{MAPS}/a");
    let (_, left) = write(&double, "DELETE", &path, &json!({}))?;
    assert!(
        left["metadata"].get("deletionTimestamp").is_some(),
        "{left}"
    );
    let change = json!({ "metadata": { "finalizers": null } });
    write_as(
        &double,
        "PATCH",
        &path,
        "application/merge-patch+json",
        &change,
    )?;
    assert_eq!(double.object("ConfigMap", "default", "a"), None);
    Ok(())
}

#[test]
fn events_of_both_groups_are_the_same_objects() -> anyhow::Result<()> {
    let double = Double::start()?;
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let mut event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": "e", "namespace": "default" },
        "regarding": { "kind": "CiliumNetworkPolicy", "namespace": "default", "name": "p" },
        "reason": "Refused", "note": "spec.x: no such field", "type": "Warning",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "l7d", "reportingInstance": "node",
    });
    let (code, status) = write(&double, "POST", path, &event)?;
    assert_eq!(code, 422, "{status}");
    assert!(at(&status, "/message").contains("action"), "{status}");
    event["action"] = json!("Compile");
    let (code, made) = write(&double, "POST", path, &event)?;
    assert_eq!((code, at(&made, "/note")), (201, "spec.x: no such field"));
    let older = get(
        &double,
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp",
    )?;
    assert_eq!(at(&older, "/items/0/message"), "spec.x: no such field");
    assert_eq!(at(&older, "/items/0/involvedObject/name"), "p");
    event["metadata"]["name"] = json!("elsewhere");
    event["regarding"]["namespace"] = json!("kube-system");
    assert_eq!(write(&double, "POST", path, &event)?.0, 422);
    Ok(())
}

#[test]
fn a_dry_run_tells_what_would_be_and_writes_nothing() -> anyhow::Result<()> {
    let double = Double::start()?;
    let revision = double.revision();
    let (code, made) = write(
        &double,
        "POST",
        &format!("{MAPS}?dryRun=All"),
        &config_map("a", "1"),
    )?;
    assert_eq!((code, at(&made, "/metadata/name")), (201, "a"));
    assert_eq!(double.revision(), revision);
    assert_eq!(
        send(&double, "GET", &format!("{MAPS}/a"), &[], "")?.code,
        404
    );
    Ok(())
}

#[test]
fn a_collection_is_deleted_by_selector() -> anyhow::Result<()> {
    let double = Double::start()?;
    for (name, app) in [("a", "web"), ("b", "web"), ("c", "api")] {
        double.put(&pod(name, app, "n1"))?;
    }
    let path = "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb";
    assert_eq!(write(&double, "DELETE", path, &json!({}))?.0, 200);
    let left: Vec<_> = double
        .objects("Pod")
        .iter()
        .map(|pod| at(pod, "/metadata/name").to_owned())
        .collect();
    assert_eq!(left, ["c"]);
    Ok(())
}
