//! How long to wait before the next attempt.

use std::hash::BuildHasher as _;
use std::time::Duration;

/// Doubling pauses, each with a random part, so that many who lost the same do not come back together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    next: Duration,
    first: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self {
            next: first,
            first,
            most,
        }
    }

    /// It has worked: the next pause is short again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause: from three quarters to five of what it would be without chance.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.most);
        let quarter = pause / 4;
        within(pause.saturating_sub(quarter), pause.saturating_add(quarter))
    }
}

/// Some time between two.
pub(crate) fn within(least: Duration, most: Duration) -> Duration {
    // Keys of the standard library's tables are random, which is all that is needed here.
    let chance = std::hash::RandomState::new().hash_one(most) % 1024;
    let share = u32::try_from(chance).unwrap_or(0);
    least + most.saturating_sub(least).saturating_mul(share) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, second * 8);
        for expected in [1, 2, 4, 8, 8, 8] {
            let pause = backoff.pause();
            let (least, most) = (second * expected * 3 / 4, second * expected * 5 / 4);
            assert!(
                (least..=most).contains(&pause),
                "{pause:?} for {expected} s"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= second * 5 / 4);
    }
}
