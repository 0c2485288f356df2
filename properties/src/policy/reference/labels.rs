//! Labels and what selects them.

use crate::policy::words::Selector;
use crate::policy::world::Label;

pub(super) const NAMESPACE: &str = "io.kubernetes.pod.namespace";

pub(super) const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";

/// Source and key; without a source any of them is meant.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.split_once(':').unwrap_or(("any", key))
}

fn values<'l>(labels: &'l [Label], name: &str) -> Vec<&'l str> {
    let (source, key) = split(name);
    let of_key = labels
        .iter()
        .filter(|label| label.key == key && (source == "any" || label.source == source));
    of_key.map(|label| label.value.as_str()).collect()
}

pub(super) fn is_value(labels: &[Label], name: &str, value: &str) -> bool {
    values(labels, name).contains(&value)
}

pub(super) fn selects(selector: &Selector, labels: &[Label]) -> bool {
    let by_labels = selector
        .labels
        .iter()
        .all(|(key, value)| is_value(labels, key, value));
    let by_expressions = selector.expressions.iter().all(|(key, operator, wanted)| {
        let have = values(labels, key);
        let is_one = have
            .iter()
            .any(|value| wanted.iter().any(|want| want == value));
        match operator.as_str() {
            "In" => is_one,
            "NotIn" => !is_one,
            "Exists" => !have.is_empty(),
            _ => have.is_empty(),
        }
    });
    by_labels && by_expressions
}
