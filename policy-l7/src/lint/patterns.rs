//! What patterns match at all: decided on their automata.

use std::collections::HashSet;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, MatchKind};

use crate::pattern::bytes_syntax;

/// Largest automaton that is looked at; of a larger one nothing is said.
const AUTOMATON_BYTES_MAX: usize = 1 << 20;

/// The texts that a field can have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    /// A slash, and visible characters.
    Path,
    /// What host names, addresses and ports are made of.
    Host,
    /// Letters and dashes in upper case.
    Method,
}

impl Field {
    /// Whether a byte can stand in it, at the beginning or behind.
    fn has(self, byte: u8, is_first: bool) -> bool {
        match self {
            Self::Path if is_first => matches!(byte, b'/' | b'*'),
            Self::Path => byte > b' ' && byte != 0x7f,
            Self::Host => byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte),
            Self::Method => byte.is_ascii_uppercase() || byte == b'-',
        }
    }
}

/// How much a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Every text that the field can have.
    Everything,
    /// None of them.
    Nothing,
    /// Some.
    Some,
}

/// How much of what a field can be a pattern matches; `None` where that would cost too much.
pub(super) fn reach(pattern: &str, field: Field) -> Option<Reach> {
    let limit = Some(AUTOMATON_BYTES_MAX);
    let automaton = dense::Builder::new()
        .configure(
            dense::Config::new()
                .match_kind(MatchKind::All)
                .start_kind(StartKind::Anchored)
                .dfa_size_limit(limit)
                .determinize_size_limit(limit),
        )
        .syntax(bytes_syntax())
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(limit))
        .build(&format!("^(?:{pattern})$"))
        .ok()?;
    let start = automaton.universal_start_state(Anchored::Yes).or_else(|| {
        let config = regex_automata::util::start::Config::new().anchored(Anchored::Yes);
        automaton.start_state(&config).ok()
    })?;
    let mut seen = HashSet::new();
    let mut waiting = Vec::new();
    let (mut some, mut all) = (false, true);
    let mut is_first = true;
    let mut state = start;
    loop {
        for byte in (0..=u8::MAX).filter(|byte| field.has(*byte, is_first)) {
            // `*` alone is the path of an OPTIONS request: it need not be matched by everything.
            let next = automaton.next_state(state, byte);
            if matches!(field, Field::Path) && is_first && byte == b'*' {
                some |= automaton.is_match_state(automaton.next_eoi_state(next));
            } else if seen.insert(next) {
                waiting.push(next);
            }
        }
        is_first = false;
        let Some(next) = waiting.pop() else { break };
        let is_match = automaton.is_match_state(automaton.next_eoi_state(next));
        some |= is_match;
        all &= is_match;
        state = next;
    }
    Some(match (some, all) {
        (false, _) => Reach::Nothing,
        (true, true) => Reach::Everything,
        (true, false) => Reach::Some,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reach_of_a_pattern_is_that_of_its_automaton() {
        for (pattern, field, expected) in [
            (".*", Field::Path, Reach::Everything),
            ("/.*", Field::Path, Reach::Everything),
            ("/[^?]*", Field::Path, Reach::Some),
            ("(/.*)?|/", Field::Path, Reach::Everything),
            ("api/.*", Field::Path, Reach::Nothing),
            ("/a$b", Field::Path, Reach::Nothing),
            ("/a b", Field::Path, Reach::Nothing),
            ("[^\\x00-\\xff]", Field::Path, Reach::Nothing),
            ("\\*", Field::Path, Reach::Some),
            ("[A-Z]+", Field::Method, Reach::Some),
            ("[A-Z-]+", Field::Method, Reach::Everything),
            ("get", Field::Method, Reach::Nothing),
            (".+", Field::Host, Reach::Everything),
            ("https://a", Field::Host, Reach::Nothing),
        ] {
            assert_eq!(reach(pattern, field), Some(expected), "{pattern} {field:?}");
        }
    }

    #[test]
    fn of_a_pattern_that_is_too_large_nothing_is_said() {
        assert_eq!(reach("(.*a.{60}){9}", Field::Path), None);
    }
}
