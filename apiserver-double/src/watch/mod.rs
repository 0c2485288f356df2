//! Watches: which changes are told, as what, and until when.

mod telling;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::answer::Cut;
use crate::asked::{Form, Query};
use crate::kinds::Resource;
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::store::{Change, Scope, Stored};
use telling::Telling;

/// So many changes are looked at in one turn, and so many lines wait for a client that reads slowly: what
/// it does not read stays in the log, and when it falls out of that, its version is too old.
const TURN: usize = 64;
const LINES: usize = 16;
/// How long a watch lasts where the client does not say.
const LONGEST: Duration = Duration::from_mins(45);

/// What a watch is of.
#[derive(Debug)]
pub(crate) struct Watch {
    scope: Scope,
    resource: Arc<Resource>,
    version: String,
    form: Form,
    /// Changes behind this version are told.
    position: u64,
    begins: Begins,
    has_bookmarks: bool,
    lasts: Duration,
}

/// What is told before changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// Nothing.
    Silent,
    /// All objects that there are.
    WithObjects,
    /// All objects, and a bookmark that says that these were all.
    WithObjectsAndMark,
}

impl Watch {
    pub(crate) fn parse(
        scope: Scope,
        resource: Arc<Resource>,
        version: &str,
        form: Form,
        query: &Query,
    ) -> Result<Self, Refusal> {
        let revision = query.number("resourceVersion")?;
        let matching = query.text("resourceVersionMatch");
        let has_bookmarks = query.is_set("allowWatchBookmarks");
        let invalid = |field: &str, message: &str| Refusal::Invalid {
            kind: "ListOptions.meta.k8s.io".to_owned(),
            name: String::new(),
            field: field.to_owned(),
            message: message.to_owned(),
        };
        let says = query.text("sendInitialEvents").is_some();
        if says {
            if matching != Some("NotOlderThan") {
                let message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                return Err(invalid("resourceVersionMatch", message));
            }
        } else if matching.is_some() {
            let message = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(invalid("resourceVersionMatch", message));
        }
        let is_from_now = revision.is_none_or(|revision| revision == 0);
        let wants_objects = if says {
            query.is_set("sendInitialEvents")
        } else {
            is_from_now
        };
        let begins = match (wants_objects, says && has_bookmarks) {
            (true, true) => Begins::WithObjectsAndMark,
            (true, false) => Begins::WithObjects,
            (false, _) => Begins::Silent,
        };
        let lasts = query.number("timeoutSeconds")?;
        Ok(Self {
            scope,
            resource,
            version: version.to_owned(),
            form,
            position: revision.unwrap_or(0),
            begins,
            has_bookmarks,
            lasts: lasts.map_or(LONGEST, Duration::from_secs),
        })
    }

    /// Starts telling; what is to be sent comes out of the receiver.
    pub(crate) fn start(self, shared: Arc<Shared>) -> mpsc::Receiver<Result<Bytes, Cut>> {
        let (sender, receiver) = mpsc::channel(LINES);
        tokio::spawn(Telling::new(self, shared, sender).run());
        receiver
    }
}

/// What a change is to who sees only a part: an object that comes to fit is new, one that fits no longer
/// is gone.
fn event(scope: &Scope, change: &Change) -> Option<(&'static str, Arc<Stored>)> {
    if change.storage != scope.storage {
        return None;
    }
    let fits = |object: &Option<Arc<Stored>>| {
        object
            .as_ref()
            .filter(|object| scope.matches(&change.name, object))
            .cloned()
    };
    match (fits(&change.before), fits(&change.after)) {
        (None, None) => None,
        (None, Some(after)) => Some(("ADDED", after)),
        (Some(_), Some(after)) => Some(("MODIFIED", after)),
        (Some(before), None) => Some(("DELETED", Arc::new(before.under(change.revision)))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::selector::{FieldSelector, LabelSelector};
    use crate::store::Store;

    fn pod(store: &mut Store, name: &str, app: &str, node: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "default", "labels": { "app": app } },
            "spec": { "nodeName": node, "containers": [{ "name": "c", "image": "i" }] },
        });
        store.put(&pod).expect("a pod");
    }

    fn told(scope: &Scope, store: &Store, behind: u64) -> Vec<String> {
        let changes = store.changes(behind, 100).expect("they are known");
        let events = changes.iter().filter_map(|change| {
            let (kind, object) = event(scope, change)?;
            let version: u64 = crate::place::text(&object.value(), "/metadata/resourceVersion")
                .parse()
                .ok()?;
            Some(format!("{kind} {} {}", change.name.name, version - behind))
        });
        events.collect()
    }

    #[test]
    fn a_part_of_all_objects_is_told_as_if_there_were_no_others() {
        let mut store = Store::new();
        let begin = store.revision();
        pod(&mut store, "a", "web", "");
        pod(&mut store, "a", "web", "n1");
        pod(&mut store, "b", "web", "n2");
        pod(&mut store, "a", "api", "n1");
        store.remove("Pod", "default", "a").expect("it is there");
        let mut scope = Scope {
            storage: "pods".into(),
            namespace: None,
            labels: LabelSelector::parse("app=web").expect("a selector"),
            fields: FieldSelector::default(),
        };
        let by_label = told(&scope, &store, begin);
        assert_eq!(
            by_label,
            ["ADDED a 1", "MODIFIED a 2", "ADDED b 3", "DELETED a 4"]
        );
        scope.labels = LabelSelector::default();
        scope.fields = FieldSelector::parse("spec.nodeName=n1", "pods").expect("a selector");
        let by_node = told(&scope, &store, begin);
        assert_eq!(by_node, ["ADDED a 2", "MODIFIED a 4", "DELETED a 5"]);
        scope.namespace = Some("other".to_owned());
        assert_eq!(told(&scope, &store, begin), Vec::<String>::new());
    }

    #[test]
    fn versions_that_a_restored_server_has_not_reached_are_waited_for() {
        let mut store = Store::new();
        let snapshot = store.snapshot();
        for _ in 0..3 {
            pod(&mut store, "a", "web", "");
            store.remove("Pod", "default", "a").expect("it is there");
        }
        let seen = store.revision();
        store.restore(snapshot);
        pod(&mut store, "b", "web", "");
        assert!(store.changes(seen, 10).expect("none yet").is_empty());
        for _ in 0..3 {
            pod(&mut store, "c", "web", "");
            store.remove("Pod", "default", "c").expect("it is there");
        }
        assert_eq!(store.changes(seen, 10).expect("known").len(), 1);
    }
}
