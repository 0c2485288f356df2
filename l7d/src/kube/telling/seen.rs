//! What the objects of policies say of themselves, as far as the server has told.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Notify;

use super::condition::Condition;
use crate::host::cluster::{Kind, Name};

/// What a policy's object says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) uid: String,
    /// None where it says nothing of being valid.
    pub(crate) condition: Option<Condition>,
}

/// Policies by kind and name: written by who follows them, so that nobody asks again.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    policies: Mutex<BTreeMap<(Kind, Name), Said>>,
    pub(crate) changed: Notify,
}

#[derive(Deserialize)]
struct Policy {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    uid: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Option<Vec<Typed>>,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    r#type: String,
    #[serde(flatten)]
    condition: Condition,
}

impl Seen {
    /// Everything of a kind is told from the beginning: what has not been told again is not known.
    pub(crate) fn begin(&self, kind: Kind) {
        self.policies.lock().retain(|(of, _), _| *of != kind);
    }

    /// An object as it is now.
    pub(crate) fn put(&self, kind: Kind, name: Name, json: &str) {
        let Ok(policy) = serde_json::from_str::<Policy>(json) else {
            return;
        };
        let conditions = policy.status.and_then(|status| status.conditions);
        let mut conditions = conditions.into_iter().flatten();
        let said = Said {
            uid: policy.metadata.uid,
            condition: conditions
                .find(|typed| typed.r#type == "Valid")
                .map(|typed| typed.condition),
        };
        self.policies.lock().insert((kind, name), said);
        self.changed.notify_one();
    }

    /// An object that is gone.
    pub(crate) fn remove(&self, kind: Kind, name: &Name) {
        self.policies.lock().remove(&(kind, name.clone()));
    }

    pub(crate) fn get(&self, key: &(Kind, Name)) -> Option<Said> {
        self.policies.lock().get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_found_among_others() {
        let seen = Seen::default();
        let (kind, name) = (Kind::CiliumNetworkPolicy, Name::new("shop", "web"));
        let json = r#"{"metadata":{"uid":"u"},"status":{"conditions":[{"type":"X","status":"False"},{"type":"Valid","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}],"x":1}}"#;
        seen.put(kind, name.clone(), json);
        let said = seen.get(&(kind, name.clone())).expect("it is known");
        assert_eq!(said.condition.expect("a condition").status, "True");
        seen.put(kind, name.clone(), r#"{"metadata":{"uid":"u"},"spec":{}}"#);
        let said = seen.get(&(kind, name.clone())).expect("it is known");
        assert_eq!((said.uid.as_str(), said.condition), ("u", None));
        seen.begin(kind);
        assert_eq!(seen.get(&(kind, name)), None);
    }
}
