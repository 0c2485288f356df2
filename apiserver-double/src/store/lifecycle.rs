//! What comes and goes with an object: a namespace's content, a definition's kind.

use std::sync::Arc;

use serde_json::Value;

use super::{Name, Store, Write};
use crate::kinds::{self, DEFINITIONS};
use crate::{admission, place};

impl Store {
    /// Deletes what is in a namespace.
    pub(super) fn empty_namespace(&mut self, namespace: &str) {
        let storages: Vec<Arc<str>> = self.objects.keys().cloned().collect();
        for storage in storages {
            self.delete_all(&storage, |name| name.namespace == namespace);
        }
    }

    fn delete_all(&mut self, storage: &Arc<str>, is_meant: impl Fn(&Name) -> bool) {
        let names = self.all(storage).map(|(name, _)| name);
        let names: Vec<Name> = names.filter(|name| is_meant(name)).cloned().collect();
        for name in names {
            self.commit(storage, &name, None);
        }
    }

    /// Serves the kind of a definition from now on, or otherwise than before, and says so in its status.
    pub(super) fn define(&mut self, write: &Write, mut definition: Value) -> Value {
        let Some(resource) = kinds::defined(&definition) else {
            return definition;
        };
        self.resources
            .retain(|known| known.storage != resource.storage);
        self.resources.push(Arc::new(resource));
        let before = definition.clone();
        admission::establish(&mut definition);
        if before == definition {
            return definition;
        }
        let stored = self.commit(&DEFINITIONS.into(), &write.name, Some(definition));
        stored.map_or(before, |stored| {
            let mut value = stored.value();
            write.name_kind(&mut value);
            value
        })
    }

    /// A definition goes, and all objects of its kind with it.
    pub(super) fn undefine(&mut self, definition: &Value) {
        let storage: Arc<str> = place::text(definition, "/metadata/name").into();
        self.delete_all(&storage, |_| true);
        self.resources.retain(|known| known.storage != storage);
    }
}
