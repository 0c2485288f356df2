//! What the cluster is: objects, one counter of versions over all of them, and the last changes.
//!
//! Every write adds one to the counter and one to the log. A list of a former version is what is there
//! now with the log's later changes taken back, so that nothing is copied for the pages of a list; a watch
//! is a position in the log. What the log no longer has is gone: `410 Expired`.

mod lifecycle;
mod object;
mod page;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

pub(crate) use object::{Name, Stored};
pub(crate) use page::{Page, Scope, Token};
pub(crate) use write::{Manager, Preconditions, Write, deleted};

use crate::kinds::{self, Resource};
use crate::refusal::Refusal;

/// So many changes are remembered.
const REMEMBERED: usize = 20_000;

/// A change of one object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) storage: Arc<str>,
    pub(crate) name: Name,
    pub(crate) before: Option<Arc<Stored>>,
    /// None where it was deleted.
    pub(crate) after: Option<Arc<Stored>>,
}

type Objects = BTreeMap<Name, Arc<Stored>>;

/// Everything.
#[derive(Debug)]
pub(crate) struct Store {
    /// Of the last write.
    revision: u64,
    /// Changes up to this one are no longer known.
    compacted: u64,
    objects: BTreeMap<Arc<str>, Objects>,
    log: VecDeque<Change>,
    resources: Vec<Arc<Resource>>,
    /// For what must differ: service addresses.
    made: u32,
}

/// The state of a moment, as a backup of etcd has it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    revision: u64,
    objects: BTreeMap<Arc<str>, Objects>,
    resources: Vec<Arc<Resource>>,
}

impl Store {
    /// A cluster with the namespaces that every one has.
    pub(crate) fn new() -> Self {
        let mut store = Self {
            revision: 1,
            compacted: 1,
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            resources: kinds::built_in(),
            made: 0,
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace =
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            let made = store.put(&namespace);
            debug_assert!(made.is_ok(), "{made:?}");
        }
        store
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Forgets all changes: whoever asks for what was before this moment is told that it is gone.
    pub(crate) fn compact(&mut self) {
        self.log.clear();
        self.compacted = self.revision;
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            objects: self.objects.clone(),
            resources: self.resources.clone(),
        }
    }

    /// Goes back to a former state, and to its version.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        self.revision = snapshot.revision;
        self.objects = snapshot.objects;
        self.resources = snapshot.resources;
        self.compact();
    }

    pub(crate) fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The kind at a path.
    pub(crate) fn resource(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<Arc<Resource>> {
        let mut found = self.resources.iter().filter(|resource| {
            resource.group == group
                && resource.plural == plural
                && resource.version(version).is_some()
        });
        found.next().cloned()
    }

    /// The kind and version that an object says of itself.
    pub(crate) fn resource_of(&self, object: &Value) -> Option<(Arc<Resource>, String)> {
        let (group, version) = split_version(crate::place::text(object, "/apiVersion"));
        let kind = crate::place::text(object, "/kind");
        let mut found = self.resources.iter().filter(|resource| {
            resource.group == group && resource.kind == kind && resource.version(version).is_some()
        });
        Some((found.next()?.clone(), version.to_owned()))
    }

    /// Whether a kind is still served.
    pub(crate) fn serves(&self, storage: &str) -> bool {
        self.resources
            .iter()
            .any(|resource| &*resource.storage == storage)
    }

    pub(crate) fn find(&self, storage: &str, name: &Name) -> Option<&Arc<Stored>> {
        self.objects.get(storage)?.get(name)
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, storage: &str) -> impl Iterator<Item = (&Name, &Arc<Stored>)> {
        self.objects.get(storage).into_iter().flatten()
    }

    /// Changes behind a version, so many at most.
    ///
    /// # Errors
    /// When some of them are no longer known.
    pub(crate) fn changes(&self, behind: u64, most: usize) -> Result<Vec<Change>, Refusal> {
        if behind < self.compacted {
            return Err(self.too_old(behind));
        }
        // Each write has the next number.
        let first = usize::try_from(behind - self.compacted).unwrap_or(usize::MAX);
        Ok(self.log.iter().skip(first).take(most).cloned().collect())
    }

    pub(crate) fn too_old(&self, asked: u64) -> Refusal {
        Refusal::Expired {
            message: format!("too old resource version: {asked} ({})", self.compacted),
            resume: None,
        }
    }

    /// Writes an object, or removes it; what was changed is told to watches.
    fn commit(
        &mut self,
        storage: &Arc<str>,
        name: &Name,
        object: Option<Value>,
    ) -> Option<Arc<Stored>> {
        self.revision += 1;
        let after = object.map(|object| Arc::new(Stored::new(object, self.revision)));
        let objects = self.objects.entry(storage.clone()).or_default();
        let before = match &after {
            Some(after) => objects.insert(name.clone(), after.clone()),
            None => objects.remove(name),
        };
        self.log.push_back(Change {
            revision: self.revision,
            storage: storage.clone(),
            name: name.clone(),
            before,
            after: after.clone(),
        });
        if self.log.len() > REMEMBERED {
            self.compacted += u64::from(self.log.pop_front().is_some());
        }
        after
    }
}

/// Group and version of an `apiVersion`.
pub(crate) fn split_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}
