//! Values of labels: written into memory that is used again, looked up, and kept once.

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};

/// What labels that may have any value say of everything beyond the bound.
pub(super) const OTHERS: &str = "(others)";

/// Values of labels in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Key {
    text: String,
    /// Where each value ends.
    ends: Vec<u32>,
}

impl Key {
    /// Forgets the values, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Adds a value.
    pub(super) fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.end();
    }

    /// Adds a value that is written piecewise.
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.end();
    }

    /// Adds a value that has a textual form.
    pub(super) fn push_shown(&mut self, value: impl fmt::Display) {
        // Writing to a String cannot fail.
        let _infallible = write!(self.text, "{value}");
        self.end();
    }

    /// Adds bytes that are most probably text.
    pub(super) fn push_bytes(&mut self, value: &[u8]) {
        match std::str::from_utf8(value) {
            Ok(text) => self.push(text),
            Err(_) => self.push(&String::from_utf8_lossy(value)),
        }
    }

    fn end(&mut self) {
        self.ends
            .push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    /// The values in their order.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| {
            let range = *start as usize..*end as usize;
            self.text.get(range).unwrap_or_default()
        })
    }

    /// The same in as little memory as it needs.
    pub(super) fn kept(&self) -> Self {
        let mut kept = self.clone();
        kept.text.shrink_to_fit();
        kept.ends.shrink_to_fit();
        kept
    }

    /// Writes the values of another, those of labels that may have any value folded.
    pub(super) fn fold(&mut self, other: &Self, is_open: impl Fn(usize) -> bool) {
        self.clear();
        for (at, value) in other.values().enumerate() {
            self.push(if is_open(at) { OTHERS } else { value });
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.text.as_bytes());
        self.ends.hash(state);
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.values().cmp(other.values())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_by_where_they_end() {
        let key = |values: &[&str]| {
            let mut key = Key::default();
            for value in values {
                key.push(value);
            }
            key
        };
        assert_eq!(
            key(&["a", "", "bc"]).values().collect::<Vec<_>>(),
            ["a", "", "bc"]
        );
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert!(key(&["a", "b"]) < key(&["ab"]));
        let mut folded = Key::default();
        folded.fold(&key(&["x", "y"]), |at| at == 1);
        assert_eq!(folded, key(&["x", OTHERS]));
    }
}
