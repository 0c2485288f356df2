//! Who writes what, and when: every agent of the cluster has the same to say, and one of them shall.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::condition::Condition;
use super::seen::Said;
use crate::host::cluster::{Kind, Name, Outcome, Outcomes};

/// Behind a write about an object it is left alone for so long, and twice as long behind each further one:
/// whoever says something else again and again is not argued with.
const REST: Duration = Duration::from_mins(1);
const REST_MAX: Duration = Duration::from_hours(1);

/// Which policy.
pub(super) type Key = (Kind, Name);

/// Something to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) condition: Condition,
    /// What the object says so far.
    pub(super) former: Option<Condition>,
}

/// What is to be said about policies.
#[derive(Debug, Default)]
pub(super) struct Plan {
    entries: BTreeMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    uid: String,
    generation: i64,
    wanted: Condition,
    /// When it is our turn.
    due: Option<Instant>,
    writes: u32,
    not_before: Option<Instant>,
    /// Told by an Event of which nobody can see whether it is there.
    is_told: bool,
}

/// Whether an object has a status.
pub(crate) fn has_status(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CiliumNetworkPolicy | Kind::CiliumClusterwideNetworkPolicy
    )
}

impl Entry {
    fn new(uid: &str, generation: i64, wanted: Condition) -> Self {
        Self {
            uid: uid.to_owned(),
            generation,
            wanted,
            due: None,
            writes: 0,
            not_before: None,
            is_told: false,
        }
    }

    /// Whether there is something to write to an object that says this.
    fn is_lacking(&self, kind: Kind, said: Option<&Said>) -> bool {
        if !has_status(kind) {
            return self.wanted.is_event().is_some() && !self.is_told;
        }
        // What is not known, or is another object, is not written to.
        let said = said.filter(|said| said.uid == self.uid);
        let says = |said: &Said| {
            said.condition
                .as_ref()
                .is_some_and(|is| is.says(&self.wanted))
        };
        said.is_some_and(|said| !says(said))
    }
}

impl Plan {
    /// Takes over what became of policies. What is to be said is due after a time that `wait` gives.
    pub(super) fn update(
        &mut self,
        outcomes: &Outcomes,
        said: impl Fn(&Key) -> Option<Said>,
        now: Instant,
        mut wait: impl FnMut(&Outcome) -> Duration,
    ) {
        self.entries.retain(|key, _| outcomes.contains_key(key));
        for (key, (uid, generation, outcome)) in outcomes {
            if key.0 == Kind::CiliumCidrGroup {
                continue;
            }
            let wanted = Condition::of(outcome, *generation);
            let entry = self.entries.entry(key.clone());
            let entry = entry.or_insert_with(|| Entry::new(uid, *generation, wanted.clone()));
            if entry.uid != *uid || entry.generation != *generation {
                *entry = Entry::new(uid, *generation, wanted);
            } else if entry.wanted != wanted {
                entry.wanted = wanted;
                entry.is_told = false;
                entry.due = None;
            }
            if !entry.is_lacking(key.0, said(key).as_ref()) {
                entry.due = None;
            } else if entry.due.is_none() {
                let due = now + wait(outcome);
                entry.due = Some(entry.not_before.map_or(due, |rested| rested.max(due)));
            }
        }
    }

    /// When something is to be written next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// Something to write, if it is time; as long as it has not been said by somebody else.
    pub(super) fn take_due(
        &mut self,
        said: impl Fn(&Key) -> Option<Said>,
        now: Instant,
    ) -> Option<Job> {
        for (key, entry) in &mut self.entries {
            if entry.due.is_none_or(|due| due > now) {
                continue;
            }
            entry.due = None;
            let said = said(key);
            if !entry.is_lacking(key.0, said.as_ref()) {
                continue;
            }
            entry.writes += 1;
            entry.is_told = true;
            let rest = REST.saturating_mul(1 << (entry.writes - 1).min(10));
            entry.not_before = Some(now + rest.min(REST_MAX));
            return Some(Job {
                key: key.clone(),
                uid: entry.uid.clone(),
                generation: entry.generation,
                condition: entry.wanted.clone(),
                former: said.and_then(|said| said.condition),
            });
        }
        None
    }

    /// A write has failed: it is tried again, behind the pause that each write has.
    pub(super) fn failed(&mut self, job: &Job) {
        if let Some(entry) = self.entries.get_mut(&job.key) {
            entry.is_told = false;
            entry.due = entry.not_before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(3);

    fn outcomes(kind: Kind, generation: i64, outcome: Outcome) -> Outcomes {
        let about = ("u".to_owned(), generation, outcome);
        [((kind, Name::new("shop", "web")), about)].into()
    }

    fn said(condition: Option<Condition>) -> impl Fn(&Key) -> Option<Said> {
        move |_| {
            Some(Said {
                uid: "u".to_owned(),
                condition: condition.clone(),
            })
        }
    }

    fn jobs(
        plan: &mut Plan,
        outcomes: &Outcomes,
        condition: Option<&Condition>,
        at: Instant,
    ) -> usize {
        plan.update(outcomes, said(condition.cloned()), at, |_| WAIT);
        usize::from(plan.take_due(said(condition.cloned()), at).is_some())
    }

    #[test]
    fn what_somebody_else_has_written_is_not_written_again() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let accepted = outcomes(Kind::CiliumNetworkPolicy, 1, Outcome::Accepted);
        assert_eq!(jobs(&mut plan, &accepted, None, now), 0, "somebody may");
        assert_eq!(plan.next_due(), Some(now + WAIT));
        let condition = Condition::of(&Outcome::Accepted, 1);
        assert_eq!(jobs(&mut plan, &accepted, Some(&condition), now + WAIT), 0);
        assert_eq!(plan.next_due(), None);
        // It is told of while ours is due.
        plan.update(&accepted, said(None), now, |_| WAIT);
        assert_eq!(plan.take_due(said(Some(condition)), now + WAIT), None);
    }

    #[test]
    fn whoever_says_something_else_is_argued_with_less_and_less() {
        let mut plan = Plan::default();
        let accepted = outcomes(Kind::CiliumNetworkPolicy, 1, Outcome::Accepted);
        let other = Condition::of(&Outcome::SelectsNothing, 1);
        let begin = Instant::now();
        let writes = |plan: &mut Plan, seconds: std::ops::Range<u64>| -> usize {
            let at = seconds.map(|second| begin + Duration::from_secs(second));
            at.map(|at| jobs(plan, &accepted, Some(&other), at)).sum()
        };
        assert_eq!(writes(&mut plan, 0..60), 1);
        assert_eq!(writes(&mut plan, 60..3600), 5, "1, 2, 4, 8, 16 minutes");
        assert!(writes(&mut plan, 3600..4 * 3600) <= 4);
        // A new version of the policy is another matter.
        let changed = outcomes(Kind::CiliumNetworkPolicy, 2, Outcome::Accepted);
        let later = begin + Duration::from_hours(4);
        assert_eq!(jobs(&mut plan, &changed, Some(&other), later), 0);
        assert_eq!(jobs(&mut plan, &changed, Some(&other), later + WAIT), 1);
    }

    #[test]
    fn objects_without_a_status_are_told_of_once_for_each_outcome() {
        let mut plan = Plan::default();
        let kind = Kind::NetworkPolicy;
        let begin = Instant::now();
        let all = |plan: &mut Plan, outcome: &Outcome, from: u64| -> usize {
            let outcomes = outcomes(kind, 1, outcome.clone());
            let seconds = from..from + 1000;
            let at = seconds.map(|second| begin + Duration::from_secs(second));
            at.map(|at| jobs(plan, &outcomes, None, at)).sum()
        };
        assert_eq!(all(&mut plan, &Outcome::Accepted, 0), 0);
        assert_eq!(all(&mut plan, &Outcome::SelectsNothing, 1000), 1);
        assert_eq!(all(&mut plan, &Outcome::Accepted, 2000), 0);
        assert_eq!(all(&mut plan, &Outcome::SelectsNothing, 3000), 1);
    }

    #[test]
    fn objects_that_are_not_known_are_not_written_to() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let accepted = outcomes(Kind::CiliumNetworkPolicy, 1, Outcome::Accepted);
        plan.update(&accepted, |_| None, now, |_| WAIT);
        assert_eq!(plan.next_due(), None);
        let another = |_: &Key| {
            Some(Said {
                uid: "another".to_owned(),
                condition: None,
            })
        };
        plan.update(&accepted, another, now, |_| WAIT);
        assert_eq!(plan.next_due(), None);
    }
}
