//! Whether messages come in the same order.

use std::collections::{BTreeMap, HashMap};

use super::compare::{Message, Protocol};

/// Messages that both programs saw and whose place among those of their direction differs: the
/// fewest that must be moved to make both orders one. What is soft has no place.
pub(super) fn moved(truth: &[Message], seen: &[Message]) -> BTreeMap<Protocol, Vec<String>> {
    let mut directions: BTreeMap<&str, (Vec<&Message>, Vec<&str>)> = BTreeMap::new();
    for message in truth.iter().filter(|message| !message.is_soft) {
        let direction = directions.entry(&message.direction).or_default();
        direction.0.push(message);
    }
    for message in seen {
        if let Some(direction) = directions.get_mut(message.direction.as_str()) {
            direction.1.push(&message.whole);
        }
    }
    let mut moved: BTreeMap<Protocol, Vec<String>> = BTreeMap::new();
    for (truth, seen) in directions.values() {
        for message in moved_in(truth, seen) {
            let of = moved.entry(message.protocol).or_default();
            of.push(message.whole.clone());
        }
    }
    moved
}

fn moved_in<'m>(truth: &[&'m Message], seen: &[&str]) -> Vec<&'m Message> {
    let wanted: Vec<&str> = truth.iter().map(|message| &*message.whole).collect();
    let mut unplaced: Vec<&Message> = Vec::new();
    let mut left = HashMap::new();
    for step in steps(&wanted, seen) {
        match step {
            Step::Both => {}
            Step::First(at) => unplaced.extend(truth.get(at)),
            Step::Second(at) => {
                if let Some(whole) = seen.get(at) {
                    *left.entry(*whole).or_insert(0_usize) += 1;
                }
            }
        }
    }
    // What is not there at all is missing, and counted as that.
    unplaced.retain(|message| match left.get_mut(message.whole.as_str()) {
        Some(count @ 1..) => {
            *count -= 1;
            true
        }
        Some(_) | None => false,
    });
    unplaced
}

/// A step through two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next of both is the same.
    Both,
    /// One that only the first list has here.
    First(usize),
    /// One that only the second list has here.
    Second(usize),
}

/// The way through both lists that meets the most common elements.
fn steps(first: &[&str], second: &[&str]) -> Vec<Step> {
    let width = second.len() + 1;
    // Longest common sequence of what follows each pair of places.
    let mut lengths = vec![0_u32; (first.len() + 1) * width];
    let length = |lengths: &[u32], a: usize, b: usize| {
        lengths.get(a * width + b).copied().unwrap_or_default()
    };
    for (a, one) in first.iter().enumerate().rev() {
        for (b, other) in second.iter().enumerate().rev() {
            let longest = if one == other {
                length(&lengths, a + 1, b + 1) + 1
            } else {
                length(&lengths, a + 1, b).max(length(&lengths, a, b + 1))
            };
            if let Some(slot) = lengths.get_mut(a * width + b) {
                *slot = longest;
            }
        }
    }
    let (mut a, mut b) = (0, 0);
    let mut steps = Vec::new();
    loop {
        let step = match (first.get(a), second.get(b)) {
            (None, None) => return steps,
            (Some(one), Some(other)) if one == other => Step::Both,
            (Some(_), None) => Step::First(a),
            (Some(_), Some(_)) if length(&lengths, a + 1, b) >= length(&lengths, a, b + 1) => {
                Step::First(a)
            }
            (None | Some(_), Some(_)) => Step::Second(b),
        };
        a += usize::from(!matches!(step, Step::Second(_)));
        b += usize::from(!matches!(step, Step::First(_)));
        steps.push(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_steps_apart_are_found() {
        use Step::{Both, First, Second};
        assert_eq!(steps(&["a", "b"], &["a", "b"]), [Both, Both]);
        assert_eq!(
            steps(&["a", "b", "c"], &["c", "a", "b"]),
            [Second(0), Both, Both, First(2)]
        );
        assert_eq!(steps(&["a"], &[]), [First(0)]);
    }
}
