//! Label selectors.

use crate::labels::split_source;
use crate::selector::{Operator, Requirement, Selector};
use crate::yaml::{Cursor, Reader};

/// A label selector.
pub(crate) fn selector(reader: &mut Reader, at: &Cursor<'_>) -> Selector {
    let mut requirements = Vec::new();
    let Some(mut map) = reader.map(at) else {
        return Selector::default();
    };
    if let Some(labels) = map.get("matchLabels").and_then(|at| reader.map(&at)) {
        for (name, at) in labels.entries() {
            // `reserved:host: ""` is a label without a value.
            let value = reader.text(&at).unwrap_or_default();
            requirements.push(requirement(name, Operator::In(vec![value.to_owned()])));
        }
    }
    for item in map
        .get("matchExpressions")
        .map(|at| reader.list(&at))
        .unwrap_or_default()
    {
        requirements.extend(expression(reader, &item));
    }
    map.end(reader);
    Selector(requirements)
}

/// A selector of nodes: a key without a source is a label of a node.
pub(super) fn node_selector(reader: &mut Reader, at: &Cursor<'_>) -> Selector {
    let Selector(requirements) = selector(reader, at);
    let of_node = requirements.into_iter().map(|requirement| Requirement {
        source: match requirement.source.as_str() {
            "any" => "node".to_owned(),
            _ => requirement.source,
        },
        ..requirement
    });
    Selector(of_node.collect())
}

/// A key without a source is looked for in every source.
fn requirement(name: &str, operator: Operator) -> Requirement {
    let (source, key) = split_source(name).unwrap_or(("any", name));
    Requirement {
        source: source.to_owned(),
        key: key.to_owned(),
        operator,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Comparison {
    In,
    NotIn,
    Exists,
    Absent,
}

const COMPARISONS: [(&str, Comparison); 4] = [
    ("In", Comparison::In),
    ("NotIn", Comparison::NotIn),
    ("Exists", Comparison::Exists),
    ("DoesNotExist", Comparison::Absent),
];

fn expression(reader: &mut Reader, at: &Cursor<'_>) -> Option<Requirement> {
    let mut map = reader.map(at)?;
    let key = map.need(reader, "key").and_then(|at| reader.text(&at));
    let operator = map
        .need(reader, "operator")
        .and_then(|at| reader.choice(&at, &COMPARISONS));
    let items = map
        .get("values")
        .map(|at| reader.list(&at))
        .unwrap_or_default();
    let values: Vec<String> = items
        .iter()
        .filter_map(|item| reader.text(item))
        .map(str::to_owned)
        .collect();
    map.end(reader);
    let operator = operator?;
    let wants_values = matches!(operator, Comparison::In | Comparison::NotIn);
    if wants_values == values.is_empty() {
        let message = if wants_values {
            "In and NotIn need `values`"
        } else {
            "Exists and DoesNotExist take no `values`"
        };
        reader.fault(at, message);
    }
    let operator = match operator {
        Comparison::In => Operator::In(values),
        Comparison::NotIn => Operator::NotIn(values),
        Comparison::Exists => Operator::Exists,
        Comparison::Absent => Operator::Absent,
    };
    Some(requirement(key?, operator))
}
