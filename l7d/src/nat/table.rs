//! What is known of translations: by what a record says of its connection, the translation.
//!
//! Two generations of entries; when the young one is full the old one goes. Readers share a lock of
//! one part in sixteen, held for one look-up.

use std::net::SocketAddr;
use std::sync::Arc;

use ahash::{AHashMap, RandomState};
use parking_lot::RwLock;

use crate::clock::Monotonic;
use crate::record::Translation;

/// Entries of a generation; there are two. An entry is 104 bytes.
const ENTRIES: usize = 1 << 14;
const SHARDS: usize = 16;
/// What netfilter said holds for so long: behind it a datagram's client may have got another backend.
const KNOWN_NS: u64 = 30_000_000_000;
/// And so long where it knew nothing: a SYN that comes again may get through.
const UNKNOWN_NS: u64 = 1_000_000_000;

/// On which side of netfilter a connection is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// As its client addresses it.
    Front,
    /// As its server sees it.
    Behind,
}

/// A connection as it is seen on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) protocol: u8,
    pub(super) side: Side,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

/// What is known.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// This; `None` where nothing is translated, or netfilter knows nothing.
    Known(Option<Arc<Translation>>),
    /// Somebody has asked.
    Asked,
    /// Nothing, or nothing of this connection.
    Nothing,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Number of the connection that it was asked for, 0 where that had none.
    connection: u64,
    at: Monotonic,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// With what was known of the same connection before.
    Asked(Option<Arc<Translation>>),
    Known(Option<Arc<Translation>>),
    Unknown,
}

#[derive(Debug, Default)]
struct Shard {
    young: AHashMap<Key, Entry>,
    old: AHashMap<Key, Entry>,
}

/// Translations by what is seen of their connections.
#[derive(Debug)]
pub(super) struct Table {
    hasher: RandomState,
    shards: [RwLock<Shard>; SHARDS],
    entries: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self::with_entries(ENTRIES)
    }
}

impl Table {
    fn with_entries(entries: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| RwLock::default()),
            entries: entries / SHARDS,
        }
    }

    /// What is known of a connection; `connection` is its number, 0 where it has none.
    pub(super) fn look_up(&self, key: &Key, connection: u64, now: Monotonic) -> Found {
        let Some(shard) = self.shard(key) else {
            return Found::Nothing;
        };
        let shard = shard.read();
        let entry = shard.find(key);
        let Some(entry) = entry.filter(|entry| entry.is_about(connection)) else {
            return Found::Nothing;
        };
        let age = now.nanos_since(entry.at);
        match &entry.state {
            State::Asked(_) if age < UNKNOWN_NS => Found::Asked,
            State::Known(translation) if age < KNOWN_NS => Found::Known(translation.clone()),
            State::Unknown if age < UNKNOWN_NS => Found::Known(None),
            State::Asked(_) | State::Known(_) | State::Unknown => Found::Nothing,
        }
    }

    /// Notes that somebody asks.
    pub(super) fn ask(&self, key: &Key, connection: u64, now: Monotonic) {
        self.change(key, |former| {
            let former = former.filter(|former| former.is_about(connection));
            let former = former.and_then(|former| match &former.state {
                State::Asked(known) | State::Known(known) => known.clone(),
                State::Unknown => None,
            });
            Entry {
                connection,
                at: now,
                state: State::Asked(former),
            }
        });
    }

    /// Notes what netfilter has said.
    pub(super) fn know(
        &self,
        key: &Key,
        connection: u64,
        now: Monotonic,
        translation: Option<Arc<Translation>>,
    ) {
        self.change(key, |_| Entry {
            connection,
            at: now,
            state: State::Known(translation),
        });
    }

    /// Notes that netfilter knows nothing; what it once knew of the same connection still holds.
    pub(super) fn give_up(
        &self,
        key: &Key,
        connection: u64,
        now: Monotonic,
    ) -> Option<Arc<Translation>> {
        let mut kept = None;
        self.change(key, |former| {
            let former = former.filter(|former| former.is_about(connection));
            kept = former.and_then(|former| match &former.state {
                State::Asked(known) | State::Known(known) => known.clone(),
                State::Unknown => None,
            });
            Entry {
                connection,
                at: now,
                state: match &kept {
                    Some(known) => State::Known(Some(Arc::clone(known))),
                    None => State::Unknown,
                },
            }
        });
        kept
    }

    fn change(&self, key: &Key, fresh: impl FnOnce(Option<&Entry>) -> Entry) {
        let Some(shard) = self.shard(key) else {
            return;
        };
        let mut shard = shard.write();
        let entry = fresh(shard.find(key));
        if shard.young.len() >= self.entries && !shard.young.contains_key(key) {
            let shard = &mut *shard;
            std::mem::swap(&mut shard.young, &mut shard.old);
            shard.young.clear();
        }
        shard.young.insert(*key, entry);
    }

    fn shard(&self, key: &Key) -> Option<&RwLock<Shard>> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 48).ok()?;
        self.shards.get(hash % SHARDS)
    }
}

impl Shard {
    fn find(&self, key: &Key) -> Option<&Entry> {
        self.young.get(key).or_else(|| self.old.get(key))
    }
}

impl Entry {
    /// Whether it was said of this connection, not of a former one with the same addresses. Who has no
    /// number may be it. What was learnt from the other side has none either; it is about connections
    /// that had begun by then, which their numbers tell: all but the lowest byte is the time.
    fn is_about(&self, connection: u64) -> bool {
        match (self.connection, connection) {
            (_, 0) => true,
            (0, began) => began & !0xff <= self.at.0,
            (known, asked) => known == asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{IdentityNumber, Party};

    fn key(port: u16) -> Key {
        Key {
            protocol: 6,
            side: Side::Front,
            client: ([10, 0, 0, 1], port).into(),
            server: ([10, 96, 0, 1], 80).into(),
        }
    }

    fn translation() -> Arc<Translation> {
        let party = |port| Party::unnamed(([10, 0, 0, 1], port).into(), IdentityNumber(300));
        Arc::new(Translation {
            source: party(1),
            source_after: party(1).addr,
            destination: party(2),
            destination_after: party(3),
        })
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    #[test]
    fn what_was_said_of_one_connection_is_not_said_of_the_next() {
        let table = Table::default();
        table.know(&key(1), 7, at(1), Some(translation()));
        assert!(matches!(
            table.look_up(&key(1), 7, at(2)),
            Found::Known(Some(_))
        ));
        assert!(matches!(
            table.look_up(&key(1), 0, at(2)),
            Found::Known(Some(_))
        ));
        assert!(matches!(table.look_up(&key(1), 8, at(2)), Found::Nothing));
        assert!(matches!(table.look_up(&key(2), 7, at(2)), Found::Nothing));
    }

    #[test]
    fn what_the_other_side_told_is_about_connections_that_had_begun() {
        let table = Table::default();
        table.know(&key(1), 0, at(5), Some(translation()));
        let found = |began: u64| table.look_up(&key(1), at(began).0, at(6));
        assert!(matches!(found(4), Found::Known(Some(_))));
        assert!(matches!(found(6), Found::Nothing));
    }

    #[test]
    fn what_was_said_ages_and_stands_until_something_else_is() {
        let table = Table::default();
        table.know(&key(1), 7, at(1), Some(translation()));
        assert!(matches!(table.look_up(&key(1), 7, at(32)), Found::Nothing));
        table.ask(&key(1), 7, at(32));
        assert!(matches!(table.look_up(&key(1), 7, at(32)), Found::Asked));
        assert!(table.give_up(&key(1), 7, at(32)).is_some());
        assert!(matches!(
            table.look_up(&key(1), 7, at(33)),
            Found::Known(Some(_))
        ));
        table.ask(&key(1), 8, at(33));
        assert!(
            table.give_up(&key(1), 8, at(33)).is_none(),
            "of another connection"
        );
        assert!(matches!(
            table.look_up(&key(1), 8, at(33)),
            Found::Known(None)
        ));
        assert!(matches!(table.look_up(&key(1), 8, at(35)), Found::Nothing));
    }

    #[test]
    fn the_oldest_entries_give_way() {
        let table = Table::with_entries(64 * SHARDS);
        for port in 0..u16::MAX {
            table.know(&key(port), 1, at(1), None);
        }
        let known = (0..u16::MAX)
            .filter(|port| matches!(table.look_up(&key(*port), 1, at(1)), Found::Known(_)));
        let known = known.count();
        assert!((64 * SHARDS..=2 * 64 * SHARDS).contains(&known), "{known}");
        assert!(matches!(
            table.look_up(&key(u16::MAX - 1), 1, at(1)),
            Found::Known(_)
        ));
    }
}
