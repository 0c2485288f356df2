//! HTTP rules.

use crate::pattern::Pattern;
use crate::rule::{HeaderRule, HttpRule, Mismatch};
use crate::yaml::{Cursor, Map, Reader};

pub(super) fn rules(reader: &mut Reader, at: &Cursor<'_>) -> Vec<HttpRule> {
    reader
        .list(at)
        .iter()
        .filter_map(|item| rule(reader, item))
        .collect()
}

fn rule(reader: &mut Reader, at: &Cursor<'_>) -> Option<HttpRule> {
    let mut map = reader.map(at)?;
    let rule = HttpRule {
        path_in_object: at.path().to_owned(),
        method: pattern(reader, &mut map, "method"),
        path: pattern(reader, &mut map, "path"),
        host: pattern(reader, &mut map, "host"),
        headers: headers(reader, &mut map),
        header_matches: header_matches(reader, &mut map),
    };
    map.end(reader);
    Some(rule)
}

fn pattern(reader: &mut Reader, map: &mut Map<'_>, name: &'static str) -> Option<Pattern> {
    let at = map.get(name)?;
    let text = reader.text(&at)?;
    if text.is_empty() {
        return None;
    }
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let first = error
                .lines()
                .last()
                .unwrap_or("not a regular expression")
                .trim();
            reader.fault(
                &at,
                format!("`{text}` is not a usable regular expression: {first}"),
            );
            None
        }
    }
}

/// `headers: ["Name value"]`.
fn headers(reader: &mut Reader, map: &mut Map<'_>) -> Vec<HeaderRule> {
    let mut rules = Vec::new();
    for item in map
        .get("headers")
        .map(|at| reader.list(&at))
        .unwrap_or_default()
    {
        let Some(text) = reader.text(&item) else {
            continue;
        };
        let (name, value) = match text.split_once(' ') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let name = name.strip_suffix(':').unwrap_or(name);
        rules.push(HeaderRule {
            name: name.to_owned(),
            value,
            mismatch: Mismatch::Fail,
        });
    }
    rules
}

/// `headerMatches: [{name, value}]`.
fn header_matches(reader: &mut Reader, map: &mut Map<'_>) -> Vec<HeaderRule> {
    let listed = map.get("headerMatches").map(|at| reader.list(&at));
    let listed = listed.unwrap_or_default();
    let rules = listed.iter().filter_map(|at| header_match(reader, at));
    rules.collect()
}

fn header_match(reader: &mut Reader, at: &Cursor<'_>) -> Option<HeaderRule> {
    let mut map = reader.map(at)?;
    let name = map.need(reader, "name").and_then(|at| reader.text(&at));
    let value = map.get("value").and_then(|at| reader.text(&at));
    for unsupported in ["mismatch", "secret"] {
        if let Some(at) = map.get(unsupported) {
            reader.fault(
                &at,
                "not supported yet: headers are compared, never changed",
            );
        }
    }
    map.end(reader);
    let rule = HeaderRule {
        name: name?.to_owned(),
        value: value.map(str::to_owned),
        mismatch: Mismatch::Fail,
    };
    if !rule.can_act() {
        reader.fault(
            at,
            "such a change would be more than one of a header: its name must be a token, and none \
             that frames the message or names its host, its value without control characters",
        );
    }
    Some(rule)
}
