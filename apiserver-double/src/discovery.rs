//! Which kinds there are, for clients that ask.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kinds::{Resource, api_version};
use crate::store::Store;

/// The answer to `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "32",
        "gitVersion": "v1.32.0",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": "linux/amd64",
    })
}

/// The answer to a path of discovery; none for any other.
pub(crate) fn answer(store: &Store, path: &str) -> Option<Value> {
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
    match steps.as_slice() {
        ["version"] => Some(version()),
        ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        ["api", version] => resources(store, "", version),
        ["apis"] => Some(groups(store)),
        ["apis", name] => {
            let groups = versions(store);
            groups.get(*name).map(|versions| {
                let mut group = group(name, versions);
                crate::place::set(&mut group, &["kind"], "APIGroup");
                crate::place::set(&mut group, &["apiVersion"], "v1");
                group
            })
        }
        ["apis", group, version] => resources(store, group, version),
        ["openapi", "v2"] => Some(json!({
            "swagger": "2.0",
            "info": { "title": "Kubernetes", "version": "v1.32.0" },
            "paths": {},
            "definitions": {},
        })),
        ["openapi", "v3"] => Some(documents(store)),
        ["openapi", "v3", "api", version] => document(store, "", version),
        ["openapi", "v3", "apis", group, version] => document(store, group, version),
        _ => None,
    }
}

/// Versions by group, without the core group.
fn versions(store: &Store) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for resource in store
        .resources()
        .iter()
        .filter(|resource| !resource.group.is_empty())
    {
        let known = groups.entry(&resource.group).or_default();
        for version in &resource.versions {
            if !known.contains(&version.name.as_str()) {
                known.push(&version.name);
            }
        }
    }
    groups
}

fn groups(store: &Store) -> Value {
    let groups = versions(store);
    let groups = groups.iter().map(|(name, versions)| group(name, versions));
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>() })
}

fn group(name: &str, versions: &[&str]) -> Value {
    let version =
        |version: &&str| json!({ "groupVersion": api_version(name, version), "version": version });
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({ "name": name, "preferredVersion": versions.first(), "versions": versions })
}

fn of<'s>(
    store: &'s Store,
    group: &'s str,
    version: &'s str,
) -> impl Iterator<Item = &'s Resource> {
    let resources = store.resources().iter().map(|resource| &**resource);
    resources.filter(move |resource| resource.group == group && resource.version(version).is_some())
}

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

fn resources(store: &Store, group: &str, version: &str) -> Option<Value> {
    let mut listed = Vec::new();
    for resource in of(store, group, version) {
        listed.push(json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.is_namespaced,
            "kind": resource.kind,
            "verbs": VERBS,
            "shortNames": resource.short_names,
            "categories": resource.categories,
        }));
        if resource.has_status {
            listed.push(json!({
                "name": format!("{}/status", resource.plural),
                "singularName": "",
                "namespaced": resource.is_namespaced,
                "kind": resource.kind,
                "verbs": ["get", "patch", "update"],
            }));
        }
    }
    (!listed.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": api_version(group, version),
            "resources": listed,
        })
    })
}

/// An empty document of `OpenAPI` 2 in protobuf: clients then leave validation to the server.
pub(crate) const EMPTY_DOCUMENT: &[u8] = b"\x0a\x032.0";

fn documents(store: &Store) -> Value {
    let mut paths = BTreeMap::new();
    for resource in store.resources() {
        for version in &resource.versions {
            let path = base(&resource.group, &version.name);
            let address = json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash=0") });
            paths.insert(path, address);
        }
    }
    json!({ "paths": paths })
}

fn base(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// Enough for a client to learn that the server validates fields and knows dry runs.
fn document(store: &Store, group: &str, version: &str) -> Option<Value> {
    let mut paths = BTreeMap::new();
    for resource in of(store, group, version) {
        let scope = if resource.is_namespaced {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let at = format!(
            "/{}/{scope}{}/{{name}}",
            base(group, version),
            resource.plural
        );
        let parameter =
            |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
        let patch = json!({
            "operationId": format!("patch{}", resource.kind),
            "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"), parameter("force")],
            "requestBody": { "content": {
                "application/apply-patch+yaml": {},
                "application/json-patch+json": {},
                "application/merge-patch+json": {},
            }},
            "responses": { "200": { "description": "OK" } },
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": { "group": group, "kind": resource.kind, "version": version },
        });
        paths.insert(at, json!({ "patch": patch }));
    }
    (!paths.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0",
            "info": { "title": "Kubernetes", "version": "v1.32.0" },
            "paths": paths,
            "components": { "schemas": {} },
        })
    })
}
