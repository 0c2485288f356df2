//! Many expressions in one automaton: a path is read once, whatever their number.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use regex_automata::hybrid::CacheError;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input, MatchKind, hybrid};

use crate::pattern::{anchored, bytes_syntax};

/// Size of an automaton of many expressions; above it each is asked alone.
const AUTOMATON_BYTES_MAX: usize = 64 << 20;
/// States of such an automaton that are kept once they were computed.
const CACHE_BYTES: usize = 8 << 20;

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// Expressions that share a beginning. Their states are computed when they are first needed, and
/// thrown away when they become too many.
pub(crate) struct Crowd {
    automaton: DFA,
    /// Rules of each expression.
    rules: Vec<Vec<usize>>,
    /// So that a verdict allocates nothing.
    caches: Pool<Cache, NewCache>,
}

impl Crowd {
    /// The rules of each expression, by its text; `None` if they are too large together.
    pub(crate) fn new(by_source: BTreeMap<&str, Vec<usize>>) -> Option<Self> {
        let (sources, rules): (Vec<String>, Vec<Vec<usize>>) = by_source
            .into_iter()
            .map(|(source, rules)| (anchored(source), rules))
            .unzip();
        // All, not the leftmost: there an expression hides those that come after it.
        let config = hybrid::dfa::Config::new()
            .match_kind(MatchKind::All)
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true);
        let nfa = thompson::Config::new()
            .nfa_size_limit(Some(AUTOMATON_BYTES_MAX))
            .utf8(false)
            .which_captures(thompson::WhichCaptures::None);
        let mut builder = DFA::builder();
        builder
            .configure(config)
            .thompson(nfa)
            .syntax(bytes_syntax());
        let automaton = builder.build_many(&sources).ok()?;
        let of = automaton.clone();
        let new_cache: NewCache = Box::new(move || of.create_cache());
        Some(Self {
            automaton,
            rules,
            caches: Pool::new(new_cache),
        })
    }

    /// All rules.
    pub(crate) fn rules(&self) -> impl Iterator<Item = usize> {
        self.rules.iter().flatten().copied()
    }

    /// Calls `visit` with the rules of each expression that matches the whole of a path.
    pub(crate) fn each(&self, path: &[u8], visit: impl FnMut(&[usize])) {
        let mut cache = self.caches.get();
        // It never gives up: what does not fit is thrown away.
        let _always_ends = self.walk(&mut cache, path, visit);
    }

    fn walk(&self, cache: &mut Cache, path: &[u8], mut visit: impl FnMut(&[usize])) -> Option<()> {
        let ok = |step: Result<_, CacheError>| step.ok();
        let automaton = &self.automaton;
        let input = Input::new(path).anchored(Anchored::Yes);
        let mut state = automaton.start_state_forward(cache, &input).ok()?;
        for byte in path {
            state = ok(automaton.next_state(cache, state, *byte))?;
            if state.is_dead() {
                return Some(());
            }
        }
        state = ok(automaton.next_eoi_state(cache, state))?;
        if state.is_match() {
            for nth in 0..automaton.match_len(cache, state) {
                let expression = automaton.match_pattern(cache, state, nth);
                if let Some(rules) = self.rules.get(expression.as_usize()) {
                    visit(rules);
                }
            }
        }
        Some(())
    }
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
