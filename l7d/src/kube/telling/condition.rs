//! What became of a policy, as its object says it.

use serde::Deserialize;

use crate::host::cluster::Outcome;

/// Text of a refusal beyond this is cut off: objects are read by people.
const MESSAGE_MAX: usize = 1000;
/// Reasons of ours.
const ACCEPTED: &str = "Accepted";
const SELECTS_NOTHING: &str = "SelectsNothing";
const REFUSED: &str = "Refused";

/// The condition `Valid` of a policy. Which version of the policy it is about stands in the message:
/// Cilium's definition of the resource has no field for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    /// `True` or `False`.
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// When the status became what it is.
    pub(crate) last_transition_time: String,
}

impl Condition {
    /// What is to be said.
    pub(super) fn of(outcome: &Outcome, generation: i64) -> Self {
        let (status, reason, message) = match outcome {
            Outcome::Accepted => (
                "True",
                ACCEPTED,
                format!("generation {generation} is in force"),
            ),
            Outcome::SelectsNothing => (
                "True",
                SELECTS_NOTHING,
                format!("generation {generation} is in force and selects nothing"),
            ),
            Outcome::Refused(faults) => (
                "False",
                REFUSED,
                format!("generation {generation} is refused: {}", faults.join("; ")),
            ),
        };
        Self {
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: cut(message),
            last_transition_time: String::new(),
        }
    }

    /// Whether it says what is to be said. What somebody else says to the same end is left alone.
    pub(super) fn says(&self, wanted: &Self) -> bool {
        let is_ours = [ACCEPTED, SELECTS_NOTHING, REFUSED].contains(&self.reason.as_str());
        self.status == wanted.status
            && (!is_ours || (self.reason == wanted.reason && self.message == wanted.message))
    }

    /// Whether people are to be told by an Event, and as a warning.
    pub(super) fn is_event(&self) -> Option<bool> {
        match self.reason.as_str() {
            REFUSED => Some(true),
            SELECTS_NOTHING => Some(false),
            _ => None,
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MESSAGE_MAX {
        let mut end = MESSAGE_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_something_else_is_written_over() {
        let wanted = Condition::of(&Outcome::Accepted, 3);
        assert!(wanted.says(&wanted));
        assert!(!Condition::of(&Outcome::Accepted, 2).says(&wanted));
        assert!(!Condition::of(&Outcome::SelectsNothing, 3).says(&wanted));
        let others = Condition {
            status: "True".to_owned(),
            message: "Policy validation succeeded".to_owned(),
            ..Condition::default()
        };
        assert!(others.says(&wanted));
        let refused = Condition::of(&Outcome::Refused(vec!["é".repeat(1000)]), 3);
        assert!(!others.says(&refused));
        assert!(refused.message.len() < 1024, "an Event takes no more");
    }
}
