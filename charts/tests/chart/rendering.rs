//! Rendering, and looking for things in what was rendered.

use charts::{Document, Helm};
use serde_json::Value;

/// Objects for these values.
pub(crate) fn rendered(values: &Value) -> Vec<Document> {
    let helm = Helm::find().expect("helm");
    helm.rendered(values).expect("rendered")
}

/// The same, quickly: helm makes no certificates, whose keys take a second.
pub(crate) fn rendered_without_keys(values: &Value) -> Vec<Document> {
    let mut values = values.clone();
    if values.get("tls").is_none() {
        values["tls"] = serde_json::json!({ "provider": "certManager" });
    }
    rendered(&values)
}

/// What helm says of values that it refuses.
pub(crate) fn refused(values: &Value) -> String {
    let helm = Helm::find().expect("helm");
    let rendered = helm.template(values).expect("helm runs");
    rendered.expect_err("refused").0
}

/// The one of that kind and name.
pub(crate) fn one<'d>(documents: &'d [Document], kind: &str, name: &str) -> &'d Document {
    let is_it = |document: &&Document| document.kind() == kind && document.name() == name;
    let mut found = documents.iter().filter(is_it);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no {kind} {name} among {:?}", list(documents)));
    assert!(found.next().is_none(), "two of {kind} {name}");
    first
}

/// Kinds and names.
pub(crate) fn list(documents: &[Document]) -> Vec<String> {
    let names = documents
        .iter()
        .map(|document| format!("{} {}", document.kind(), document.name()));
    names.collect()
}

/// Everything in a list.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// All texts of a list.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    items(value).filter_map(Value::as_str).collect()
}
