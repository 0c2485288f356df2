//! Server-side apply: a manager says all that it wants of an object.

use serde_json::{Value, json};

use super::lists::{Merging, is_one, merging};
use super::managed::{self, Entry, Fields, entries, set_entries};
use crate::kinds::Resource;
use crate::place;
use crate::refusal::Refusal;
use crate::store::Write;

const APPLY: &str = "Apply";

/// `managedFields` of an object that an apply makes.
pub(crate) fn managed_of_new(write: &Write, applied: &Value) -> Value {
    let manager = write
        .manager
        .as_ref()
        .map_or("unknown", |manager| &manager.name);
    let fields = Fields::all(&write.resource, applied).of_way(write);
    json!([Entry::new(write, manager, APPLY, fields)])
}

/// What the manager wanted before and wants no more goes, unless somebody else has it. What another has
/// and is to be other than it is, is a conflict.
pub(super) fn apply(write: &Write, before: &Value, applied: &Value) -> Result<Value, Refusal> {
    let manager = write.manager.as_ref();
    let manager = manager.ok_or_else(|| {
        Refusal::BadRequest("fieldManager is required for apply patch".to_owned())
    })?;
    if applied
        .pointer("/metadata/managedFields")
        .is_some_and(|managed| *managed != json!([]))
    {
        return Err(Refusal::BadRequest(
            "metadata.managedFields must be nil".to_owned(),
        ));
    }
    let wanted = Fields::all(&write.resource, applied).of_way(write);
    let mut entries = entries(before);
    let own = entries
        .iter()
        .position(|entry| entry.is_of(write, &manager.name, APPLY));
    let mut former = own
        .map(|own| entries.remove(own).fields_v1)
        .unwrap_or_default();

    let conflicts = conflicts(&entries, &wanted, before, applied);
    if !conflicts.is_empty() {
        if !manager.is_forced {
            return Err(refusal(&entries, &conflicts));
        }
        for (index, path) in &conflicts {
            if let Some(entry) = entries.get_mut(*index) {
                entry.fields_v1.subtract(&of_path(path));
            }
        }
    }
    let mut after = before.clone();
    merge(&write.resource, &mut after, applied, &mut Vec::new());
    former.subtract(&wanted);
    for path in former.paths() {
        if !entries.iter().any(|entry| entry.fields_v1.has(&path)) {
            managed::remove(&mut after, &path);
        }
    }
    entries.push(Entry::new(write, &manager.name, APPLY, wanted));
    set_entries(&mut after, entries);
    Ok(after)
}

/// Which entries have fields that are to be other than they are.
fn conflicts(
    entries: &[Entry],
    wanted: &Fields,
    before: &Value,
    applied: &Value,
) -> Vec<(usize, Vec<String>)> {
    let mut conflicts = Vec::new();
    for path in wanted.paths() {
        let at = |value| {
            path.iter()
                .try_fold(value, |value, step| managed::find(value, step))
        };
        if path.last().is_some_and(|step| step == ".") || at(before) == at(applied) {
            continue;
        }
        for (index, entry) in entries.iter().enumerate() {
            if entry.fields_v1.has(&path) {
                conflicts.push((index, path.clone()));
            }
        }
    }
    conflicts
}

fn refusal(entries: &[Entry], conflicts: &[(usize, Vec<String>)]) -> Refusal {
    let cause = |(index, path): &(usize, Vec<String>)| {
        let manager = entries.get(*index).map_or("", |entry| &entry.manager);
        (shown(path), format!("conflict with \"{manager}\""))
    };
    let causes: Vec<(String, String)> = conflicts.iter().map(cause).collect();
    let told: Vec<String> = causes
        .iter()
        .map(|(field, with)| format!("{with}: {field}"))
        .collect();
    let plural = if causes.len() == 1 { "" } else { "s" };
    Refusal::Conflict {
        message: format!(
            "Apply failed with {} conflict{plural}: {}",
            causes.len(),
            told.join(", ")
        ),
        causes,
    }
}

/// `.spec.ports[port=80]`.
fn shown(path: &[String]) -> String {
    let step = |step: &String| match step.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some((_, key)) => format!("[{key}]"),
        None => String::new(),
    };
    path.iter().map(step).collect()
}

fn of_path(path: &[String]) -> Fields {
    let nested = path
        .iter()
        .rev()
        .fold(json!({}), |inner, step| json!({ step.as_str(): inner }));
    serde_json::from_value(nested).unwrap_or_default()
}

fn merge(resource: &Resource, target: &mut Value, applied: &Value, path: &mut Vec<String>) {
    match applied {
        Value::Object(members) => {
            let target = place::entry(target);
            for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                path.push(key.clone());
                merge(
                    resource,
                    target.entry(key.clone()).or_insert(Value::Null),
                    value,
                    path,
                );
                path.pop();
            }
        }
        Value::Array(elements) => {
            let mut former = match target.take() {
                Value::Array(former) => former,
                _ => Vec::new(),
            };
            *target = match merging(resource, path) {
                Merging::Atomic => applied.clone(),
                Merging::Set => {
                    let fresh: Vec<Value> = elements
                        .iter()
                        .filter(|element| !former.contains(element))
                        .cloned()
                        .collect();
                    former.extend(fresh);
                    Value::Array(former)
                }
                Merging::ByKeys(keys) => {
                    for element in elements {
                        match former
                            .iter_mut()
                            .find(|known| is_one(&keys, known, element))
                        {
                            Some(known) => merge(resource, known, element, path),
                            None => former.push(element.clone()),
                        }
                    }
                    Value::Array(former)
                }
            };
        }
        _ => *target = applied.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Manager, Name};

    fn write(kind: &str, manager: &str, is_forced: bool) -> Write {
        let resources = crate::kinds::built_in();
        let resource = resources
            .iter()
            .find(|resource| resource.kind == kind)
            .expect("a built-in kind");
        Write {
            resource: Arc::clone(resource),
            version: "v1".to_owned(),
            name: Name {
                namespace: "default".to_owned(),
                name: "x".to_owned(),
            },
            is_status: false,
            manager: Some(Manager {
                name: manager.to_owned(),
                is_forced,
            }),
            is_dry_run: false,
        }
    }

    fn config(data: &Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x" }, "data": data })
    }

    fn applied(manager: &str, before: &Value, data: &Value) -> Result<Value, Refusal> {
        apply(&write("ConfigMap", manager, false), before, &config(data))
    }

    #[test]
    fn what_a_manager_wants_no_more_goes_unless_another_has_it() {
        let one = applied("one", &config(&json!({})), &json!({ "a": "1", "b": "1" }))
            .expect("no conflict");
        let two =
            applied("two", &one, &json!({ "b": "1", "c": "1" })).expect("the same value is none");
        let less = applied("one", &two, &json!({})).expect("no conflict");
        assert_eq!(less["data"], json!({ "b": "1", "c": "1" }));
        let managers: Vec<String> = entries(&less)
            .into_iter()
            .map(|entry| entry.manager)
            .collect();
        assert_eq!(managers, ["two", "one"], "an empty map is its own");
    }

    #[test]
    fn another_managers_field_is_a_conflict_until_it_is_forced() {
        let one = applied("one", &config(&json!({})), &json!({ "a": "1" })).expect("no conflict");
        let Err(Refusal::Conflict { message, causes }) = applied("two", &one, &json!({ "a": "2" }))
        else {
            panic!("a field of another was changed");
        };
        assert_eq!(
            message,
            "Apply failed with 1 conflict: conflict with \"one\": .data.a"
        );
        assert_eq!(causes[0].0, ".data.a");
        let forced = apply(
            &write("ConfigMap", "two", true),
            &one,
            &config(&json!({ "a": "2" })),
        )
        .expect("forced");
        assert_eq!(forced["data"]["a"], "2");
        let less = applied("one", &forced, &json!({})).expect("no conflict");
        assert_eq!(less["data"]["a"], "2", "it is not its any more");
    }

    #[test]
    fn elements_of_lists_are_told_apart_by_their_keys() {
        let ports =
            |ports: &Value| json!({ "metadata": { "name": "x" }, "spec": { "ports": ports } });
        let one = ports(&json!([{ "port": 80, "targetPort": 1 }, { "port": 81, "targetPort": 1 }]));
        let write = write("Service", "one", false);
        let before =
            apply(&write, &json!({ "metadata": { "name": "x" } }), &one).expect("no conflict");
        let two = ports(&json!([{ "port": 81, "targetPort": 2 }]));
        let after = apply(&write, &before, &two).expect("no conflict");
        assert_eq!(
            after["spec"]["ports"],
            json!([{ "port": 81, "targetPort": 2 }])
        );
    }

    #[test]
    fn an_update_takes_the_fields_that_it_changes() {
        let one = applied("one", &config(&json!({})), &json!({ "a": "1", "b": "1" }))
            .expect("no conflict");
        let mut after = one.clone();
        after["data"]["a"] = json!("2");
        managed::note_update(
            &write("ConfigMap", "editor", false),
            "editor",
            Some(&one),
            &mut after,
        );
        let Err(Refusal::Conflict { causes, .. }) =
            applied("one", &after, &json!({ "a": "1", "b": "1" }))
        else {
            panic!("the editor's field was changed");
        };
        assert_eq!(causes.len(), 1);
    }
}
