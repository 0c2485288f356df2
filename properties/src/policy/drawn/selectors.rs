//! Selectors of labels.

use super::{LABELS, NAMESPACES};
use crate::policy::choices::Choices;
use crate::policy::words::Selector;

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

pub(super) fn selector(choices: &mut Choices<'_>, names_namespaces: bool) -> Selector {
    let mut selector = Selector::default();
    let sources = ["", "k8s:", "any:"];
    for (key, values) in LABELS.iter().take(2) {
        if choices.is(3) {
            let source = choices.text(&sources);
            selector
                .labels
                .push((format!("{source}{key}"), choices.text(values)));
        }
    }
    if choices.is(3) {
        selector.expressions.push(expression(choices, ""));
    }
    if names_namespaces && choices.is(3) {
        match choices.below(4) {
            0 => selector.labels.push((
                "k8s:io.kubernetes.pod.namespace".to_owned(),
                choices.text(&NAMESPACES),
            )),
            1 => selector.expressions.push((
                "io.kubernetes.pod.namespace".to_owned(),
                choices.text(&["Exists", "DoesNotExist"]),
                Vec::new(),
            )),
            2 => selector.labels.push((
                "k8s:io.cilium.k8s.namespace.labels.team".to_owned(),
                choices.text(&["one", "two"]),
            )),
            _ => selector
                .labels
                .push(("reserved:host".to_owned(), String::new())),
        }
    }
    selector
}

fn expression(choices: &mut Choices<'_>, source: &str) -> (String, String, Vec<String>) {
    let (key, values) = choices
        .one(&LABELS)
        .copied()
        .unwrap_or(("app", ["web", "db"]));
    let operator = choices.text(&OPERATORS);
    let values = match operator.as_str() {
        "In" | "NotIn" => choices.some(1, 2, |choices| choices.text(&values)),
        _ => Vec::new(),
    };
    (format!("{source}{key}"), operator, values)
}

/// A selector without sources.
pub(super) fn plain(choices: &mut Choices<'_>, keys: &[(&str, [&str; 2])]) -> Selector {
    let mut selector = Selector::default();
    let Some((key, values)) = choices.one(keys) else {
        return selector;
    };
    match choices.below(4) {
        0 => {}
        1 => {
            let value = choices.text(values);
            selector.labels.push(((*key).to_owned(), value));
        }
        2 => {
            let operator = choices.text(&["NotIn", "In"]);
            let values = vec![choices.text(values)];
            selector
                .expressions
                .push(((*key).to_owned(), operator, values));
        }
        _ => {
            let operator = choices.text(&["DoesNotExist", "Exists"]);
            selector
                .expressions
                .push(((*key).to_owned(), operator, Vec::new()));
        }
    }
    selector
}
