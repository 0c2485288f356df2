//! Objects that change.

use serde_json::Value;

use super::super::Store;
use super::{OWN, Write, has_generation};
use crate::kinds::{DEFINITIONS, Resource};
use crate::patch::{self, Patch};
use crate::refusal::Refusal;
use crate::{admission, place};

impl Store {
    /// Puts another object in the place of one.
    pub(crate) fn replace(&mut self, write: &Write, object: Value) -> Result<Value, Refusal> {
        write.check_kind(&object)?;
        let name = place::text(&object, "/metadata/name");
        if name != write.name.name {
            return Err(Refusal::BadRequest(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                write.name.name
            )));
        }
        let is_versioned = !place::text(&object, "/metadata/resourceVersion").is_empty();
        if write.resource.is_custom && !is_versioned {
            let message = "Invalid value: 0x0: must be specified for an update";
            return Err(write.invalid("metadata.resourceVersion", message));
        }
        let before = self.find(&write.resource.storage, &write.name);
        let before = write.whole(before.ok_or_else(|| write.not_found())?);
        self.update(write, &before, object)
    }

    /// Changes an object; server-side apply makes it where it is not there. Says whether it did.
    pub(crate) fn patch(&mut self, write: &Write, patch: &Patch) -> Result<(Value, bool), Refusal> {
        let Some(before) = self.find(&write.resource.storage, &write.name) else {
            let Patch::Apply(applied) = patch else {
                return Err(write.not_found());
            };
            return self
                .create_applied(write, applied)
                .map(|object| (object, true));
        };
        let before = write.whole(before);
        let after = patch::apply(write, &before, patch)?;
        if let Patch::Apply(_) = patch {
            // Whose fields are whose has been decided already.
            let write = Write {
                manager: None,
                ..write.clone()
            };
            return self
                .update(&write, &before, after)
                .map(|object| (object, false));
        }
        self.update(write, &before, after)
            .map(|object| (object, false))
    }

    fn create_applied(&mut self, write: &Write, applied: &Value) -> Result<Value, Refusal> {
        if write.is_status {
            return Err(write.not_found());
        }
        let mut object = applied.clone();
        place::set(&mut object, &["metadata", "name"], write.name.name.clone());
        let would_be = Write {
            manager: None,
            is_dry_run: true,
            ..write.clone()
        };
        let mut made = self.create(&would_be, object)?;
        let managed = patch::managed_of_new(write, applied);
        place::set(&mut made, &["metadata", "managedFields"], managed);
        for member in OWN {
            place::take(&mut made, &["metadata", member]);
        }
        self.finish_new(write, made)
    }

    fn update(&mut self, write: &Write, before: &Value, object: Value) -> Result<Value, Refusal> {
        let is_other = |pointer: &str| {
            let wanted = place::text(&object, pointer);
            !wanted.is_empty() && wanted != place::text(before, pointer)
        };
        if is_other("/metadata/resourceVersion") {
            return Err(write.outdated());
        }
        if is_other("/metadata/uid") {
            let (wanted, found) = (
                place::text(&object, "/metadata/uid"),
                place::text(before, "/metadata/uid"),
            );
            return Err(write.conflict(&format!(
                "Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
            )));
        }
        if is_other("/metadata/name") || is_other("/metadata/namespace") {
            return Err(write.invalid("metadata.name", "Invalid value: field is immutable"));
        }
        let mut after = only_what_may_change(write, before, object);
        keep_own(before, &mut after);
        admission::on_update(write, before, &mut after)?;
        if let Some(manager) = &write.manager {
            patch::note_update(write, &manager.name, Some(before), &mut after);
        }
        self.finish(write, before, after)
    }

    pub(super) fn finish(
        &mut self,
        write: &Write,
        before: &Value,
        mut after: Value,
    ) -> Result<Value, Refusal> {
        write.name_kind(&mut after);
        place::put(
            &mut after,
            &["metadata", "resourceVersion"],
            before.pointer("/metadata/resourceVersion").cloned(),
        );
        if is_same(before, &after) {
            return Ok(before.clone());
        }
        if is_next_generation(&write.resource, before, &after) {
            let generation = before
                .pointer("/metadata/generation")
                .and_then(Value::as_i64)
                .unwrap_or(0);
            place::set(&mut after, &["metadata", "generation"], generation + 1);
        }
        if write.is_dry_run {
            return Ok(after);
        }
        let stored = self.commit(&write.resource.storage, &write.name, Some(after));
        let stored = stored.ok_or_else(|| write.not_found())?;
        let object = write.whole(&stored);
        let is_going = !place::text(&object, "/metadata/deletionTimestamp").is_empty();
        if is_going && place::items(&object, "/metadata/finalizers").is_empty() {
            self.commit(&write.resource.storage, &write.name, None);
        } else if &*write.resource.storage == DEFINITIONS && !write.is_status {
            return Ok(self.define(write, object));
        }
        Ok(object)
    }
}

/// Specification and metadata, or the status: one write cannot change both.
fn only_what_may_change(write: &Write, before: &Value, mut object: Value) -> Value {
    if write.is_status {
        let mut after = before.clone();
        place::put(
            &mut after,
            &["status"],
            place::take(&mut object, &["status"]),
        );
        let managed = place::take(
            &mut place::take(&mut object, &["metadata"]).unwrap_or_default(),
            &["managedFields"],
        );
        if managed.is_some() {
            place::put(&mut after, &["metadata", "managedFields"], managed);
        }
        return after;
    }
    if write.resource.has_status {
        place::put(&mut object, &["status"], before.get("status").cloned());
    }
    object
}

/// What only the server writes stays as it was.
pub(super) fn keep_own(before: &Value, after: &mut Value) {
    for member in OWN.iter().chain(&["name", "namespace"]) {
        let own = before.pointer(&format!("/metadata/{member}")).cloned();
        place::put(after, &["metadata", member], own);
    }
    if after.pointer("/metadata/managedFields").is_none() {
        let managed = before.pointer("/metadata/managedFields").cloned();
        place::put(after, &["metadata", "managedFields"], managed);
    }
}

fn is_next_generation(resource: &Resource, before: &Value, after: &Value) -> bool {
    let members = |value: &Value| {
        let mut value = value.clone();
        place::take(&mut value, &["metadata"]);
        if resource.has_status {
            place::take(&mut value, &["status"]);
        }
        value
    };
    has_generation(after) && members(before) != members(after)
}

/// A write that changes nothing makes no version, whenever its manager wrote.
fn is_same(before: &Value, after: &Value) -> bool {
    let timeless = |value: &Value| {
        let mut value = value.clone();
        let managed = value
            .pointer_mut("/metadata/managedFields")
            .and_then(Value::as_array_mut);
        for entry in managed.into_iter().flatten() {
            place::take(entry, &["time"]);
        }
        value
    };
    timeless(before) == timeless(after)
}
