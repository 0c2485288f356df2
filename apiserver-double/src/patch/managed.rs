//! `managedFields`: which manager has which fields.
//!
//! The form is that of the API, `fieldsV1`: members `f:name`, elements `k:{keys}` or `v:value`, and `.` for
//! an element itself. What is empty is a field as a whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::lists::{Merging, is_one, merging};
use crate::kinds::Resource;
use crate::store::Write;
use crate::{admission, place};

/// A set of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fields(BTreeMap<String, Self>);

/// An entry of `managedFields`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(default)]
    pub(super) manager: String,
    #[serde(default)]
    pub(super) operation: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    fields_type: String,
    #[serde(default)]
    pub(super) fields_v1: Fields,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) subresource: String,
}

impl Entry {
    pub(super) fn new(write: &Write, manager: &str, operation: &str, fields: Fields) -> Self {
        Self {
            manager: manager.to_owned(),
            operation: operation.to_owned(),
            api_version: write.resource.api_version(&write.version),
            time: admission::now(),
            fields_type: "FieldsV1".to_owned(),
            fields_v1: fields,
            subresource: if write.is_status {
                "status".to_owned()
            } else {
                String::new()
            },
        }
    }

    /// Whether it is this manager's for writes of this way.
    pub(super) fn is_of(&self, write: &Write, manager: &str, operation: &str) -> bool {
        let is_status = self.subresource == "status";
        self.manager == manager && self.operation == operation && is_status == write.is_status
    }
}

/// The entries of an object. What cannot be read is a reset, as `[{}]` is.
pub(super) fn entries(object: &Value) -> Vec<Entry> {
    let managed = object
        .pointer("/metadata/managedFields")
        .cloned()
        .unwrap_or_default();
    let entries: Vec<Entry> = serde_json::from_value(managed).unwrap_or_default();
    entries
        .into_iter()
        .filter(|entry| !entry.manager.is_empty())
        .collect()
}

/// Writes entries into an object, without what is not there.
pub(super) fn set_entries(object: &mut Value, mut entries: Vec<Entry>) {
    for entry in &mut entries {
        entry.fields_v1.retain_existing(object);
    }
    entries.retain(|entry| !entry.fields_v1.0.is_empty());
    place::set(object, &["metadata", "managedFields"], json!(entries));
}

/// What differs becomes the manager's and nobody else's.
pub(crate) fn note_update(write: &Write, manager: &str, before: Option<&Value>, after: &mut Value) {
    let mut entries = entries(after);
    let changed = Fields::changed(&write.resource, before, after).of_way(write);
    let mut own = None;
    for entry in &mut entries {
        if entry.is_of(write, manager, "Update") {
            own = Some(entry);
        } else {
            entry.fields_v1.subtract(&changed);
        }
    }
    match own {
        Some(own) if !changed.0.is_empty() => {
            own.fields_v1.unite(&changed);
            own.time = admission::now();
        }
        Some(_) => {}
        None => entries.push(Entry::new(write, manager, "Update", changed)),
    }
    set_entries(after, entries);
}

/// Members of `metadata` that nobody manages.
const UNMANAGED: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

impl Fields {
    /// All fields that an object has.
    pub(super) fn all(resource: &Resource, object: &Value) -> Self {
        Self::changed(resource, None, object)
    }

    /// Fields that are new or other than before.
    pub(super) fn changed(resource: &Resource, before: Option<&Value>, after: &Value) -> Self {
        let managed = |object: &Value| {
            let mut object = object.clone();
            for member in ["apiVersion", "kind"] {
                place::take(&mut object, &[member]);
            }
            for member in UNMANAGED {
                place::take(&mut object, &["metadata", member]);
            }
            if object.get("metadata") == Some(&json!({})) {
                place::take(&mut object, &["metadata"]);
            }
            object
        };
        let before = before.map(managed);
        differences(resource, before.as_ref(), &managed(after), &mut Vec::new()).unwrap_or_default()
    }

    /// What a write by this way can be about.
    pub(super) fn of_way(mut self, write: &Write) -> Self {
        let status = "f:status";
        self.0.retain(
            |step, _| match (write.is_status, write.resource.has_status) {
                (true, _) => step == status,
                (false, true) => step != status,
                (false, false) => true,
            },
        );
        self
    }

    fn add(&mut self, step: &str, inner: Self) {
        self.0.insert(step.to_owned(), inner);
    }

    pub(super) fn unite(&mut self, other: &Self) {
        for (key, fields) in &other.0 {
            self.0.entry(key.clone()).or_default().unite(fields);
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        for (key, fields) in &other.0 {
            let Some(own) = self.0.get_mut(key) else {
                continue;
            };
            if fields.0.is_empty() {
                self.0.remove(key);
            } else if !own.0.is_empty() {
                own.subtract(fields);
                if own.0.is_empty() {
                    self.0.remove(key);
                }
            }
        }
    }

    fn retain_existing(&mut self, object: &Value) {
        self.0.retain(|step, fields| match find(object, step) {
            None => false,
            Some(_) if fields.0.is_empty() => true,
            Some(found) => {
                fields.retain_existing(found);
                !fields.0.is_empty()
            }
        });
    }

    /// Each field that is one as a whole, as steps.
    pub(super) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (step, fields) in &self.0 {
            if fields.0.is_empty() {
                paths.push(vec![step.clone()]);
            }
            for mut path in fields.paths() {
                path.insert(0, step.clone());
                paths.push(path);
            }
        }
        paths
    }

    /// Whether it has a field, or the whole that this is a part of.
    pub(super) fn has(&self, path: &[String]) -> bool {
        match path {
            [] => true,
            [first, rest @ ..] => self
                .0
                .get(first)
                .is_some_and(|fields| fields.0.is_empty() || fields.has(rest)),
        }
    }
}

/// What differs; none where nothing does, and the whole where it is one.
fn differences(
    resource: &Resource,
    before: Option<&Value>,
    after: &Value,
    path: &mut Vec<String>,
) -> Option<Fields> {
    if before == Some(after) {
        return None;
    }
    let mut fields = Fields::default();
    match after {
        // What is in a map is whoever wrote it: an empty one claims nothing of it.
        Value::Object(members) if members.is_empty() => fields.add(".", Fields::default()),
        Value::Object(members) => {
            for (key, value) in members {
                path.push(key.clone());
                let former = before.and_then(|before| before.get(key));
                if let Some(inner) = differences(resource, former, value, path) {
                    fields.add(&format!("f:{key}"), inner);
                }
                path.pop();
            }
        }
        Value::Array(elements) if !elements.is_empty() => match merging(resource, path) {
            Merging::Atomic => return Some(fields),
            Merging::Set => {
                let former = elements_of(before);
                for element in elements.iter().filter(|element| !former.contains(element)) {
                    fields.add(&format!("v:{element}"), Fields::default());
                }
            }
            Merging::ByKeys(keys) => {
                for element in elements {
                    let mut known = elements_of(before).iter();
                    let known = known.find(|known| is_one(&keys, known, element));
                    if let Some(inner) = of_element(resource, known, element, path) {
                        fields.add(&key_of(&keys, element), inner);
                    }
                }
            }
        },
        _ => return Some(fields),
    }
    (!fields.0.is_empty()).then_some(fields)
}

fn elements_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn of_element(
    resource: &Resource,
    before: Option<&Value>,
    after: &Value,
    path: &mut Vec<String>,
) -> Option<Fields> {
    let mut inner = differences(resource, before, after, path)?;
    if before.is_none() {
        inner.add(".", Fields::default());
    }
    Some(inner)
}

fn key_of(keys: &[String], element: &Value) -> String {
    let named = keys
        .iter()
        .filter_map(|key| Some((key.clone(), element.get(key)?.clone())));
    format!("k:{}", Value::Object(named.collect::<Map<_, _>>()))
}

/// The value at a step.
pub(super) fn find<'v>(value: &'v Value, step: &str) -> Option<&'v Value> {
    match step.split_at_checked(2) {
        Some(("f:", name)) => value.get(name),
        Some(("k:", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
            value
                .as_array()?
                .iter()
                .find(|element| has_keys(element, &keys))
        }
        Some(("v:", wanted)) => {
            let wanted: Value = serde_json::from_str(wanted).ok()?;
            value.as_array()?.iter().find(|element| **element == wanted)
        }
        _ => Some(value),
    }
}

fn has_keys(element: &Value, keys: &Map<String, Value>) -> bool {
    keys.iter()
        .all(|(key, wanted)| element.get(key) == Some(wanted))
}

/// Removes the field at a path.
pub(super) fn remove(value: &mut Value, path: &[String]) {
    let [step, rest @ ..] = path else {
        return;
    };
    let is_last = rest.is_empty() || rest == ["."];
    match (step.split_at_checked(2), value) {
        (Some(("f:", name)), Value::Object(members)) => {
            let is_map_of_others = rest == ["."] && members.get(name) != Some(&json!({}));
            if is_last && !is_map_of_others {
                members.remove(name);
            } else if let Some(inner) = members.get_mut(name) {
                remove(inner, rest);
            }
        }
        (Some(("k:", keys)), Value::Array(elements)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            if is_last {
                elements.retain(|element| !has_keys(element, &keys));
            } else if let Some(element) =
                elements.iter_mut().find(|element| has_keys(element, &keys))
            {
                remove(element, rest);
            }
        }
        (Some(("v:", wanted)), Value::Array(elements)) => {
            let wanted: Value = serde_json::from_str(wanted).unwrap_or_default();
            elements.retain(|element| *element != wanted);
        }
        _ => {}
    }
}
