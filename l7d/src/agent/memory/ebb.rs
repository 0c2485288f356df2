//! How many connections are open → whether a flood of them has gone. Pure: looks come at a regular pace.
//!
//! What they held is free then, and the allocator keeps it: pieces of it are in use. To give it back takes
//! some milliseconds in which nobody else is given memory, so it waits until the flood does not come back.

/// Fewer than that at their highest hold nothing worth the while.
const MANY: u64 = 500;
/// A flood has gone when no more than this part of it is left.
const LEFT: u64 = 4;
/// For so many looks in a row.
const CALM: u32 = 20;

/// The highest that the flood has stood, and how long it has been gone.
#[derive(Debug, Default)]
pub(super) struct Ebb {
    highest: u64,
    calm: u32,
}

impl Ebb {
    /// So many are open now. True once when a flood has gone.
    pub(super) fn look(&mut self, open: u64) -> bool {
        if open > self.highest {
            self.highest = open;
        }
        if self.highest < MANY || open > self.highest / LEFT {
            self.calm = 0;
            return false;
        }
        self.calm += 1;
        if self.calm < CALM {
            return false;
        }
        *self = Self {
            highest: open,
            calm: 0,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(ebb: &mut Ebb, open: u64, count: u32) -> u32 {
        (0..count).map(|_| u32::from(ebb.look(open))).sum()
    }

    #[test]
    fn a_flood_that_has_gone_is_told_once() {
        let mut ebb = Ebb::default();
        assert_eq!(looks(&mut ebb, 4000, 100), 0, "it stands");
        assert_eq!(looks(&mut ebb, 1001, 100), 0, "more than a quarter is left");
        assert_eq!(looks(&mut ebb, 1000, CALM - 1), 0, "not yet for long");
        assert_eq!(looks(&mut ebb, 1000, 1), 1);
        assert_eq!(looks(&mut ebb, 1000, 100), 0, "these are as usual now");
        assert_eq!(looks(&mut ebb, 250, CALM), 1, "and are gone as well");
        assert_eq!(looks(&mut ebb, 0, 100), 0, "a few are no flood");
    }

    #[test]
    fn a_flood_that_comes_and_goes_has_not_gone() {
        let mut ebb = Ebb::default();
        for _ in 0..100 {
            assert!(!ebb.look(4000));
            assert_eq!(looks(&mut ebb, 0, CALM - 1), 0);
        }
    }
}
