//! Many HTTP rules, asked at about the price of one.
//!
//! Whatever a path expression matches begins with one of a few literal texts, perhaps the empty one.
//! All these beginnings are kept sorted, and each knows the longest other one that it extends: one
//! binary search finds the longest beginning of a path, and the chain from there all others. Only
//! the rules on that chain are asked. Where many expressions share a beginning, one automaton tells
//! which of them match.

use std::collections::{BTreeMap, BTreeSet};

use crate::crowd::Crowd;
use crate::pattern::Form;
use crate::rule::HttpRule;

/// From this many expressions on, one automaton is cheaper than asking each.
const CROWD_MIN: usize = 4;
/// The HTTP rules of one list, in its order.
#[derive(Debug)]
pub(crate) struct HttpRules {
    rules: Vec<HttpRule>,
    /// Sorted by text; the empty one is always there.
    beginnings: Vec<Beginning>,
    /// Any of them may change a request, or tell of a header.
    acts: bool,
}

/// What some rules' paths begin with. The lists hold positions of rules, ascending.
#[derive(Debug, Default)]
struct Beginning {
    text: Box<[u8]>,
    /// Position of the longest other beginning that this one extends.
    shorter: Option<usize>,
    /// Rules whose path is this text and nothing more.
    whole: Vec<usize>,
    /// Rules to be asked about what follows.
    longer: Vec<usize>,
    crowd: Option<Crowd>,
}

impl HttpRules {
    pub(crate) fn new(rules: Vec<HttpRule>) -> Self {
        let mut found: BTreeMap<Box<[u8]>, Beginning> = BTreeMap::new();
        found.insert(Box::default(), Beginning::default());
        for (position, rule) in rules.iter().enumerate() {
            let form = rule.path.as_ref().map(|path| &path.form);
            let begins: BTreeSet<Box<[u8]>> = match form {
                None => [Box::default()].into(),
                Some(Form::Literal(text) | Form::Open(text)) => [text.clone()].into(),
                Some(Form::Regex { begins, .. }) => begins.iter().cloned().collect(),
            };
            for text in begins {
                let beginning = found.entry(text).or_default();
                match form {
                    Some(Form::Literal(_)) => beginning.whole.push(position),
                    None | Some(Form::Open(_) | Form::Regex { .. }) => {
                        beginning.longer.push(position);
                    }
                }
            }
        }
        let mut beginnings: Vec<Beginning> = Vec::with_capacity(found.len());
        for (text, mut beginning) in found {
            beginning.text = text;
            beginning.shorter = longest_start(&beginnings, &beginning.text);
            beginning.gather(&rules);
            beginnings.push(beginning);
        }
        let acts = rules.iter().any(HttpRule::acts);
        Self {
            rules,
            beginnings,
            acts,
        }
    }

    /// Whether any rule does more than say yes or no.
    pub(crate) fn act(&self) -> bool {
        self.acts
    }

    /// Positions of all rules whose path matches, in their order.
    pub(crate) fn all(&self, path: &[u8]) -> Vec<usize> {
        let mut all = Vec::new();
        let mut next = longest_start(&self.beginnings, path);
        while let Some(beginning) = next.and_then(|position| self.beginnings.get(position)) {
            if beginning.text.len() == path.len() {
                all.extend_from_slice(&beginning.whole);
            }
            let is_match = |position: &&usize| {
                let rule = self.rules.get(**position);
                rule.is_some_and(|rule| rule.fits_path(path))
            };
            all.extend(beginning.longer.iter().filter(is_match));
            if let Some(crowd) = &beginning.crowd {
                crowd.each(path, |matching| all.extend_from_slice(matching));
            }
            next = beginning.shorter;
        }
        all.sort_unstable();
        // An expression may begin in several ways.
        all.dedup();
        all
    }

    /// All rules, in their order.
    pub(crate) fn rules(&self) -> &[HttpRule] {
        &self.rules
    }

    /// Position of the first rule whose path matches and that is `fit` besides.
    pub(crate) fn first(&self, path: &[u8], fit: impl Fn(&HttpRule) -> bool) -> Option<usize> {
        let is_match = |rule: &HttpRule| rule.fits_path(path) && fit(rule);
        let mut first = None;
        let mut next = longest_start(&self.beginnings, path);
        while let Some(beginning) = next.and_then(|position| self.beginnings.get(position)) {
            if beginning.text.len() == path.len() {
                first = self.before(first, &beginning.whole, &fit);
            }
            first = self.before(first, &beginning.longer, is_match);
            if let Some(crowd) = &beginning.crowd {
                crowd.each(path, |matching| first = self.before(first, matching, &fit));
            }
            next = beginning.shorter;
        }
        first
    }

    /// The first of `positions` whose rule is `fit`, if it comes before `first`; else `first`.
    fn before(
        &self,
        first: Option<usize>,
        positions: &[usize],
        fit: impl Fn(&HttpRule) -> bool,
    ) -> Option<usize> {
        let earlier = positions
            .iter()
            .take_while(|position| first.is_none_or(|first| **position < first));
        let fitting = earlier
            .copied()
            .find(|position| self.rules.get(*position).is_some_and(&fit));
        fitting.or(first)
    }
}

/// Position of the longest text that `path` starts with. Texts between a start of `path` and `path`
/// itself have that start too, so following `shorter` from the last one before `path` meets it.
fn longest_start(beginnings: &[Beginning], path: &[u8]) -> Option<usize> {
    let after = beginnings.partition_point(|beginning| *beginning.text <= *path);
    let mut next = after.checked_sub(1);
    while let Some(position) = next {
        let beginning = beginnings.get(position)?;
        if path.starts_with(&beginning.text) {
            return Some(position);
        }
        next = beginning.shorter;
    }
    None
}

impl Beginning {
    /// Moves the expressions into one automaton if there are many.
    fn gather(&mut self, rules: &[HttpRule]) {
        let mut by_source: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for position in &self.longer {
            let path = rules.get(*position).and_then(|rule| rule.path.as_ref());
            if let Some(path) = path.filter(|path| matches!(path.form, Form::Regex { .. })) {
                by_source.entry(&path.source).or_default().push(*position);
            }
        }
        if by_source.len() < CROWD_MIN {
            return;
        }
        let Some(crowd) = Crowd::new(by_source) else {
            return;
        };
        let gathered: BTreeSet<usize> = crowd.rules().collect();
        self.longer.retain(|position| !gathered.contains(position));
        self.crowd = Some(crowd);
    }
}
