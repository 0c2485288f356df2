//! Objects that go.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{Name, Store};
use super::{Preconditions, Write};
use crate::kinds::{DEFINITIONS, NAMESPACES};
use crate::refusal::Refusal;
use crate::{admission, place};

impl Store {
    /// Deletes an object; gives what is left of it, or what was.
    pub(crate) fn delete(
        &mut self,
        write: &Write,
        demanded: &Preconditions,
    ) -> Result<Value, Refusal> {
        let storage = write.resource.storage.clone();
        let before = self
            .find(&storage, &write.name)
            .ok_or_else(|| write.not_found())?;
        let mut object = write.whole(before);
        let checks = [
            ("UID", &demanded.uid, place::text(&object, "/metadata/uid")),
            (
                "ResourceVersion",
                &demanded.revision,
                place::text(&object, "/metadata/resourceVersion"),
            ),
        ];
        for (what, wanted, found) in checks {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != found) {
                return Err(write.conflict(&format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
                )));
            }
        }
        if write.is_dry_run {
            return Ok(object);
        }
        let is_held = !place::items(&object, "/metadata/finalizers").is_empty();
        let is_going = !place::text(&object, "/metadata/deletionTimestamp").is_empty();
        let is_running = &*storage == "pods" && !place::text(&object, "/spec/nodeName").is_empty();
        let grace = demanded.grace.unwrap_or(if is_running { 30 } else { 0 });
        let goes_slowly = is_held || (is_running && grace > 0) || &*storage == NAMESPACES;
        if goes_slowly && !is_going {
            place::set(
                &mut object,
                &["metadata", "deletionTimestamp"],
                admission::now(),
            );
            place::set(
                &mut object,
                &["metadata", "deletionGracePeriodSeconds"],
                grace,
            );
            if &*storage == NAMESPACES {
                place::set(&mut object, &["status", "phase"], "Terminating");
            }
            self.commit(&storage, &write.name, Some(object.clone()));
        }
        if is_held {
            return Ok(object);
        }
        // Nobody runs a pod here that would have to end first.
        self.take_out(&storage, &write.name, &object);
        Ok(object)
    }

    /// An object goes, and what depends on it.
    fn take_out(&mut self, storage: &Arc<str>, name: &Name, object: &Value) {
        if &**storage == NAMESPACES {
            self.empty_namespace(&name.name);
        } else if &**storage == DEFINITIONS {
            self.undefine(object);
        }
        self.commit(storage, name, None);
    }

    /// Deletes an object, whatever it demands; gives whether it was there.
    pub(crate) fn remove(&mut self, kind: &str, namespace: &str, name: &str) -> Option<()> {
        let resource = self
            .resources()
            .iter()
            .find(|resource| resource.kind == kind)?;
        let storage = resource.storage.clone();
        let name = Name {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let object = self.find(&storage, &name)?.value();
        self.take_out(&storage, &name, &object);
        Some(())
    }
}

/// What a deletion answers where nothing is left.
pub(crate) fn deleted(write: &Write, object: &Value) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": write.name.name,
            "group": write.resource.group,
            "kind": write.resource.plural,
            "uid": place::text(object, "/metadata/uid"),
        },
    })
}
