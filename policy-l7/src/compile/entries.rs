//! What rules say → entries of the kernel's map.

use std::collections::{BTreeMap, BTreeSet};

use super::prefixes::Prefix;
use super::{Action, Entry, Key, RuleId, Scope, ScopeL7};
use crate::rule::Direction;

/// What a rule says about a block of ports of one peer.
struct Said {
    prefix: Prefix,
    action: Action,
    rule: RuleId,
}

/// Entries for the kernel. A look-up finds the longest prefix only, so each entry says the
/// strictest of everything that covers it.
pub(super) fn entries(scopes: &[Scope]) -> Vec<Entry> {
    let mut raw: BTreeMap<(Direction, u32), Vec<Said>> = BTreeMap::new();
    for scope in scopes {
        let action = match (scope.is_deny, &scope.l7) {
            (true, _) => Action::Deny,
            (false, ScopeL7::Dns { .. } | ScopeL7::Http { .. }) => Action::Redirect,
            (false, ScopeL7::Nothing) => Action::Allow,
        };
        for identity in scope.peers.as_deref().unwrap_or(&[0]) {
            let list = raw.entry((scope.direction, *identity)).or_default();
            list.extend(scope.prefixes.iter().map(|prefix| Said {
                prefix: *prefix,
                action,
                rule: scope.rule,
            }));
        }
    }
    raw.into_iter()
        .flat_map(|((direction, identity), list)| merge(direction, identity, &list))
        .collect()
}

fn merge(direction: Direction, identity: u32, list: &[Said]) -> Vec<Entry> {
    let distinct: BTreeSet<Prefix> = list.iter().map(|said| said.prefix).collect();
    let strictest = |prefix: Prefix| {
        list.iter()
            .filter(|said| said.prefix.covers(prefix))
            .map(|said| (said.action, std::cmp::Reverse(said.rule)))
            .max()
    };
    distinct
        .into_iter()
        .filter_map(|prefix| {
            let (action, std::cmp::Reverse(rule)) = strictest(prefix)?;
            let Prefix {
                protocol,
                port,
                bits,
            } = prefix;
            let key = Key {
                direction,
                identity,
                protocol,
                port,
                port_bits: bits,
            };
            let match_type = match (identity != 0, protocol != 0) {
                (true, false) => 1,
                (true, true) => 2,
                (false, true) => 3,
                (false, false) => 4,
            };
            Some(Entry {
                key,
                action,
                rule,
                match_type,
            })
        })
        .collect()
}
