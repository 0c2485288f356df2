//! HTTP rules of several policies for the same peers and ports, as one list: a request is looked up
//! once, however many policies speak of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RuleId;
use super::set::{Scope, ScopeL7};
use crate::paths::HttpRules;

/// Lists made of several, by the rules that they are of; endpoints share them.
#[derive(Debug, Default)]
pub(super) struct HttpLists(BTreeMap<Vec<RuleId>, ScopeL7>);

impl HttpLists {
    /// The same rules, those about the same peers and ports in the place of the first of them.
    pub(super) fn merged(&mut self, scopes: Vec<Scope>) -> Vec<Scope> {
        let mut merged: Vec<Scope> = Vec::with_capacity(scopes.len());
        let mut first = BTreeMap::new();
        let mut lists: BTreeMap<usize, Vec<Scope>> = BTreeMap::new();
        for scope in scopes {
            if scope.is_deny || !matches!(scope.l7, ScopeL7::Http { .. }) {
                merged.push(scope);
                continue;
            }
            let about = (scope.peers, Arc::clone(&scope.prefixes));
            let place = *first.entry(about).or_insert(merged.len());
            if place == merged.len() {
                merged.push(scope.clone());
            }
            lists.entry(place).or_default().push(scope);
        }
        for (place, list) in lists.into_iter().filter(|(_, list)| list.len() > 1) {
            if let Some(scope) = merged.get_mut(place) {
                scope.l7 = self.list(&list);
            }
        }
        merged
    }

    fn list(&mut self, scopes: &[Scope]) -> ScopeL7 {
        let key: Vec<RuleId> = scopes.iter().map(|scope| scope.rule).collect();
        let list = self.0.entry(key);
        list.or_insert_with(|| joined(scopes)).clone()
    }

    /// Forgets lists that nobody has any more.
    pub(super) fn retain_used(&mut self) {
        self.0.retain(|_, list| match list {
            ScopeL7::Http { rules, .. } => Arc::strong_count(rules) > 1,
            _ => false,
        });
    }
}

fn joined(scopes: &[Scope]) -> ScopeL7 {
    let mut all = Vec::new();
    let mut numbers = Vec::new();
    for scope in scopes {
        if let ScopeL7::Http { rules, ids } = &scope.l7 {
            all.extend_from_slice(rules.rules());
            numbers.extend_from_slice(ids);
        }
    }
    ScopeL7::Http {
        rules: Arc::new(HttpRules::new(all)),
        ids: numbers.into(),
    }
}
