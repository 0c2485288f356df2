//! Bytes → choices. Where the bytes end every choice is the first one, so that a shorter input makes
//! a simpler thing.

/// Makes choices.
#[derive(Debug, Clone)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Chooses by these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A number below `count`, which is 256 at most.
    pub fn below(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first) % count.max(1)
    }

    /// Whether something is so; seldom it is in one of `seldom` cases.
    pub fn is(&mut self, seldom: usize) -> bool {
        self.below(seldom) == seldom.saturating_sub(1)
    }

    /// One of these.
    pub fn one<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.below(items.len()))
    }

    /// One of these texts.
    pub fn text(&mut self, items: &[&str]) -> String {
        self.one(items).copied().unwrap_or_default().to_owned()
    }

    /// From `least` to `most` things.
    pub fn some<T>(
        &mut self,
        least: usize,
        most: usize,
        mut make: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| make(self)).collect()
    }

    /// Perhaps a thing.
    pub fn perhaps<T>(&mut self, seldom: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.is(seldom).then(|| make(self))
    }
}
