//! HTTP rules: patterns that do not mean what they look like.

use super::checks::{
    GLOB_IN_PATTERN, HOST_DOT, HOST_WITH_PORT, HTTP_RULE_COVERED, METHOD_UNKNOWN, PATH_IS_EXACT,
    PATH_IS_PREFIX, PATH_NOT_NORMAL, REGEX_ALWAYS, REGEX_NEVER, SUPERFLUOUS_ANCHOR,
};
use super::patterns::{Field, Reach, reach};
use super::{About, Check, Finding};
use crate::error::nearest;
use crate::pattern::{Form, Pattern};
use crate::rule::{HttpRule, L7};

/// Methods that servers know: RFC 9110 §9, RFC 5789, and those of RFC 4918 that are in use.
const METHODS: [&str; 16] = [
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LOCK",
    "MKCOL",
    "MOVE",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "TRACE",
    "UNLOCK",
];

/// Looks at each rule of each list, and at each list.
pub(super) fn check(about: &About<'_>, findings: &mut Vec<Finding>) {
    for rule in &about.spec.rules {
        let L7::Http(rules) = &rule.l7 else { continue };
        // What lets pass what is only looked at stands behind them and is nobody's text.
        let written: Vec<&HttpRule> = rules
            .iter()
            .filter(|http| http.path_in_object != rule.path)
            .collect();
        for http in &written {
            let mut note = |finding: Option<Finding>| findings.extend(finding);
            let at = |field: &str| format!("{}.{field}", http.path_in_object);
            if let Some(path) = &http.path {
                note(of_path(about, &at("path"), path));
                note(anchors(about, &at("path"), path));
            }
            if let Some(method) = &http.method {
                note(of_method(about, &at("method"), method));
                note(anchors(about, &at("method"), method));
            }
            if let Some(host) = &http.host {
                note(of_host(about, &at("host"), host));
                note(anchors(about, &at("host"), host));
            }
        }
        covered(about, &written, findings);
    }
}

fn note(
    about: &About<'_>,
    check: &'static Check,
    field: &str,
    message: String,
    suggestion: Option<String>,
) -> Finding {
    Finding {
        suggestion,
        ..about.finding(check, field, message)
    }
}

/// A pattern without the anchors that it need not have.
fn bare(source: &str) -> &str {
    let source = source.strip_prefix('^').unwrap_or(source);
    let is_escaped = source.ends_with("\\$");
    source
        .strip_suffix('$')
        .filter(|_| !is_escaped)
        .unwrap_or(source)
}

fn anchors(about: &About<'_>, field: &str, pattern: &Pattern) -> Option<Finding> {
    let source = pattern.source.as_str();
    let bare = bare(source);
    // With an alternative in it they belong to one side only.
    if bare == source || bare.contains('|') {
        return None;
    }
    let message = "`^` and `$` say nothing here: a pattern always has to match from end to end";
    Some(note(
        about,
        SUPERFLUOUS_ANCHOR,
        field,
        message.to_owned(),
        Some(bare.to_owned()),
    ))
}

fn of_path(about: &About<'_>, field: &str, pattern: &Pattern) -> Option<Finding> {
    let source = bare(&pattern.source);
    match reach(&pattern.source, Field::Path) {
        Some(Reach::Everything) => return Some(everything(about, field, "path")),
        Some(Reach::Nothing) => return Some(no_path(about, field, source)),
        Some(Reach::Some) | None => {}
    }
    if let Some(meant) = glob(source) {
        let message = format!("`*` repeats the `/` before it: `{source}` is a pattern, not a glob");
        return Some(note(about, GLOB_IN_PATTERN, field, message, Some(meant)));
    }
    let Form::Literal(literal) = &pattern.form else {
        return is_literal(source)
            .then(|| exact(about, field, source))
            .or_else(|| not_normal(about, field, source));
    };
    let literal = String::from_utf8_lossy(literal);
    not_normal(about, field, &literal).or_else(|| Some(exact(about, field, &literal)))
}

fn everything(about: &About<'_>, field: &str, what: &str) -> Finding {
    let message = format!("matches every {what}: leaving it out says the same");
    note(about, REGEX_ALWAYS, field, message, None)
}

fn no_path(about: &About<'_>, field: &str, source: &str) -> Finding {
    let (message, suggestion) = if source.starts_with("http://") || source.starts_with("https://") {
        ("no path: the scheme and the host are no part of it", None)
    } else if is_literal(source) && !source.starts_with('/') {
        ("every path begins with `/`", Some(format!("/{source}")))
    } else if source.starts_with('/') {
        ("no path can match it", None)
    } else {
        (
            "every path begins with `/`, and nothing that does can match it",
            None,
        )
    };
    note(
        about,
        REGEX_NEVER,
        field,
        format!("matches nothing: {message}"),
        suggestion,
    )
}

/// A path that matches itself only.
fn exact(about: &About<'_>, field: &str, path: &str) -> Finding {
    if let Some(base) = path.strip_suffix('/').filter(|base| !base.is_empty()) {
        let message = format!("matches `{path}` only: neither what is below it, nor `{base}`");
        return note(
            about,
            PATH_IS_PREFIX,
            field,
            message,
            Some(format!("{path}.*")),
        );
    }
    let below = if path == "/" {
        "/index.html"
    } else {
        &format!("{path}/x")
    };
    let message =
        format!("matches `{path}` only: neither `{below}`, nor a query as in `{path}?x=1`");
    note(about, PATH_IS_EXACT, field, message, None)
}

/// Requests are judged in their normal form: RFC 3986 §5.2.4, slashes merged.
fn not_normal(about: &About<'_>, field: &str, path: &str) -> Option<Finding> {
    if !is_literal(path) {
        return None;
    }
    let path = path.split('?').next().unwrap_or_default();
    let odd = if path.contains("//") {
        "`//`"
    } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        "`.` or `..`"
    } else if path.contains('#') {
        "a fragment, which clients keep to themselves"
    } else {
        return None;
    };
    let message = format!("has {odd} in it: paths are judged in their normal form");
    Some(note(about, PATH_NOT_NORMAL, field, message, None))
}

/// Whether nothing in it means something else than itself, but perhaps dots.
fn is_literal(source: &str) -> bool {
    !source.contains([
        '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '^', '$', '\\',
    ])
}

/// What was meant by `/*` or `/**`, where slashes are not what is repeated.
fn glob(source: &str) -> Option<String> {
    let is_glob = source.contains("/*") && !source.contains("\\/*");
    is_glob.then(|| {
        let single = source.replace("/**", "/.*");
        match single.strip_suffix("/*") {
            Some(base) => format!("{}/.*", base.replace("/*", "/[^/]*")),
            None => single.replace("/*", "/[^/]*"),
        }
    })
}

fn of_method(about: &About<'_>, field: &str, pattern: &Pattern) -> Option<Finding> {
    let source = bare(&pattern.source);
    if !source
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || b"|()-".contains(&byte))
    {
        return match reach(source, Field::Method)? {
            Reach::Everything => Some(everything(about, field, "method")),
            Reach::Nothing => Some(note(
                about,
                REGEX_NEVER,
                field,
                "matches no method".to_owned(),
                None,
            )),
            Reach::Some => None,
        };
    }
    let words = source
        .split(['|', '(', ')'])
        .filter(|word| !word.is_empty());
    let mut unknown = words.filter(|word| !METHODS.contains(word));
    let word = unknown.next()?;
    let upper = word.to_ascii_uppercase();
    if METHODS.contains(&upper.as_str()) {
        let message =
            format!("methods are compared with their case: `{word}` is none that clients send");
        let suggestion = source.replace(word, &upper);
        return Some(note(
            about,
            METHOD_UNKNOWN,
            field,
            message,
            Some(suggestion),
        ));
    }
    let meant = nearest(word, METHODS)?;
    let message = format!("no client sends `{word}`");
    Some(note(
        about,
        METHOD_UNKNOWN,
        field,
        message,
        Some(source.replace(word, meant)),
    ))
}

fn of_host(about: &About<'_>, field: &str, pattern: &Pattern) -> Option<Finding> {
    let source = bare(&pattern.source);
    match reach(&pattern.source, Field::Host) {
        Some(Reach::Everything) => return Some(everything(about, field, "host")),
        Some(Reach::Nothing) => {
            let message = "matches no host: neither a scheme nor a path is part of it".to_owned();
            return Some(note(about, REGEX_NEVER, field, message, None));
        }
        Some(Reach::Some) | None => {}
    }
    for port in [":80", ":443"] {
        if let Some(host) = source.strip_suffix(port) {
            let message =
                format!("clients leave the usual port out of the host: `{source}` is seldom sent");
            let suggestion = Some(format!("{host}({port})?"));
            return Some(note(about, HOST_WITH_PORT, field, message, suggestion));
        }
    }
    if source.contains("*.") && !source.contains(".*") {
        let message = "`*` repeats what stands before it: this is a pattern, not a glob".to_owned();
        return Some(note(about, GLOB_IN_PATTERN, field, message, None));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    if source.contains('.') && source.bytes().all(is_name) {
        let message = "a dot stands for any character".to_owned();
        let suggestion = Some(source.replace('.', "\\."));
        return Some(note(about, HOST_DOT, field, message, suggestion));
    }
    None
}

/// Rules that say nothing beside another of their list.
fn covered(about: &About<'_>, rules: &[&HttpRule], findings: &mut Vec<Finding>) {
    for (position, narrow) in rules.iter().enumerate() {
        let wide = rules.iter().enumerate().find(|(other, wide)| {
            // Of two that say the same, the second is told of.
            *other != position && wide.allows(narrow) && (*other < position || !narrow.allows(wide))
        });
        if let Some((_, wide)) = wide {
            let message = format!("{} allows all that it does", wide.path_in_object);
            findings.push(about.finding(HTTP_RULE_COVERED, &narrow.path_in_object, message));
        }
    }
}

impl HttpRule {
    /// Whether every request that `narrow` allows is allowed here, for all that is written.
    pub(super) fn allows(&self, narrow: &Self) -> bool {
        let has = |wide: &Option<Pattern>, narrow: &Option<Pattern>| match (wide, narrow) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(narrow)) => wide.covers(narrow),
        };
        has(&self.method, &narrow.method)
            && has(&self.path, &narrow.path)
            && has(&self.host, &narrow.host)
            && self
                .headers
                .iter()
                .all(|header| narrow.headers.contains(header))
    }
}

impl Pattern {
    fn covers(&self, narrow: &Self) -> bool {
        if self.source == narrow.source {
            return true;
        }
        match (&self.form, &narrow.form) {
            (_, Form::Literal(literal)) => self.matches(literal),
            (Form::Open(wide), Form::Open(narrow)) => narrow.starts_with(wide),
            _ => false,
        }
    }
}
