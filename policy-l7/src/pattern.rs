//! Regular expressions of HTTP rules: anchored at both ends, over bytes, bounded.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Dot, Hir, HirKind, Repetition};

/// A regular expression that must match the whole text; the simple ones are compared.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) source: String,
    pub(crate) form: Form,
}

/// What an expression comes down to.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// This text.
    Literal(Box<[u8]>),
    /// This text, then anything (`.*`).
    Open(Box<[u8]>),
    /// Anything else.
    Regex {
        regex: Regex,
        /// What it matches begins with one of these.
        begins: Vec<Box<[u8]>>,
    },
}

/// Largest compiled size of one expression: a hostile one is refused when it is loaded.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Most beginnings of one expression; beyond it, a shorter or the empty one stands for them.
const BEGINNINGS_MAX: usize = 16;

/// Bytes, not characters: what is judged is what was sent, whatever its encoding.
pub(crate) fn bytes_syntax() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Pattern {
    /// Compiles an expression, anchored at both ends as Envoy's are.
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        // On its own first: `a)|(.*` is only an expression, and another one, between our anchors.
        let hir = syntax::parse_with(source, &bytes_syntax()).map_err(|error| error.to_string())?;
        let form = match Form::simple(&hir) {
            Some(form) => form,
            None => Form::Regex {
                regex: anchored(source)?,
                begins: begins(&hir),
            },
        };
        Ok(Self {
            source: source.to_owned(),
            form,
        })
    }

    /// Whether the whole of `text` matches.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match &self.form {
            Form::Literal(literal) => **literal == *text,
            Form::Open(begin) => text
                .strip_prefix(&**begin)
                .is_some_and(|rest| !rest.contains(&b'\n')),
            Form::Regex { regex, .. } => regex.is_match(text),
        }
    }
}

impl Form {
    fn simple(hir: &Hir) -> Option<Self> {
        // As in RE2, a dot is not a line feed.
        let anything = Hir::repetition(Repetition {
            min: 0,
            max: None,
            greedy: true,
            sub: Box::new(Hir::dot(Dot::AnyByteExceptLF)),
        });
        match hir.kind() {
            HirKind::Literal(literal) => Some(Self::Literal(literal.0.clone())),
            HirKind::Concat(parts) => match parts.as_slice() {
                [begin, rest] if *rest == anything => match begin.kind() {
                    HirKind::Literal(literal) => Some(Self::Open(literal.0.clone())),
                    _ => None,
                },
                _ => None,
            },
            _ if *hir == anything => Some(Self::Open(Box::default())),
            _ => None,
        }
    }
}

fn anchored(source: &str) -> Result<Regex, String> {
    let config = Regex::config()
        .nfa_size_limit(Some(REGEX_BYTES_MAX))
        .utf8_empty(false);
    Regex::builder()
        .configure(config)
        .syntax(bytes_syntax())
        .build(&format!("^(?:{source})$"))
        .map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => cause.to_string(),
            None => error.to_string(),
        })
}

fn begins(hir: &Hir) -> Vec<Box<[u8]>> {
    let mut extractor = Extractor::new();
    extractor.limit_total(BEGINNINGS_MAX);
    let found = extractor.extract(hir);
    match found.literals() {
        Some(literals) => literals
            .iter()
            .map(|literal| Box::from(literal.as_bytes()))
            .collect(),
        // More than are worth to be told apart.
        None => vec![Box::default()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_whole_text() {
        let pattern = Pattern::new("/api/.*|/health").expect("a pattern");
        for (text, expected) in [
            ("/api/x", true),
            ("/health", true),
            ("/healthz", false),
            ("/x/api/y", false),
        ] {
            assert_eq!(pattern.matches(text.as_bytes()), expected, "{text}");
        }
        assert!(!Pattern::new("GET").expect("a pattern").matches(b"get"));
        assert!(Pattern::new("(").is_err());
        assert!(
            Pattern::new("((a{1,500}){1,500}){1,500}").is_err(),
            "too large"
        );
    }
}
