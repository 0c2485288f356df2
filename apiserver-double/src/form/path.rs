//! The part of `JSONPath` that columns of definitions use.

use serde_json::Value;

/// Values at a path such as `.status.conditions[?(@.type=='Valid')].status`.
pub(super) fn find<'v>(object: &'v Value, path: &str) -> Vec<&'v Value> {
    let mut found = vec![object];
    for step in steps(path) {
        found = found
            .into_iter()
            .flat_map(|value| follow(value, &step))
            .collect();
    }
    found
}

fn steps(path: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut depth = 0;
    let mut is_escaped = false;
    for c in path.chars() {
        match c {
            '\\' if !is_escaped => {
                is_escaped = true;
                continue;
            }
            '[' if depth == 0 => {
                steps.push("[".to_owned());
                depth = 1;
            }
            ']' if depth == 1 => depth = 0,
            '.' if depth == 0 && !is_escaped => steps.push(String::new()),
            _ => {
                if let Some(last) = steps.last_mut() {
                    last.push(c);
                }
            }
        }
        is_escaped = false;
    }
    steps.retain(|step| !step.is_empty());
    steps
}

fn follow<'v>(value: &'v Value, step: &str) -> Vec<&'v Value> {
    let Some(inner) = step.strip_prefix('[') else {
        return value.get(step).into_iter().collect();
    };
    let elements = value.as_array().map_or(&[][..], Vec::as_slice);
    if inner == "*" {
        return elements.iter().collect();
    }
    if let Ok(index) = inner.parse::<usize>() {
        return elements.get(index).into_iter().collect();
    }
    let filter = inner
        .strip_prefix("?(@.")
        .and_then(|filter| filter.strip_suffix(')'));
    match filter.and_then(|filter| filter.split_once("==")) {
        Some((member, wanted)) => {
            let wanted = wanted.trim().trim_matches(['\'', '"']);
            let has = |element: &&Value| {
                element
                    .get(member.trim())
                    .is_some_and(|found| found == wanted)
            };
            elements.iter().filter(has).collect()
        }
        None => value
            .get(inner.trim_matches(['\'', '"']))
            .into_iter()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_follow_members_elements_and_filters() {
        let object = json!({
            "status": { "conditions": [{ "type": "Other", "status": "False" }, { "type": "Valid", "status": "True" }] },
            "metadata": { "labels": { "a.b/c": "x" } },
        });
        let cases = [
            (
                ".status.conditions[?(@.type=='Valid')].status",
                vec![json!("True")],
            ),
            (
                ".status.conditions[*].type",
                vec![json!("Other"), json!("Valid")],
            ),
            (".status.conditions[0].type", vec![json!("Other")]),
            (r".metadata.labels.a\.b/c", vec![json!("x")]),
            (".metadata.labels['a.b/c']", vec![json!("x")]),
            (".spec.none", vec![]),
        ];
        for (path, expected) in cases {
            let found: Vec<Value> = find(&object, path).into_iter().cloned().collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}
