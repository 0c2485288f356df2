//! Other forms of objects than the whole: tables and metadata.

mod age;
mod columns;
mod path;

use serde_json::{Value, json};

use crate::kinds::Resource;

/// An object's `metadata` alone.
pub(crate) fn metadata(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata"),
    })
}

/// What `kubectl get` shows. `list` is the metadata of the whole; columns are described where they are to
/// be.
pub(crate) fn table(
    resource: &Resource,
    version: &str,
    objects: &[Value],
    list: &Value,
    has_columns: bool,
) -> Value {
    let columns = columns::of(resource, version);
    let definitions: Vec<Value> = columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": column.form,
                "format": if column.name == "Name" { "name" } else { "" },
                "description": "",
                "priority": column.priority,
            })
        })
        .collect();
    let row = |object: &Value| {
        let cells: Vec<Value> = columns.iter().map(|column| column.cell(object)).collect();
        json!({ "cells": cells, "object": metadata(object) })
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list,
        "columnDefinitions": if has_columns { definitions } else { Vec::new() },
        "rows": objects.iter().map(row).collect::<Vec<_>>(),
    })
}
