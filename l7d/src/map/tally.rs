//! Counts by key, of a bounded number of keys: what comes when it is full is counted as others.

use std::collections::BTreeMap;

/// Counts of up to `MAX` keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally<K: Ord, V, const MAX: usize> {
    counts: BTreeMap<K, V>,
    /// What belongs to keys that found no room.
    pub(super) others: V,
}

impl<K: Ord, V: Default, const MAX: usize> Default for Tally<K, V, MAX> {
    fn default() -> Self {
        Self {
            counts: BTreeMap::new(),
            others: V::default(),
        }
    }
}

impl<K: Ord + Clone, V: Default, const MAX: usize> Tally<K, V, MAX> {
    /// Where this key is counted.
    pub(super) fn of(&mut self, key: &K) -> &mut V {
        let is_known = self.counts.contains_key(key);
        if !is_known && self.counts.len() >= MAX {
            return &mut self.others;
        }
        if !is_known {
            self.counts.insert(key.clone(), V::default());
        }
        // It is there: the way around is for the compiler alone.
        self.counts.get_mut(key).unwrap_or(&mut self.others)
    }

    /// Adds all of `other`.
    pub(super) fn merge(&mut self, other: &Self, add: impl Fn(&mut V, &V)) {
        for (key, value) in &other.counts {
            add(self.of(key), value);
        }
        add(&mut self.others, &other.others);
    }

    /// Keys and counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.counts.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_as_others() {
        let mut tally: Tally<&str, u64, 2> = Tally::default();
        for key in ["a", "b", "c", "a", "d"] {
            *tally.of(&key) += 1;
        }
        assert_eq!(tally.iter().collect::<Vec<_>>(), [(&"a", &2), (&"b", &1)]);
        assert_eq!(tally.others, 2);
        let mut other = Tally::default();
        *other.of(&"e") += 3;
        tally.merge(&other, |held, more| *held += more);
        assert_eq!(tally.others, 5);
    }
}
