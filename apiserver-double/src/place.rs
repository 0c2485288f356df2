//! Places in an object.

use serde_json::{Map, Value};

/// The text at a place; empty where there is none.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The values of a list at a place.
pub(crate) fn items<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Sets a place; whatever is on the way becomes an object.
pub(crate) fn set(value: &mut Value, path: &[&str], fresh: impl Into<Value>) {
    match path {
        [] => *value = fresh.into(),
        [first, rest @ ..] => set(
            entry(value).entry(*first).or_insert(Value::Null),
            rest,
            fresh,
        ),
    }
}

/// Sets a place that has nothing.
pub(crate) fn set_absent(value: &mut Value, path: &[&str], fresh: impl Into<Value>) {
    let pointer: String = path.iter().flat_map(|step| ["/", step]).collect();
    let is_absent = value
        .pointer(&pointer)
        .is_none_or(|found| found.is_null() || found == "");
    if is_absent {
        set(value, path, fresh);
    }
}

/// Takes what is at a place.
pub(crate) fn take(value: &mut Value, path: &[&str]) -> Option<Value> {
    match path {
        [] => None,
        [last] => value.as_object_mut()?.remove(*last),
        [first, rest @ ..] => take(value.as_object_mut()?.get_mut(*first)?, rest),
    }
}

/// Puts what was taken, or nothing, at a place.
pub(crate) fn put(value: &mut Value, path: &[&str], fresh: Option<Value>) {
    match fresh {
        Some(fresh) => set(value, path, fresh),
        None => drop(take(value, path)),
    }
}

/// The members of an object, into which anything else is made.
pub(crate) fn entry(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it has just been made one"),
    }
}
