//! How much memory is taken → what is given up. Pure: looks come at a regular pace.
//!
//! One step is given up at each look at which nine tenths of the budget are taken, and one is taken back
//! when for [`CALM`] looks not more than three quarters were: what a step frees is less than what lies
//! between, so that no step is taken back and given up again in turn.

use crate::record::Relief;

/// Looks in a row at which there must be room before a step is taken back.
const CALM: u32 = 10;

/// What is given up now, and how long there has been room.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    relief: Relief,
    calm: u32,
}

impl Pressure {
    /// What is given up.
    pub(super) fn relief(&self) -> Relief {
        self.relief
    }

    /// `used` bytes are taken of a budget, if there is any. The step that holds now, where that is
    /// another one.
    pub(super) fn look(&mut self, used: u64, budget: Option<u64>) -> Option<Relief> {
        let Some(budget) = budget else {
            self.calm = 0;
            let had = std::mem::take(&mut self.relief);
            return (had != Relief::Nothing).then_some(Relief::Nothing);
        };
        if used >= budget / 10 * 9 {
            self.calm = 0;
            return self.step(self.relief.more());
        }
        if used > budget / 4 * 3 {
            self.calm = 0;
            return None;
        }
        self.calm += 1;
        if self.calm < CALM {
            return None;
        }
        self.calm = 0;
        self.step(self.relief.less())
    }

    fn step(&mut self, next: Option<Relief>) -> Option<Relief> {
        self.relief = next?;
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Option<u64> = Some(1000);

    #[test]
    fn each_look_at_a_full_budget_gives_up_one_thing_more() {
        let mut pressure = Pressure::default();
        let steps: Vec<Relief> = (0..6).filter_map(|_| pressure.look(900, BUDGET)).collect();
        assert_eq!(steps, Relief::ALL[1..]);
        assert_eq!(pressure.relief(), Relief::Requests);
    }

    #[test]
    fn steps_are_taken_back_one_by_one_when_there_was_room_for_a_while() {
        let mut pressure = Pressure::default();
        for _ in 0..4 {
            let _step = pressure.look(2000, BUDGET);
        }
        let mut looks = Vec::new();
        for look in 1..=4 * CALM {
            if let Some(step) = pressure.look(750, BUDGET) {
                looks.push((look, step.number()));
            }
        }
        let expected = [(CALM, 3), (2 * CALM, 2), (3 * CALM, 1), (4 * CALM, 0)];
        assert_eq!(looks, expected);
    }

    #[test]
    fn between_the_bounds_everything_stays_as_it_is() {
        let mut pressure = Pressure::default();
        let _step = pressure.look(950, BUDGET);
        for _ in 0..100 {
            assert_eq!(pressure.look(800, BUDGET), None);
        }
        // Room that comes and goes is none.
        for _ in 0..20 {
            for _ in 1..CALM {
                assert_eq!(pressure.look(100, BUDGET), None);
            }
            assert_eq!(pressure.look(751, BUDGET), None);
        }
        assert_eq!(pressure.relief(), Relief::FlowRing);
    }

    #[test]
    fn without_a_budget_nothing_is_given_up() {
        let mut pressure = Pressure::default();
        let _step = pressure.look(950, BUDGET);
        assert_eq!(pressure.look(u64::MAX, None), Some(Relief::Nothing));
        assert_eq!(pressure.look(u64::MAX, None), None);
    }
}
