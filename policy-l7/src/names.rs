//! DNS names as policies write them.
//!
//! `matchName` is the name; in `matchPattern` a `*` stands for any number of the characters that host
//! names have and never crosses a dot, and `**.` at the beginning for one or more whole labels. A
//! pattern that is only `*` matches everything. Names are compared in lower case with their last dot.

use std::collections::HashMap;

/// Longest name that a policy may write, in characters.
const NAME_MAX: usize = 255;

/// A name, or a pattern of names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NamePattern {
    /// In lower case, without the last dot.
    pub(crate) source: String,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Form {
    /// Everything.
    Any,
    /// This name.
    Literal(Box<[u8]>),
    /// With stars in it.
    Glob(Box<[u8]>),
    /// Labels, at least one, and what is behind `**.`.
    Below(Box<[u8]>),
}

impl NamePattern {
    /// A `matchName`.
    ///
    /// # Errors
    /// What is wrong with it, for the reader.
    pub(crate) fn name(text: &str) -> Result<Self, String> {
        let name = normalise(text, "")?;
        Ok(Self {
            source: source(&name),
            form: Form::Literal(name.into_bytes().into()),
        })
    }

    /// A `matchPattern`.
    ///
    /// # Errors
    /// What is wrong with it, for the reader.
    pub(crate) fn pattern(text: &str) -> Result<Self, String> {
        let name = normalise(text, "*")?;
        let form = match name.strip_prefix("**.") {
            _ if matches!(name.as_str(), "*." | "**.") => Form::Any,
            Some(below) => Form::Below(below.as_bytes().into()),
            None if name.contains('*') => Form::Glob(name.as_bytes().into()),
            None => Form::Literal(name.as_bytes().into()),
        };
        Ok(Self {
            source: source(&name),
            form,
        })
    }

    /// Whether a name, in lower case and with its last dot, is meant.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        match &self.form {
            Form::Any => true,
            Form::Literal(literal) => **literal == *name,
            Form::Glob(glob) => fits_glob(glob, name),
            Form::Below(below) => {
                let dots = name.iter().enumerate().filter(|(_, byte)| **byte == b'.');
                dots.filter_map(|(at, _)| name.split_at_checked(at))
                    .take_while(|(labels, _)| {
                        labels.iter().all(|byte| is_of_host(*byte) || *byte == b'.')
                    })
                    .any(|(labels, rest)| {
                        !labels.is_empty() && fits_glob(below, rest.get(1..).unwrap_or_default())
                    })
            }
        }
    }
}

fn source(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

fn normalise(text: &str, also: &str) -> Result<String, String> {
    let mut name = text.to_ascii_lowercase();
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if name.len() > NAME_MAX {
        return Err(format!("`{text}` is longer than {NAME_MAX} characters"));
    }
    let is_fit = |c: char| c == '.' || also.contains(c) || u8::try_from(c).is_ok_and(is_of_host);
    if let Some(odd) = name.chars().find(|c| !is_fit(*c)) {
        return Err(format!(
            "`{text}`: {odd:?} cannot stand in a name{}",
            if odd == '*' {
                "; write `matchPattern`"
            } else {
                ""
            }
        ));
    }
    if !name.ends_with('.') {
        name.push('.');
    }
    Ok(name)
}

/// What a star may stand for.
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// One pass: only the last star is ever given more, since one before it could reach no place that the
/// last one cannot.
fn fits_glob(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_glob) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (glob.get(in_glob), name.get(at)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((in_glob, at));
                in_glob += 1;
            }
            (Some(want), Some(have)) if want == have => {
                in_glob += 1;
                at += 1;
            }
            _ => {
                let Some((of, covered)) = star else {
                    return false;
                };
                if !name.get(covered).is_some_and(|byte| is_of_host(*byte)) {
                    return false;
                }
                star = Some((of, covered + 1));
                in_glob = of + 1;
                at = covered + 1;
            }
        }
    }
}

/// One DNS rule: a name, a pattern, or either of both. One with neither matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DnsRule {
    /// Path in the object.
    pub(crate) path_in_object: String,
    pub(crate) names: Vec<NamePattern>,
}

impl DnsRule {
    /// A rule that allows every name.
    pub(crate) fn everything(path_in_object: String) -> Self {
        Self {
            path_in_object,
            names: vec![NamePattern {
                source: "*".to_owned(),
                form: Form::Any,
            }],
        }
    }
}

/// The DNS rules of one list: names are looked up, patterns are tried.
#[derive(Debug)]
pub(crate) struct DnsRules {
    rules: Vec<DnsRule>,
    /// Position of the first rule that has the name.
    literals: HashMap<Box<[u8]>, usize>,
    /// Everything else, with the position of its rule.
    patterns: Vec<(usize, NamePattern)>,
}

impl DnsRules {
    pub(crate) fn new(rules: Vec<DnsRule>) -> Self {
        let mut literals = HashMap::new();
        let mut patterns = Vec::new();
        for (position, rule) in rules.iter().enumerate() {
            for name in &rule.names {
                match &name.form {
                    Form::Literal(literal) => {
                        literals.entry(literal.clone()).or_insert(position);
                    }
                    Form::Any | Form::Glob(_) | Form::Below(_) => {
                        patterns.push((position, name.clone()));
                    }
                }
            }
        }
        Self {
            rules,
            literals,
            patterns,
        }
    }

    /// Position of a rule that means the name: in lower case, with its last dot.
    pub(crate) fn allowing(&self, name: &[u8]) -> Option<usize> {
        self.literals.get(name).copied().or_else(|| {
            let mut patterns = self.patterns.iter();
            patterns
                .find(|(_, pattern)| pattern.matches(name))
                .map(|(position, _)| *position)
        })
    }

    /// All rules, in their order.
    pub(crate) fn rules(&self) -> &[DnsRule] {
        &self.rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let pattern = NamePattern::pattern(pattern).expect("a pattern");
        pattern.matches(name.as_bytes())
    }

    #[test]
    fn patterns_match_as_the_field_reads_them() {
        let table: [(&str, &[&str], &[&str]); 8] = [
            ("*", &["a.", "a.b.", ".", "\\000x."], &[]),
            ("**", &["a.", "a.b.", "."], &[]),
            (
                "*.x.io",
                &["a.x.io.", "-_9.x.io.", ".x.io."],
                &["a.b.x.io.", "x.io.", "a.x.io.evil."],
            ),
            ("*x.io", &["x.io.", "ax.io."], &["a.x.io."]),
            (
                "**.x.io",
                &["a.x.io.", "a.b.x.io."],
                &["x.io.", "ax.io.", "a\\..x.io."],
            ),
            (
                "a*c*e.io.",
                &["ace.io.", "abcde.io.", "acece.io."],
                &["ab.cde.io.", "ac.io."],
            ),
            ("API.x.io", &["api.x.io."], &["api.x.io", "bapi.x.io."]),
            ("a.*.io", &["a.b.io.", "a..io."], &["a.b.c.io.", "a.io."]),
        ];
        for (pattern, fit, unfit) in table {
            for name in fit {
                assert!(matches(pattern, name), "{pattern} {name}");
            }
            for name in unfit {
                assert!(!matches(pattern, name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn a_star_does_not_hide_in_an_escape() {
        // A label with a dot in it is written `a\.b`: it is one label, and no host's.
        assert!(!matches("*.x.io", "a\\.b.x.io."));
        assert!(!matches("*.x.io", "a\\046.x.io."));
    }

    #[test]
    fn many_stars_cost_no_more_than_one_pass_each() {
        let pattern = format!("{}b", "a*".repeat(100));
        assert!(!matches(&pattern, &format!("{}.", "a".repeat(250))));
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        for (text, fault) in [
            ("", "empty"),
            ("a b", "' '"),
            ("*.x.io", "matchPattern"),
            ("ü.io", "'ü'"),
        ] {
            let error = NamePattern::name(text).expect_err("a fault");
            assert!(error.contains(fault), "{error}");
        }
        assert!(NamePattern::pattern(&"a".repeat(256)).is_err());
    }

    #[test]
    fn of_many_rules_one_that_means_the_name_is_found() {
        let rule = |text: &str| DnsRule {
            path_in_object: text.to_owned(),
            names: vec![NamePattern::pattern(text).expect("a pattern")],
        };
        let rules = DnsRules::new(vec![rule("a.io"), rule("*.b.io"), rule("a.io")]);
        assert_eq!(rules.allowing(b"a.io."), Some(0));
        assert_eq!(rules.allowing(b"x.b.io."), Some(1));
        assert_eq!(rules.allowing(b"b.io."), None);
        let nothing = DnsRule {
            path_in_object: String::new(),
            names: Vec::new(),
        };
        assert_eq!(DnsRules::new(vec![nothing]).allowing(b"a."), None);
    }
}
