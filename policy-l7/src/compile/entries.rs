//! What rules say → entries of the kernel's map.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::peers::Members;
use super::prefixes::Prefix;
use super::set::{PolicySet, Scope};
use super::{Compiled, RuleId};
use crate::rule::Direction;

/// What an entry says; where two match, the greater one decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Pass.
    Allow,
    /// Judge its requests.
    Redirect,
    /// Drop.
    Deny,
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Direction from the endpoint's view.
    pub direction: Direction,
    /// Identity of the other end, 0 for any.
    pub identity: u32,
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Port of the receiver; bits beyond `port_bits` are 0.
    pub port: u16,
    /// Leading bits of the port that count.
    pub port_bits: u8,
}

/// One entry of the kernel's policy map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub key: Key,
    /// What it says.
    pub action: Action,
    /// Which rule made it.
    pub rule: RuleId,
    /// Hubble's match type: 1 L3-only, 2 L3-L4, 3 L4-only, 4 all.
    pub match_type: u8,
}

/// The strictest that is said of a block of ports, and the place of the first rule that says it.
type Said = (Action, Reverse<usize>);
/// By blocks.
type Blocks = BTreeMap<Prefix, Said>;

const DIRECTIONS: [Direction; 2] = [Direction::Egress, Direction::Ingress];

impl Compiled {
    /// All entries of a set, sorted by key. The kernel looks up two keys (the identity, and 0), the
    /// longest (protocol, port) prefix of each, and takes the greater action.
    pub fn entries(&self, set: &PolicySet) -> Vec<Entry> {
        let mut entries = Vec::new();
        for direction in DIRECTIONS {
            let mut by_identity: BTreeMap<u32, Blocks> = BTreeMap::new();
            let scopes = &set.side(direction).scopes;
            for (place, scope) in scopes.iter().enumerate() {
                let peers = scope.peers.map(|peers| self.members().of(peers));
                for identity in peers.unwrap_or(&[0]) {
                    scope.say(place, by_identity.entry(*identity).or_default());
                }
            }
            for (identity, blocks) in by_identity {
                entries.extend(merged(scopes, direction, identity, &blocks));
            }
        }
        entries
    }

    /// The entries of a set about one identity.
    pub fn entries_of(&self, set: &PolicySet, identity: u32) -> Vec<Entry> {
        let members: &Members = self.members();
        let mut entries = Vec::new();
        for direction in DIRECTIONS {
            let mut blocks = Blocks::new();
            let scopes = &set.side(direction).scopes;
            for (place, scope) in scopes.iter().enumerate() {
                if scope
                    .peers
                    .is_some_and(|peers| members.has(peers, identity))
                {
                    scope.say(place, &mut blocks);
                }
            }
            entries.extend(merged(scopes, direction, identity, &blocks));
        }
        entries
    }
}

impl Scope {
    fn say(&self, place: usize, blocks: &mut Blocks) {
        let said = (self.action(), Reverse(place));
        for prefix in self.prefixes.iter() {
            let strictest = blocks.entry(*prefix).or_insert(said);
            *strictest = said.max(*strictest);
        }
    }
}

/// A look-up finds the longest prefix only, so each entry says the strictest of everything that
/// covers it.
fn merged(
    scopes: &[Scope],
    direction: Direction,
    identity: u32,
    blocks: &Blocks,
) -> impl Iterator<Item = Entry> {
    blocks.keys().filter_map(move |prefix| {
        let covering = prefix.covering();
        let said = covering.filter_map(|wider| blocks.get(&wider)).max();
        let (action, Reverse(place)) = *said?;
        let rule = scopes.get(place)?.rule;
        Some(Entry {
            key: Key {
                direction,
                identity,
                protocol: prefix.protocol,
                port: prefix.port,
                port_bits: prefix.bits,
            },
            action,
            rule,
            match_type: match_type(identity != 0, prefix.protocol != 0),
        })
    })
}

/// Hubble's number for how an entry matches.
pub(crate) fn match_type(has_identity: bool, has_protocol: bool) -> u8 {
    match (has_identity, has_protocol) {
        (true, false) => 1,
        (true, true) => 2,
        (false, true) => 3,
        (false, false) => 4,
    }
}
