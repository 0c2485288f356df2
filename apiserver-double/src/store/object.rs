//! An object as it is kept.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::place;
use crate::selector::FIELDS;

/// Which object of its kind; their order is that of lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Empty for kinds that have none.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// An object, and what selectors ask about it.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Without `apiVersion` and `kind`: versions of a kind differ in these alone, and lists of built-in
    /// kinds leave them out.
    json: Bytes,
    pub(crate) labels: BTreeMap<String, String>,
    fields: Vec<(&'static str, String)>,
}

impl Stored {
    /// Keeps an object, which gets this version.
    pub(crate) fn new(mut object: Value, revision: u64) -> Self {
        place::set(
            &mut object,
            &["metadata", "resourceVersion"],
            revision.to_string(),
        );
        for member in ["apiVersion", "kind"] {
            place::take(&mut object, &[member]);
        }
        let labels = object
            .pointer("/metadata/labels")
            .and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        Self {
            labels: labels
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
            fields: fields_of(&object),
            json: Bytes::from(object.to_string()),
        }
    }

    /// As a list of built-in kinds has it.
    pub(crate) fn bare(&self) -> Bytes {
        self.json.clone()
    }

    /// The whole object.
    pub(crate) fn whole(&self, api_version: &str, kind: &str) -> Bytes {
        let mut bytes = format!(
            r#"{{"apiVersion":{},"kind":{},"#,
            json!(api_version),
            json!(kind)
        )
        .into_bytes();
        // There is always `metadata`.
        bytes.extend_from_slice(self.json.get(1..).unwrap_or_default());
        bytes.into()
    }

    /// The object to look into, without `apiVersion` and `kind`.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    /// The same object under another version: what a deletion tells.
    pub(crate) fn under(&self, revision: u64) -> Self {
        Self::new(self.value(), revision)
    }

    /// A field that can be selected by.
    pub(crate) fn field<'s>(&'s self, name: &'s Name, field: &str) -> &'s str {
        match field {
            "metadata.name" => &name.name,
            "metadata.namespace" => &name.namespace,
            _ => {
                let mut fields = self.fields.iter().filter(|(known, _)| *known == field);
                fields.next().map_or("", |(_, value)| value)
            }
        }
    }
}

fn fields_of(object: &Value) -> Vec<(&'static str, String)> {
    let names = FIELDS.iter().map(|(_, field)| *field);
    let mut fields: Vec<_> = names
        .filter(|field| !field.starts_with("metadata."))
        .filter_map(|field| {
            let value = object.pointer(&format!("/{}", field.replace('.', "/")))?;
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            Some((field, text))
        })
        .collect();
    fields.dedup();
    fields
}
