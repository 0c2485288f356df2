//! What is different from an earlier map: after a release, during an incident.

use serde::{Deserialize, Serialize};

use super::form::drawing::Changes;
use super::form::words;
use super::overview::{EdgeFigures, NodeFigures, Overview, State, float};

/// A p99 is worse if it is so much longer, and by so many microseconds at least.
const SLOWER: f64 = 1.5;
const SLOWER_US: u64 = 1000;
/// Failures are more if they are so many in a hundred more.
const MORE_PERCENT: f64 = 1.0;
/// Answers that a p99 is compared of.
const ENOUGH: u64 = 20;

/// What became of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It fails more, or is slower.
    Worse,
    /// It was not there before.
    Added,
    /// It is not there any more.
    Gone,
    /// It fails less, or is faster.
    Better,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// What became of it.
    pub change: Change,
    /// Who asks.
    pub client: String,
    /// Who is asked.
    pub server: String,
    /// What is different, in words.
    pub notes: Vec<String>,
    /// Figures of before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<EdgeFigures>,
    /// Figures of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<EdgeFigures>,
}

/// All differences, those that matter most first.
pub fn differences(before: &Overview, after: &Overview) -> Vec<Difference> {
    let find = |map: &Overview, edge: &EdgeFigures| {
        let same = |one: &&EdgeFigures| one.client == edge.client && one.server == edge.server;
        map.edges.iter().find(same).cloned()
    };
    let mut differences: Vec<Difference> = after
        .edges
        .iter()
        .filter_map(|now| match find(before, now) {
            None => Some(Difference::of(
                Change::Added,
                vec![summary(now, after.seconds)],
                (None, Some(now.clone())),
            )),
            Some(then) => compared(&then, now),
        })
        .collect();
    let gone = before
        .edges
        .iter()
        .filter(|then| find(after, then).is_none());
    differences.extend(gone.map(|then| {
        let notes = vec![format!("before: {}", summary(then, before.seconds))];
        Difference::of(Change::Gone, notes, (Some(then.clone()), None))
    }));
    let key = |one: &Difference| (one.change, one.client.clone(), one.server.clone());
    differences.sort_by_key(key);
    differences
}

/// The map of now with what is gone, and how both are to be drawn.
pub fn union(
    before: &Overview,
    after: &Overview,
    differences: &[Difference],
) -> (Overview, Changes) {
    let mut union = after.clone();
    for difference in differences {
        if let (Change::Gone, Some(edge)) = (difference.change, &difference.before) {
            union.edges.push(EdgeFigures {
                state: State::Good,
                ..edge.clone()
            });
        }
    }
    let is_known = |nodes: &[NodeFigures], id: &str| nodes.iter().any(|node| node.id == id);
    for node in &before.nodes {
        let is_used = |edge: &EdgeFigures| edge.client == node.id || edge.server == node.id;
        if !is_known(&union.nodes, &node.id) && union.edges.iter().any(is_used) {
            union.nodes.push(NodeFigures {
                state: State::Good,
                ..node.clone()
            });
        }
    }
    union
        .nodes
        .sort_by(|a, b| (&a.namespace, &a.name, &a.id).cmp(&(&b.namespace, &b.name, &b.id)));
    let changes = differences.iter().map(|one| {
        let pair = (one.client.clone(), one.server.clone());
        (pair, one.change)
    });
    (union, changes.collect())
}

impl Difference {
    fn of(
        change: Change,
        notes: Vec<String>,
        (before, after): (Option<EdgeFigures>, Option<EdgeFigures>),
    ) -> Self {
        let edge = after.as_ref().or(before.as_ref());
        let of = |end: fn(&EdgeFigures) -> &String| edge.map(end).cloned().unwrap_or_default();
        Self {
            change,
            client: of(|edge| &edge.client),
            server: of(|edge| &edge.server),
            notes,
            before,
            after,
        }
    }
}

fn summary(edge: &EdgeFigures, seconds: f64) -> String {
    let parts = [words::headline(edge, seconds), words::trouble(edge)];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

fn compared(then: &EdgeFigures, now: &EdgeFigures) -> Option<Difference> {
    let mut worse = Vec::new();
    let mut better = Vec::new();
    let (was, is) = (then.failed_percent, now.failed_percent);
    let failures = || format!("failures {} → {}", words::percent(was), words::percent(is));
    if is >= was + MORE_PERCENT || (now.is_cut && !then.is_cut) {
        worse.push(failures());
    } else if was >= is + MORE_PERCENT {
        better.push(failures());
    }
    let is_known = |reason: &&super::overview::ReasonFigures| {
        then.reasons
            .iter()
            .any(|one| one.text == reason.text && one.by == reason.by)
    };
    for reason in now.reasons.iter().filter(|reason| !is_known(reason)) {
        let by = match reason.by.as_str() {
            "" => String::new(),
            by => format!(" by {by}"),
        };
        worse.push(format!(
            "new: {} × {}{by}",
            words::whole(reason.count),
            reason.text
        ));
    }
    let is_enough = then.load.count >= ENOUGH && now.load.count >= ENOUGH;
    if let (true, Some(was), Some(is)) = (is_enough, then.p99_us, now.p99_us) {
        let note = || format!("p99 {} → {}", words::lapse(was), words::lapse(is));
        if float(is) >= float(was) * SLOWER && is >= was + SLOWER_US {
            worse.push(note());
        } else if float(was) >= float(is) * SLOWER && was >= is + SLOWER_US {
            better.push(note());
        }
    }
    let (change, notes) = match (worse.is_empty(), better.is_empty()) {
        (false, _) => (Change::Worse, worse),
        (true, false) => (Change::Better, better),
        (true, true) => return None,
    };
    Some(Difference::of(
        change,
        notes,
        (Some(then.clone()), Some(now.clone())),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::graph::tests::{answer, sighting};
    use crate::map::{Fault, Graph, Outcome, Reason, What};

    fn failed() -> What {
        What::Answer {
            operation: "GET /".to_owned(),
            latency_ns: 1_000_000,
            outcome: Outcome::Failed(Reason {
                fault: Fault::Error,
                text: "HTTP 503".to_owned(),
                by: String::new(),
            }),
        }
    }

    fn map(seen: &[(&str, &str, What)]) -> Overview {
        let mut graph = Graph::new();
        for (client, server, what) in seen {
            graph.add(&sighting(client, server, what.clone()));
        }
        Overview::new(&graph, Some(60.0))
    }

    fn told(before: &Overview, after: &Overview) -> Vec<(Change, String, String)> {
        let told = differences(before, after).into_iter();
        told.map(|one| (one.change, one.server, one.notes.join("; ")))
            .collect()
    }

    #[test]
    fn the_same_is_no_difference() {
        let one = map(&[("a/web", "a/cart", answer(1))]);
        assert_eq!(told(&one, &one), []);
    }

    #[test]
    fn what_is_new_gone_or_worse_is_told_the_worst_first() {
        let before = map(&[
            ("a/web", "a/cart", answer(1)),
            ("a/web", "a/old", answer(1)),
        ]);
        let after = map(&[("a/web", "a/cart", failed()), ("a/web", "a/pay", answer(1))]);
        let told = told(&before, &after);
        let changes: Vec<Change> = told.iter().map(|one| one.0).collect();
        assert_eq!(changes, [Change::Worse, Change::Added, Change::Gone]);
        assert_eq!(told[0].2, "failures 0 % → 100 %; new: 1 × HTTP 503");
        let differences = differences(&before, &after);
        let (union, changes) = union(&before, &after, &differences);
        assert_eq!(
            (union.edges.len(), union.nodes.len(), changes.len()),
            (3, 4, 3)
        );
    }

    #[test]
    fn a_p99_is_compared_where_it_is_of_enough_answers() {
        let of = |latency: u64, count: usize| {
            let seen: Vec<_> = (0..count)
                .map(|_| ("a/web", "a/cart", answer(latency)))
                .collect();
            map(&seen)
        };
        assert_eq!(told(&of(2, 5), &of(40, 5)), []);
        let slower = told(&of(2, 50), &of(40, 50));
        assert_eq!(slower[0].0, Change::Worse);
        assert!(slower[0].2.starts_with("p99 2"), "{slower:?}");
        assert_eq!(told(&of(40, 50), &of(2, 50))[0].0, Change::Better);
    }
}
