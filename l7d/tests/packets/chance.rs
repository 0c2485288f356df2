//! Chance that can be had again.

use std::time::{Duration, Instant};

/// xorshift64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(1);
        usize::try_from((self.number() >> 11) % end).unwrap_or(0)
    }

    pub(crate) fn is_one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.number().to_be_bytes()[2]
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Tests that share the time of a soak.
const SHARERS: u64 = 5;

/// How long drawing goes on: a number of turns, or the time of a soak.
pub(crate) struct Turns {
    seed: u64,
    left: u64,
    deadline: Option<Instant>,
}

impl Turns {
    pub(crate) fn new(turns: u64) -> Self {
        let number = |name| {
            let text = std::env::var(name).ok()?;
            text.parse::<u64>().ok()
        };
        let seconds = number("L7D_SOAK_SECONDS");
        Self {
            seed: number("L7D_SOAK_SEED").unwrap_or(1),
            left: turns,
            deadline: seconds.map(|all| Instant::now() + Duration::from_secs(all / SHARERS)),
        }
    }
}

impl Iterator for Turns {
    type Item = u64;

    /// The seed of the next turn.
    fn next(&mut self) -> Option<u64> {
        self.left = match (self.deadline, self.left) {
            (Some(deadline), _) if Instant::now() >= deadline => return None,
            (Some(_), left) => left,
            (None, 0) => return None,
            (None, left) => left - 1,
        };
        self.seed += 1;
        Some(self.seed)
    }
}
