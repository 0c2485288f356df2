//! Globs and label selectors, as filters spell them.

use super::FilterError;

/// `*` stands for any run of `[-.0-9a-z]`, as in Hubble's name patterns. One pass: only the last star
/// is ever given more, since one before it could reach no place that the last one cannot.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let is_fit = |byte: u8| {
        byte == b'-' || byte == b'.' || byte.is_ascii_digit() || byte.is_ascii_lowercase()
    };
    let (mut at, mut in_pattern) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(in_pattern), text.get(at)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            (Some(want), Some(have)) if want == have => {
                in_pattern += 1;
                at += 1;
            }
            _ => {
                let Some((of, covered)) = star else {
                    return false;
                };
                if !text.get(covered).is_some_and(|byte| is_fit(*byte)) {
                    return false;
                }
                star = Some((of, covered + 1));
                in_pattern = of + 1;
                at = covered + 1;
            }
        }
    }
}

/// One requirement of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Equals(String, String),
    Differs(String, String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A label selector: `a=b,c in (x,y),!d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    pub(super) fn parse(field: &'static str, text: &str) -> Result<Self, FilterError> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            let fault = || FilterError {
                field,
                message: format!("`{text}` is not a label selector"),
            };
            requirements.push(requirement(part).ok_or_else(fault)?);
        }
        Ok(Self(requirements))
    }

    /// Whether labels (`source:key=value`) satisfy all requirements.
    pub(super) fn matches(&self, labels: &[String]) -> bool {
        self.0.iter().all(|requirement| requirement.is_met(labels))
    }
}

impl Requirement {
    fn is_met(&self, labels: &[String]) -> bool {
        let has = |key: &str, value: Option<&str>| {
            labels.iter().any(|label| {
                let (name, have) = label.split_once('=').unwrap_or((label, ""));
                let bare = name.split_once(':').map_or(name, |(_, bare)| bare);
                (name == key || bare == key) && value.is_none_or(|value| value == have)
            })
        };
        match self {
            Self::Equals(key, value) => has(key, Some(value)),
            Self::Differs(key, value) => !has(key, Some(value)),
            Self::In(key, values) => values.iter().any(|value| has(key, Some(value))),
            Self::NotIn(key, values) => !values.iter().any(|value| has(key, Some(value))),
            Self::Exists(key) => has(key, None),
            Self::Absent(key) => !has(key, None),
        }
    }
}

fn requirement(part: &str) -> Option<Requirement> {
    if part.is_empty() {
        return None;
    }
    if let Some(key) = part.strip_prefix('!') {
        return Some(Requirement::Absent(key.trim().to_owned()));
    }
    if let Some((key, values)) = part.split_once(" notin ") {
        return Some(Requirement::NotIn(key.trim().to_owned(), list(values)?));
    }
    if let Some((key, values)) = part.split_once(" in ") {
        return Some(Requirement::In(key.trim().to_owned(), list(values)?));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Some(Requirement::Differs(
            key.trim().to_owned(),
            value.trim().to_owned(),
        ));
    }
    if let Some((key, value)) = part.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Some(Requirement::Equals(
            key.trim().to_owned(),
            value.trim().to_owned(),
        ));
    }
    (!part.contains([' ', '(', ')'])).then(|| Requirement::Exists(part.to_owned()))
}

fn list(values: &str) -> Option<Vec<String>> {
    let inner = values.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(
        inner
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect(),
    )
}

fn split_outside_parentheses(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}
