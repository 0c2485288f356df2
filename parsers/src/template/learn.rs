//! Which words are ids after all: a place with very many different ones under one parent.

use std::collections::BTreeMap;

use super::{Kind, Part};

/// So many different words in one place are words; more are ids.
const WORDS_MAX: usize = 64;
/// Most places that are remembered.
const PLACES_MAX: usize = 1 << 15;

/// Paths of one server, as a tree of their templates' segments.
///
/// The templates that come out depend on the set of paths alone, not on their order, as long as the
/// tree is not [full](Self::is_full).
#[derive(Debug)]
pub struct Learner {
    places: Vec<Place>,
    words_max: usize,
    places_max: usize,
    is_full: bool,
}

/// What follows a beginning of paths.
#[derive(Debug, Default)]
struct Place {
    words: BTreeMap<Box<str>, usize>,
    /// Segments that are no words.
    others: BTreeMap<Other, usize>,
    /// What follows any of the words, since there are too many.
    any: Option<usize>,
}

/// A segment that stays as it is, however many there are.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Other {
    Given(Box<str>),
    Id(Kind, Box<str>),
    Name(Box<str>),
}

impl Other {
    fn of(part: Part<'_>) -> Option<Self> {
        match part {
            Part::Given(segment) => Some(Self::Given(Box::from(segment.as_str()))),
            Part::Id { kind, suffix } => Some(Self::Id(kind, Box::from(suffix))),
            Part::Name(name) => Some(Self::Name(Box::from(name))),
            Part::Rest | Part::Word(_) => None,
        }
    }
}

impl Default for Learner {
    fn default() -> Self {
        Self::new(WORDS_MAX, PLACES_MAX)
    }
}

impl Learner {
    /// Nothing is known yet. More than `words_max` different words in one place are ids; at most
    /// `places_max` places are remembered.
    pub fn new(words_max: usize, places_max: usize) -> Self {
        Self {
            places: vec![Place::default()],
            words_max,
            places_max,
            is_full: false,
        }
    }

    /// Whether some path found no room; then templates may depend on the order.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Takes the segments of a path's template.
    #[expect(
        single_use_lifetimes,
        reason = "anonymous lifetimes in impl Trait are unstable"
    )]
    pub fn learn<'p>(&mut self, parts: impl Iterator<Item = Part<'p>>) {
        let mut at = 0;
        for part in parts {
            if part == Part::Rest {
                return;
            }
            match self.step(at, part) {
                Some((next, _)) => at = next,
                None => match self.add(at, part) {
                    Some(next) => at = next,
                    None => return,
                },
            }
        }
    }

    /// The segments as they are known now: words where there are too many are values, and what found
    /// no room is the rest.
    pub fn parts<'p>(&self, parts: impl Iterator<Item = Part<'p>>) -> Vec<Part<'p>> {
        let mut at = 0;
        let mut known = Vec::new();
        for part in parts {
            if let Some((next, part)) = self.step(at, part) {
                known.push(part);
                at = next;
            } else {
                known.push(Part::Rest);
                break;
            }
        }
        known
    }

    /// The template of a path as it is known now.
    #[expect(
        single_use_lifetimes,
        reason = "anonymous lifetimes in impl Trait are unstable"
    )]
    pub fn fold<'p>(&self, parts: impl Iterator<Item = Part<'p>>) -> String {
        super::text(self.parts(parts).into_iter())
    }

    fn step<'p>(&self, at: usize, part: Part<'p>) -> Option<(usize, Part<'p>)> {
        let place = self.places.get(at)?;
        match part {
            Part::Word(word) => match place.any {
                Some(any) if !word.is_empty() => {
                    let value = Part::Id {
                        kind: Kind::Value,
                        suffix: "",
                    };
                    Some((any, value))
                }
                _ => place.words.get(word).map(|next| (*next, part)),
            },
            Part::Given(_) | Part::Id { .. } | Part::Name(_) | Part::Rest => {
                let next = place.others.get(&Other::of(part)?)?;
                Some((*next, part))
            }
        }
    }

    fn add(&mut self, at: usize, part: Part<'_>) -> Option<usize> {
        if self.places.len() >= self.places_max {
            self.is_full = true;
            return None;
        }
        let next = self.places.len();
        self.places.push(Place::default());
        let place = self.places.get_mut(at)?;
        match part {
            Part::Word(word) => {
                place.words.insert(Box::from(word), next);
                // The empty word is the end of a path that ends in a slash: no id.
                let words = place.words.len() - usize::from(place.words.contains_key(""));
                if words > self.words_max {
                    return self.give_up_words(at);
                }
            }
            Part::Given(_) | Part::Id { .. } | Part::Name(_) | Part::Rest => {
                place.others.insert(Other::of(part)?, next);
            }
        }
        Some(next)
    }

    /// Joins what follows all words of a place; where that goes on.
    fn give_up_words(&mut self, at: usize) -> Option<usize> {
        let place = self.places.get_mut(at)?;
        let mut words = std::mem::take(&mut place.words);
        let end = words.remove_entry("");
        place.words.extend(end);
        let mut followers = words.into_values();
        let into = match place.any {
            Some(any) => any,
            None => followers.next()?,
        };
        place.any = Some(into);
        for follower in followers {
            self.join(into, follower);
        }
        Some(into)
    }

    /// Gives `into` what follows `from`. Deep trees cannot come: a template has few segments.
    fn join(&mut self, into: usize, from: usize) {
        let Some(from) = self.places.get_mut(from).map(std::mem::take) else {
            return;
        };
        for (word, follower) in from.words {
            let Some(place) = self.places.get_mut(into) else {
                return;
            };
            match place.any {
                Some(any) if !word.is_empty() => self.join(any, follower),
                _ => match place.words.get(&word).copied() {
                    Some(same) => self.join(same, follower),
                    None => {
                        place.words.insert(word, follower);
                    }
                },
            }
        }
        for (other, follower) in from.others {
            let Some(place) = self.places.get_mut(into) else {
                return;
            };
            match place.others.get(&other).copied() {
                Some(same) => self.join(same, follower),
                None => {
                    place.others.insert(other, follower);
                }
            }
        }
        if let Some(follower) = from.any {
            self.join_any(into, follower);
        }
        let words = self.places.get(into).map_or(0, |place| {
            place.words.len() - usize::from(place.words.contains_key(""))
        });
        if words > self.words_max {
            self.give_up_words(into);
        }
    }

    /// The same where `into` now takes any word.
    fn join_any(&mut self, into: usize, follower: usize) {
        let Some(place) = self.places.get_mut(into) else {
            return;
        };
        if let Some(any) = place.any {
            self.join(any, follower);
        } else {
            place.any = Some(follower);
            self.give_up_words(into);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parts;
    use super::*;

    fn learnt(paths: &[String], words_max: usize) -> Vec<String> {
        let mut learner = Learner::new(words_max, PLACES_MAX);
        for path in paths {
            learner.learn(parts(path));
        }
        let mut folded: Vec<String> = paths.iter().map(|path| learner.fold(parts(path))).collect();
        folded.sort();
        folded.dedup();
        folded
    }

    #[test]
    fn a_place_with_very_many_words_folds() {
        let letter = |n: u8| char::from(b'a' + n % 26);
        let mut paths: Vec<String> = (0..100)
            .map(|n| format!("/shops/shop-{}{}/items", letter(n / 26), letter(n)))
            .collect();
        assert_eq!(learnt(&paths, 100).len(), 100);
        paths.push("/shops/other/items/7".to_owned());
        paths.push("/health".to_owned());
        let methods = (0..100).map(|n| format!("/shop.v1.Cart/Do{}{}", letter(n / 26), letter(n)));
        paths.extend(methods);
        let folded = learnt(&paths, 64);
        assert_eq!(folded.len(), 103);
        assert!(folded.iter().all(|path| {
            path.starts_with("/shop.v1.Cart/Do")
                || [
                    "/health",
                    "/shops/{value}/items",
                    "/shops/{value}/items/{id}",
                ]
                .contains(&path.as_str())
        }));
    }

    #[test]
    fn memory_is_bounded_and_what_has_no_room_is_the_rest() {
        let mut learner = Learner::new(4, 4);
        learner.learn(parts("/a/b"));
        learner.learn(parts("/c/d/e"));
        assert!(learner.is_full());
        assert_eq!(learner.fold(parts("/a/b")), "/a/b");
        assert_eq!(learner.fold(parts("/c/d/e")), "/{rest}");
    }

    proptest! {
        #[test]
        fn the_order_of_paths_does_not_matter(
            paths in proptest::collection::vec("(/[a-e]{1,2}|/[0-9]){1,4}/?", 1..60)
                .prop_flat_map(|paths| (Just(paths.clone()), Just(paths).prop_shuffle())),
            words_max in 1_usize..8,
        ) {
            let (one, other) = paths;
            prop_assert_eq!(learnt(&one, words_max), learnt(&other, words_max));
        }
    }
}
