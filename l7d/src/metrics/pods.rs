//! Pods that have gone: what was counted of them goes a while later, after the last scrape that wants it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Monotonic;

/// How long series of a pod that is gone stay, as Hubble has it.
const STAY: Duration = Duration::from_mins(1);

/// Namespace and name.
pub type Pod = (String, String);

/// Who has gone lately, and when.
#[derive(Debug, Default)]
pub(super) struct Pods {
    gone: BTreeMap<Pod, Monotonic>,
}

impl Pods {
    /// A pod has come, or gone.
    pub(super) fn note(&mut self, pod: Pod, is_there: bool, now: Monotonic) {
        if is_there {
            self.gone.remove(&pod);
        } else {
            self.gone.insert(pod, now);
        }
    }

    /// Hands out those that have been gone for long enough.
    pub(super) fn take_due(&mut self, now: Monotonic) -> Vec<Pod> {
        let is_due = |since: Monotonic| u128::from(now.nanos_since(since)) >= STAY.as_nanos();
        let due = self.gone.extract_if(.., |_, since| is_due(*since));
        due.map(|(pod, _)| pod).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_due_a_minute_after_it_went_unless_it_came_back() {
        let pod = |name: &str| ("shop".to_owned(), name.to_owned());
        let minute = 60_000_000_000;
        let mut pods = Pods::default();
        for (at, name, is_there) in [(0, "a", true), (1, "a", false), (1, "b", false)] {
            pods.note(pod(name), is_there, Monotonic(at));
        }
        assert!(pods.take_due(Monotonic(minute)).is_empty());
        pods.note(pod("b"), true, Monotonic(5));
        pods.note(pod("c"), false, Monotonic(5));
        assert_eq!(pods.take_due(Monotonic(minute + 1)), [pod("a")]);
        assert_eq!(pods.take_due(Monotonic(minute + 5)), [pod("c")]);
    }
}
