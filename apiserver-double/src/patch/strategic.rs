//! Strategic merge patches: what `kubectl` sends for built-in kinds.

use serde_json::Value;

use super::lists::{Merging, is_one, merging};
use crate::kinds::Resource;
use crate::place;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// Merges a patch into what is at a path of field names.
pub(super) fn merge(resource: &Resource, target: &mut Value, patch: &Value, at: &mut Vec<String>) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if members
        .get(DIRECTIVE)
        .is_some_and(|directive| directive == "replace")
    {
        *target = Value::Null;
    }
    let target = place::entry(target);
    if let Some(Value::Array(retained)) = members.get(RETAIN) {
        target.retain(|key, _| retained.iter().any(|name| name == key));
    }
    for (key, value) in members {
        if key == DIRECTIVE || key == RETAIN || key.starts_with(ORDER) {
            continue;
        }
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            let unwanted = value.as_array().map_or(&[][..], Vec::as_slice);
            if let Some(Value::Array(values)) = target.get_mut(list) {
                values.retain(|value| !unwanted.contains(value));
            }
            continue;
        }
        if value.is_null()
            || value
                .get(DIRECTIVE)
                .is_some_and(|directive| directive == "delete")
        {
            target.remove(key);
            continue;
        }
        at.push(key.clone());
        let member = target.entry(key.clone()).or_insert(Value::Null);
        match value {
            Value::Array(values) => merge_list(resource, member, values, at),
            _ => merge(resource, member, value, at),
        }
        at.pop();
    }
}

fn merge_list(resource: &Resource, target: &mut Value, patch: &[Value], at: &mut Vec<String>) {
    let mut former = match target.take() {
        Value::Array(former) => former,
        _ => Vec::new(),
    };
    let directive = |element: &Value| place::text(element, "/$patch").to_owned();
    let merged = match merging(resource, at) {
        Merging::Atomic => patch.to_vec(),
        Merging::Set => {
            for value in patch {
                if !former.contains(value) {
                    former.push(value.clone());
                }
            }
            former
        }
        Merging::ByKeys(keys) => {
            if patch.iter().any(|element| directive(element) == "replace") {
                former.clear();
            }
            let key = &keys.get(..1).unwrap_or_default();
            for element in patch {
                match &*directive(element) {
                    "replace" => {}
                    "delete" => former.retain(|known| !is_one(key, known, element)),
                    _ => {
                        let known = former.iter_mut().find(|known| is_one(key, known, element));
                        if let Some(known) = known {
                            merge(resource, known, element, at);
                        } else {
                            let mut fresh = Value::Null;
                            merge(resource, &mut fresh, element, at);
                            former.push(fresh);
                        }
                    }
                }
            }
            former
        }
    };
    *target = Value::Array(merged);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(kind: &str, mut target: Value, patch: &Value) -> Value {
        let resources = crate::kinds::built_in();
        let resource = resources
            .iter()
            .find(|resource| resource.kind == kind)
            .expect("a built-in kind");
        merge(resource, &mut target, patch, &mut Vec::new());
        target
    }

    #[test]
    fn containers_are_merged_by_name_and_other_lists_replaced() {
        let before = json!({ "spec": {
            "containers": [{ "name": "a", "image": "one", "args": ["x"] }, { "name": "b", "image": "two" }],
            "tolerations": [{ "key": "old" }],
        }});
        let patch = json!({ "spec": {
            "$setElementOrder/containers": [{ "name": "a" }],
            "containers": [{ "name": "a", "image": "three", "args": null }, { "name": "b", "$patch": "delete" }],
            "tolerations": [{ "key": "new" }],
        }});
        let expected = json!({ "spec": {
            "containers": [{ "name": "a", "image": "three" }],
            "tolerations": [{ "key": "new" }],
        }});
        assert_eq!(merged("Pod", before, &patch), expected);
    }

    #[test]
    fn directives_replace_retain_and_delete() {
        let before = json!({
            "metadata": { "finalizers": ["a", "b"], "labels": { "x": "1", "y": "2" } },
            "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": {} } },
        });
        let patch = json!({
            "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"], "labels": { "$patch": "replace", "z": "3" } },
            "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } },
        });
        let expected = json!({
            "metadata": { "finalizers": ["b"], "labels": { "z": "3" } },
            "spec": { "strategy": { "type": "Recreate" } },
        });
        assert_eq!(merged("Deployment", before, &patch), expected);
    }
}
