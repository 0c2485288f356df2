//! Combinations of values.

use serde_json::{Map, Value};

/// A place among values, and what may stand there.
#[derive(Debug, Clone)]
pub struct Switch {
    path: &'static str,
    choices: Vec<Value>,
}

impl Switch {
    /// `path` is dotted.
    pub fn new(path: &'static str, choices: impl IntoIterator<Item = Value>) -> Self {
        Self {
            path,
            choices: choices.into_iter().collect(),
        }
    }

    /// The same without a choice, where it is this switch's.
    #[must_use]
    pub fn without(mut self, refused: &[(&str, Value)]) -> Self {
        let is_refused = |choice: &Value| {
            let mut refused = refused.iter();
            refused.any(|(path, value)| *path == self.path && value == choice)
        };
        self.choices.retain(|choice| !is_refused(choice));
        self
    }

    /// On and off.
    pub fn boolean(path: &'static str) -> Self {
        Self::new(path, [Value::Bool(true), Value::Bool(false)])
    }
}

/// Values with these choices.
fn values(switches: &[Switch], chosen: &[usize]) -> Value {
    let mut root = Map::new();
    for (switch, chosen) in switches.iter().zip(chosen) {
        let Some(choice) = switch.choices.get(*chosen) else {
            continue;
        };
        let mut at = &mut root;
        let (folders, name) = switch.path.rsplit_once('.').unwrap_or(("", switch.path));
        for folder in folders.split('.').filter(|folder| !folder.is_empty()) {
            let inner = at
                .entry(folder)
                .or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = inner else {
                // A switch of a place within another switch's value.
                return Value::Null;
            };
            at = inner;
        }
        at.insert(name.to_owned(), choice.clone());
    }
    Value::Object(root)
}

/// Every combination.
pub fn every(switches: &[Switch]) -> Vec<Value> {
    let mut chosen = vec![Vec::new()];
    for switch in switches {
        chosen = chosen
            .iter()
            .flat_map(|before: &Vec<usize>| {
                (0..switch.choices.len()).map(|choice| [&before[..], &[choice]].concat())
            })
            .collect();
    }
    chosen
        .iter()
        .map(|chosen| values(switches, chosen))
        .collect()
}

/// A few combinations in which any two choices of different switches meet: what goes wrong by two switches
/// goes wrong in one of them. Greedy: each takes what covers most of the pairs that are left.
pub fn pairwise(switches: &[Switch]) -> Vec<Value> {
    let mut left = pairs(switches);
    let mut all = Vec::new();
    while let Some(first) = left.first().copied() {
        let mut chosen: Vec<Option<usize>> = vec![None; switches.len()];
        for (switch, choice) in first {
            if let Some(place) = chosen.get_mut(switch) {
                *place = Some(choice);
            }
        }
        for (at, switch) in switches.iter().enumerate() {
            if chosen.get(at).copied().flatten().is_some() {
                continue;
            }
            let gain = |choice: usize| {
                let covers = |pair: &&[(usize, usize); 2]| is_covered(pair, &chosen, (at, choice));
                left.iter().filter(covers).count()
            };
            let best = (0..switch.choices.len()).max_by_key(|choice| gain(*choice));
            if let Some(place) = chosen.get_mut(at) {
                *place = best;
            }
        }
        let chosen: Vec<usize> = chosen.into_iter().flatten().collect();
        left.retain(|pair| {
            let is_met = |(at, choice): &(usize, usize)| chosen.get(*at) == Some(choice);
            !pair.iter().all(is_met)
        });
        all.push(values(switches, &chosen));
    }
    all
}

fn pairs(switches: &[Switch]) -> Vec<[(usize, usize); 2]> {
    let mut pairs = Vec::new();
    for (one, first) in switches.iter().enumerate() {
        for (other, second) in switches.iter().enumerate().skip(one + 1) {
            for a in 0..first.choices.len() {
                pairs.extend((0..second.choices.len()).map(|b| [(one, a), (other, b)]));
            }
        }
    }
    pairs
}

/// Whether `fresh` is one of the pair and the other one is chosen already.
fn is_covered(pair: &[(usize, usize); 2], chosen: &[Option<usize>], fresh: (usize, usize)) -> bool {
    let [one, other] = pair;
    let is_chosen = |(at, choice): &(usize, usize)| chosen.get(*at) == Some(&Some(*choice));
    (*one == fresh && is_chosen(other)) || (*other == fresh && is_chosen(one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_two_choices_meet() {
        let switches = [
            Switch::boolean("a.on"),
            Switch::boolean("a.b.on"),
            Switch::new("c", [json!("x"), json!("y"), json!("z")]),
            Switch::boolean("d"),
        ];
        let few = pairwise(&switches);
        assert_eq!(every(&switches).len(), 24);
        assert!(few.len() < 12, "{}", few.len());
        let places = ["/a/on", "/a/b/on", "/c", "/d"];
        let pairs = pairs(&switches);
        assert_eq!(pairs.len(), 4 + 6 + 4 + 6 + 4 + 6);
        for pair in pairs {
            let has = |values: &Value, (at, choice): (usize, usize)| {
                values.pointer(places[at]) == Some(&switches[at].choices[choice])
            };
            let meet = |values: &Value| pair.iter().all(|one| has(values, *one));
            assert!(few.iter().any(meet), "{pair:?}");
        }
    }
}
