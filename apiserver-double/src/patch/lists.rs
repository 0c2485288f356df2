//! Which lists are merged, and by what their elements are told apart.

use serde_json::Value;

use crate::kinds::Resource;

/// How two lists become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merging {
    /// The new one takes the place of the old one.
    Atomic,
    /// Elements with the same values under these keys are one.
    ByKeys(Vec<String>),
    /// Equal elements are one.
    Set,
}

/// How the list at a path of field names is merged; definitions say it themselves.
pub(crate) fn merging(resource: &Resource, path: &[String]) -> Merging {
    if resource.is_custom && path.first().is_none_or(|first| first != "metadata") {
        let mut schemas = resource
            .versions
            .iter()
            .filter_map(|version| version.schema.as_ref());
        return schemas
            .find_map(|schema| defined(schema, path))
            .unwrap_or(Merging::Atomic);
    }
    let keys = |keys: &[&str]| Merging::ByKeys(keys.iter().map(|key| (*key).to_owned()).collect());
    let is_in = |name: &str| path.iter().any(|step| step == name);
    match path.last().map_or("", String::as_str) {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets" => keys(&["name"]),
        "ports" if is_in("containers") || is_in("initContainers") => {
            keys(&["containerPort", "protocol"])
        }
        "ports" if resource.kind == "Service" => keys(&["port", "protocol"]),
        "volumeMounts" => keys(&["mountPath"]),
        "volumeDevices" => keys(&["devicePath"]),
        "hostAliases" | "podIPs" | "hostIPs" => keys(&["ip"]),
        "conditions" => keys(&["type"]),
        "addresses" if resource.kind == "Node" => keys(&["type"]),
        "taints" => keys(&["key"]),
        "ownerReferences" => keys(&["uid"]),
        "topologySpreadConstraints" => keys(&["topologyKey"]),
        "finalizers" => Merging::Set,
        _ => Merging::Atomic,
    }
}

fn defined(schema: &Value, path: &[String]) -> Option<Merging> {
    let mut schema = schema;
    for step in path {
        while let Some(items) = schema.get("items") {
            schema = items;
        }
        schema = match schema
            .get("properties")
            .and_then(|properties| properties.get(step))
        {
            Some(found) => found,
            None => schema.get("additionalProperties")?,
        };
    }
    match schema.get("x-kubernetes-list-type")?.as_str()? {
        "map" => {
            let keys = schema.get("x-kubernetes-list-map-keys")?.as_array()?;
            let keys = keys.iter().filter_map(Value::as_str).map(str::to_owned);
            Some(Merging::ByKeys(keys.collect()))
        }
        "set" => Some(Merging::Set),
        _ => Some(Merging::Atomic),
    }
}

/// Whether two elements are one. A protocol that is not written is TCP.
pub(crate) fn is_one(keys: &[String], one: &Value, other: &Value) -> bool {
    let absent = Value::from("TCP");
    let value = |element: &Value, key: &str| match element.get(key) {
        None if key == "protocol" => absent.clone(),
        found => found.cloned().unwrap_or_default(),
    };
    keys.iter().all(|key| value(one, key) == value(other, key))
}
