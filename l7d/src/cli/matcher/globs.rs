//! Patterns with `*` for DNS, cluster and node names.

use regex::Regex;

/// What `*` stands for.
const STAR: &str = "[-.0-9a-z]*";

/// A DNS name: one trailing dot and the case of letters mean nothing.
pub(super) fn fqdn(pattern: &str) -> Result<Regex, String> {
    let pattern = pattern.trim();
    let pattern = pattern
        .strip_suffix('.')
        .unwrap_or(pattern)
        .to_ascii_lowercase();
    if pattern.is_empty() {
        return Err("empty pattern".to_owned());
    }
    anchored(&translate(&pattern, "_.-")?)
}

/// A cluster's name.
pub(super) fn cluster(pattern: &str) -> Result<Regex, String> {
    anchored(&translate(&pattern.to_ascii_lowercase(), "_.-")?)
}

/// `node`, `cluster/node`, `cluster/`, `/node`: an empty part, or a missing one, is any.
pub(super) fn node(pattern: &str) -> Result<Regex, String> {
    let pattern = pattern.to_ascii_lowercase();
    if pattern.is_empty() {
        return Err("empty pattern".to_owned());
    }
    let (cluster, node) = pattern.split_once('/').unwrap_or(("", &pattern));
    if node.contains('/') {
        return Err("too many slashes in pattern".to_owned());
    }
    let part = |part: &str| match part {
        "" => Ok("[^/]*".to_owned()),
        part => translate(part, "_.-"),
    };
    anchored(&format!("{}/{}", part(cluster)?, part(node)?))
}

fn translate(pattern: &str, also: &str) -> Result<String, String> {
    let mut regex = String::new();
    for c in pattern.chars() {
        match c {
            '*' => regex.push_str(STAR),
            c if c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c) => {
                regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
            }
            c => return Err(format!("'{c}': invalid rune in pattern")),
        }
    }
    Ok(regex)
}

fn anchored(regex: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{regex})$")).map_err(|error| error.to_string())
}
