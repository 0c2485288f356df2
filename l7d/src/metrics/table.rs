//! Series by the values of their labels: looked up without a lock, and changed by copying a small
//! part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::key::Key;

/// Parts that a table is changed by: so many series are copied at once as a part has.
const SHARDS: usize = 256;

/// One series.
#[derive(Debug)]
pub(super) struct Series<V> {
    pub(super) key: Key,
    /// When something was added last, by the monotonic clock.
    touched: AtomicU64,
    pub(super) value: V,
}

impl<V> Series<V> {
    pub(super) fn new(key: &Key, value: V, now: u64) -> Self {
        Self {
            key: key.kept(),
            touched: AtomicU64::new(now),
            value,
        }
    }

    /// Something is being added.
    pub(super) fn touch(&self, now: u64) {
        // Many add within one tick of the clock, and a write would take the line from other cores.
        if self.touched.load(Ordering::Relaxed) != now {
            self.touched.store(now, Ordering::Relaxed);
        }
    }

    fn is_idle(&self, before: u64) -> bool {
        self.touched.load(Ordering::Relaxed) < before
    }
}

/// Series of a part, by the hashes of their keys.
#[derive(Debug)]
pub(super) struct Shard<V>(Vec<(u64, Arc<Series<V>>)>);

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Shard<V> {
    pub(super) fn find(&self, hash: u64, key: &Key) -> Option<&Arc<Series<V>>> {
        let first = self.0.partition_point(|(other, _)| *other < hash);
        let alike = self.0.get(first..)?.iter();
        alike
            .take_while(|(other, _)| *other == hash)
            .map(|(_, series)| series)
            .find(|series| series.key == *key)
    }
}

/// All series of a family. Whoever changes it holds a lock of its own.
#[derive(Debug)]
pub(super) struct Table<V> {
    hasher: ahash::RandomState,
    shards: Box<[ArcSwap<Shard<V>>]>,
    len: AtomicUsize,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            hasher: ahash::RandomState::new(),
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            len: AtomicUsize::new(0),
        }
    }
}

impl<V> Table<V> {
    pub(super) fn hash(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The part that a key of that hash is in.
    pub(super) fn shard(&self, hash: u64) -> Option<Guard<Arc<Shard<V>>>> {
        self.at(hash).map(ArcSwap::load)
    }

    fn at(&self, hash: u64) -> Option<&ArcSwap<Shard<V>>> {
        let shard = usize::try_from(hash % SHARDS as u64).ok()?;
        self.shards.get(shard)
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Adds a series whose key is not there.
    pub(super) fn insert(&self, hash: u64, series: Arc<Series<V>>) {
        let Some(place) = self.at(hash) else { return };
        let mut shard = place.load().0.clone();
        let at = shard.partition_point(|(other, _)| *other < hash);
        shard.insert(at, (hash, series));
        place.store(Arc::new(Shard(shard)));
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes out series that are not wanted; how many those were.
    pub(super) fn remove(&self, is_unwanted: impl Fn(&Series<V>) -> bool) -> usize {
        let mut gone = 0;
        for place in &self.shards {
            let shard = place.load();
            let unwanted = shard.0.iter().filter(|(_, series)| is_unwanted(series));
            let count = unwanted.count();
            if count > 0 {
                let mut kept = shard.0.clone();
                kept.retain(|(_, series)| !is_unwanted(series));
                gone += shard.0.len() - kept.len();
                place.store(Arc::new(Shard(kept)));
            }
        }
        self.len.fetch_sub(gone, Ordering::Relaxed);
        gone
    }

    /// Takes out series to which nothing was added since; how many those were.
    pub(super) fn remove_idle(&self, before: u64) -> usize {
        self.remove(|series| series.is_idle(before))
    }

    /// All series.
    pub(super) fn all(&self) -> Vec<Arc<Series<V>>> {
        let shards = self.shards.iter().map(ArcSwap::load);
        let series = shards.flat_map(|shard| {
            let series = shard.0.iter().map(|(_, series)| Arc::clone(series));
            series.collect::<Vec<_>>()
        });
        series.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: u32) -> Key {
        let mut key = Key::default();
        key.push_shown(value);
        key
    }

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        let table = Table::default();
        for number in 0..5000 {
            let key = key(number);
            let series = Series::new(&key, number, u64::from(number));
            table.insert(table.hash(&key), Arc::new(series));
        }
        let value = |number| {
            let key = key(number);
            let hash = table.hash(&key);
            let shard = table.shard(hash).expect("a part");
            shard.find(hash, &key).map(|series| series.value)
        };
        assert!((0..5000).all(|number| value(number) == Some(number)));
        assert_eq!(value(5000), None);
        assert_eq!(table.remove_idle(2000), 2000);
        assert_eq!((value(1999), value(2000)), (None, Some(2000)));
        assert_eq!((table.len(), table.all().len()), (3000, 3000));
    }

    #[test]
    fn keys_of_one_hash_are_told_apart() {
        let table = Table::default();
        for number in 0..3 {
            table.insert(7, Arc::new(Series::new(&key(number), number, 0)));
        }
        let shard = table.shard(7).expect("a part");
        for number in 0..3 {
            let found = shard.find(7, &key(number)).map(|series| series.value);
            assert_eq!(found, Some(number));
        }
        assert!(shard.find(7, &key(3)).is_none());
    }
}
