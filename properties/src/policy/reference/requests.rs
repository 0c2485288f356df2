//! Which rules allow a request.

use super::{HttpWords, Place, Sayings};
use crate::policy::matching::{glob, is_expression};
use crate::policy::words::{Http, Name, Rules};

pub(super) fn allowing_name(all: &Sayings<'_>, name: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for said in &all.said {
        if !said.judges() || said.is_looking {
            places.push(said.place.clone());
        }
        if let Rules::Dns(rules) = said.rules {
            for (position, names) in rules.iter().enumerate() {
                if names.iter().any(|each| is_name(each, name)) {
                    let (object, path) = &said.place;
                    places.push((object.clone(), format!("{path}.rules.dns[{position}]")));
                }
            }
        }
    }
    places
}

pub(super) fn allowing_server(all: &Sayings<'_>, name: Option<&str>) -> Vec<Place> {
    let mut places = Vec::new();
    for said in &all.said {
        if !said.judges() {
            places.push(said.place.clone());
        } else if let Rules::ServerNames(names) = said.rules {
            for (position, pattern) in names.iter().enumerate() {
                let pattern = Name::Pattern(pattern.clone());
                if name.is_some_and(|name| is_name(&pattern, name)) {
                    let (object, path) = &said.place;
                    places.push((object.clone(), format!("{path}.serverNames[{position}]")));
                }
            }
        }
    }
    places
}

pub(super) fn is_name(words: &Name, name: &str) -> bool {
    let whole = |text: &str| {
        let text = text.to_ascii_lowercase();
        match text.strip_suffix('.') {
            Some(_) => text,
            None => format!("{text}."),
        }
    };
    match words {
        Name::Exact(exact) => whole(exact) == whole(name),
        Name::Pattern(pattern) if ["*", "**", "*.", "**."].contains(&pattern.as_str()) => true,
        Name::Pattern(pattern) => match pattern.strip_prefix("**.") {
            Some(rest) => {
                let (name, rest) = (whole(name), whole(rest));
                let cuts = name.match_indices('.');
                cuts.filter_map(|(at, _)| name.split_at_checked(at))
                    .any(|(first, tail)| {
                        let is_labels = first.split('.').all(|label| glob("*", label));
                        !first.is_empty()
                            && is_labels
                            && tail.strip_prefix('.').is_some_and(|tail| glob(&rest, tail))
                    })
            }
            None => glob(&whole(pattern), &whole(name)),
        },
    }
}

pub(super) fn allowing_http(all: &Sayings<'_>, words: &HttpWords, path: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for said in &all.said {
        if !said.judges() || said.is_looking {
            places.push(said.place.clone());
        }
        if let Rules::Http(rules) = said.rules {
            for (position, rule) in rules.iter().enumerate() {
                if is_request(rule, words, path) {
                    let (object, path) = &said.place;
                    places.push((object.clone(), format!("{path}.rules.http[{position}]")));
                }
            }
        }
    }
    places
}

fn is_request(rule: &Http, words: &HttpWords, path: &str) -> bool {
    let fits = |expression: &Option<String>, text: &str| match expression.as_deref() {
        None | Some("") => true,
        Some(expression) => is_expression(expression, text),
    };
    let has = |name: &str, value: Option<&str>| {
        let of_name = words
            .fields
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name));
        let lines: Vec<&str> = of_name.map(|(_, value)| value.as_str()).collect();
        match value {
            None => !lines.is_empty(),
            Some(value) => !lines.is_empty() && lines.join(",") == value,
        }
    };
    let by_headers = rule.headers.iter().all(|text| match text.split_once(' ') {
        Some((name, value)) => has(name.strip_suffix(':').unwrap_or(name), Some(value)),
        None => has(text.strip_suffix(':').unwrap_or(text), None),
    });
    let by_matches = rule
        .matches
        .iter()
        .all(|(name, value)| has(name, value.as_deref()));
    fits(&rule.method, &words.method)
        && fits(&rule.path, path)
        && fits(&rule.host, &words.host)
        && by_headers
        && by_matches
}
