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
    let listed = map.get("headers").map(|at| reader.list(&at));
    let listed = listed.unwrap_or_default();
    let rules = listed.iter().filter_map(|at| header(reader, at));
    rules.collect()
}

/// A name, or a name and behind the first blank its value.
fn header(reader: &mut Reader, at: &Cursor<'_>) -> Option<HeaderRule> {
    let text = reader.text(at)?;
    let (name, value) = match text.split_once(' ') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let name = name.strip_suffix(':').unwrap_or(name);
    check_name(reader, at, name);
    Some(HeaderRule {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        mismatch: Mismatch::Fail,
    })
}

/// `headerMatches: [{name, value}]`.
fn header_matches(reader: &mut Reader, map: &mut Map<'_>) -> Vec<HeaderRule> {
    let listed = map.get("headerMatches").map(|at| reader.list(&at));
    let listed = listed.unwrap_or_default();
    let rules = listed.iter().filter_map(|at| header_match(reader, at));
    rules.collect()
}

const MISMATCHES: [(&str, Mismatch); 5] = [
    ("", Mismatch::Fail),
    ("ADD", Mismatch::Add),
    ("DELETE", Mismatch::Delete),
    ("LOG", Mismatch::Log),
    ("REPLACE", Mismatch::Replace),
];

/// Without a value, or with an empty one, the header only has to be there.
fn header_match(reader: &mut Reader, at: &Cursor<'_>) -> Option<HeaderRule> {
    let mut map = reader.map(at)?;
    let name = map.need(reader, "name");
    let value = map.get("value").and_then(|at| reader.text(&at));
    let value = value.filter(|value| !value.is_empty());
    if let Some(at) = map.get("secret") {
        reader.fault(&at, "secrets are not read: write the `value` out");
    }
    let mismatch = map.get("mismatch");
    map.end(reader);
    let action = mismatch
        .as_ref()
        .and_then(|at| reader.choice(at, &MISMATCHES));
    if let (Some(at), None, Some(Mismatch::Add | Mismatch::Delete | Mismatch::Replace)) =
        (&mismatch, value, action)
    {
        reader.fault(
            at,
            "ADD, DELETE and REPLACE need the `value` that the header is to have",
        );
    }
    let at = name?;
    let name = reader.text(&at)?;
    check_name(reader, &at, name);
    let rule = HeaderRule {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        mismatch: action.unwrap_or_default(),
    };
    if !rule.can_act() {
        reader.fault(
            &at,
            "such a change would be more than one of a header: its name must be none that frames \
             the message or names its host, its value without control characters",
        );
    }
    Some(rule)
}

/// A token (RFC 9110 §5.6.2): anything else is never sent, and must not be written into a request.
fn check_name(reader: &mut Reader, at: &Cursor<'_>, name: &str) {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        reader.fault(at, format!("`{name}` is not the name of a header"));
    }
}
