//! Regular expressions of HTTP rules: anchored at both ends, over bytes, bounded.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
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
        /// What it matches begins with this text; may be empty.
        begin: Box<[u8]>,
        /// Reads what follows. Expressions that go on in the same way have one: there are fewer of
        /// these than of rules, and they stay in the processor's caches.
        rest: Arc<Automaton>,
        /// What it matches begins with one of these.
        begins: Vec<Box<[u8]>>,
    },
}

/// What finds out whether an expression matches.
#[derive(Debug)]
pub(crate) enum Automaton {
    /// A table of all its states: nothing is computed, or kept, while it is asked.
    Table(Box<dense::DFA<Vec<u32>>>),
    /// One whose table would be large.
    Engine(Regex),
}

/// Largest table of one expression, in bytes; most have some kilobytes.
const TABLE_BYTES_MAX: usize = 16 << 10;
/// Largest compiled size of one expression: a hostile one is refused when it is loaded.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Most beginnings of one expression; beyond it, a shorter or the empty one stands for them.
const BEGINNINGS_MAX: usize = 16;

/// Most bytes that one place of a beginning may have: digits would make ten of each.
const CLASS_MAX: usize = 4;

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
        let form = if let Some(form) = Form::simple(&hir) {
            form
        } else {
            // A comment at its end would take the anchor with it.
            syntax::parse_with(&anchored(source), &bytes_syntax())
                .map_err(|error| error.to_string())?;
            let (begin, rest) = split(&hir).unwrap_or_else(|| (Box::default(), source.into()));
            Form::Regex {
                begin,
                rest: Automaton::of(&rest)?,
                begins: begins(&hir),
            }
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
            Form::Regex { begin, rest, .. } => text
                .strip_prefix(&**begin)
                .is_some_and(|text| rest.matches(text)),
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

/// The text that an expression begins with, and the rest of it: none where that would mean something
/// else on its own.
fn split(hir: &Hir) -> Option<(Box<[u8]>, String)> {
    let HirKind::Concat(parts) = hir.kind() else {
        return None;
    };
    let (first, rest) = parts.split_first()?;
    let HirKind::Literal(begin) = first.kind() else {
        return None;
    };
    let looks_around = rest
        .iter()
        .any(|part| !part.properties().look_set().is_empty());
    let rest = Hir::concat(rest.to_vec());
    (!looks_around).then(|| (begin.0.clone(), rest.to_string()))
}

/// The automata that some pattern has, by their expressions.
static KNOWN: LazyLock<Mutex<HashMap<Box<str>, Weak<Automaton>>>> = LazyLock::new(Mutex::default);

impl Automaton {
    /// The one of an expression, made when it is first asked for.
    fn of(source: &str) -> Result<Arc<Self>, String> {
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(automaton) = known().get(source).and_then(Weak::upgrade) {
            return Ok(automaton);
        }
        let automaton = Arc::new(match table(source) {
            Some(table) => Self::Table(Box::new(table)),
            None => Self::Engine(engine(source)?),
        });
        let mut known = known();
        if known.len() == known.capacity() {
            known.retain(|_, automaton| automaton.strong_count() > 0);
        }
        known.insert(source.into(), Arc::downgrade(&automaton));
        Ok(automaton)
    }

    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Table(table) => {
                let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
                // It fails only at bytes that it was told to fail at: at none.
                table.try_search_fwd(&input).is_ok_and(|end| end.is_some())
            }
            Self::Engine(regex) => regex.is_match(text),
        }
    }
}

/// An expression between the anchors that Envoy puts around it.
pub(crate) fn anchored(source: &str) -> String {
    format!("^(?:{source})$")
}

fn table(source: &str) -> Option<dense::DFA<Vec<u32>>> {
    let config = dense::Config::new()
        .start_kind(StartKind::Anchored)
        .dfa_size_limit(Some(TABLE_BYTES_MAX))
        .determinize_size_limit(Some(4 * TABLE_BYTES_MAX));
    let nfa = thompson::Config::new()
        .nfa_size_limit(Some(REGEX_BYTES_MAX))
        .utf8(false)
        .which_captures(thompson::WhichCaptures::None);
    let mut builder = dense::Builder::new();
    builder
        .configure(config)
        .thompson(nfa)
        .syntax(bytes_syntax());
    builder.build(&anchored(source)).ok()
}

fn engine(source: &str) -> Result<Regex, String> {
    let config = Regex::config()
        .nfa_size_limit(Some(REGEX_BYTES_MAX))
        .utf8_empty(false);
    Regex::builder()
        .configure(config)
        .syntax(bytes_syntax())
        .build(&anchored(source))
        .map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => cause.to_string(),
            None => error.to_string(),
        })
}

fn begins(hir: &Hir) -> Vec<Box<[u8]>> {
    let mut extractor = Extractor::new();
    extractor.limit_total(BEGINNINGS_MAX).limit_class(CLASS_MAX);
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
        let table = |source: &str| match Pattern::new(source).expect("a pattern").form {
            Form::Regex { rest, .. } => Arc::as_ptr(&rest),
            form => panic!("{form:?}"),
        };
        let kept = Pattern::new("/a/[0-9]+").expect("a pattern");
        assert_eq!(table("/a/[0-9]+"), table("/b/[0-9]+"));
        assert!(kept.matches(b"/a/1") && !kept.matches(b"/b/1") && !kept.matches(b"/a/"));
        // What looks back at the beginning stays with it.
        assert!(
            Pattern::new("/a\\b.*x")
                .expect("a pattern")
                .matches(b"/a/x")
        );
        assert!(
            !Pattern::new("/a\\b.*x")
                .expect("a pattern")
                .matches(b"/abx")
        );
        assert!(!Pattern::new("GET").expect("a pattern").matches(b"get"));
        assert!(Pattern::new("(").is_err());
        assert!(
            Pattern::new("((a{1,500}){1,500}){1,500}").is_err(),
            "too large"
        );
    }
}
