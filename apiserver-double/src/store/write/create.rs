//! New objects.

use serde_json::Value;

use super::super::{Name, Store};
use super::change::keep_own;
use super::{OWN, Write, has_generation};
use crate::kinds::{DEFINITIONS, NAMESPACES};
use crate::refusal::Refusal;
use crate::{admission, patch, place};

const GENERATED: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

fn generated() -> String {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    let letters = bytes
        .iter()
        .take(5)
        .filter_map(|byte| GENERATED.get(usize::from(*byte) % GENERATED.len()));
    letters.map(|byte| char::from(*byte)).collect()
}

fn is_subdomain(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(is_inner)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

impl Store {
    /// Makes an object.
    pub(crate) fn create(&mut self, write: &Write, mut object: Value) -> Result<Value, Refusal> {
        write.check_kind(&object)?;
        if !place::text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(Refusal::BadRequest(
                "resourceVersion should not be set on objects to be created".to_owned(),
            ));
        }
        let mut write = write.clone();
        self.name(&mut write, &mut object)?;
        if self.find(&write.resource.storage, &write.name).is_some() {
            return Err(Refusal::AlreadyExists {
                resource: write.resource.qualified(),
                name: write.name.name,
            });
        }
        for member in OWN.iter().chain(&["managedFields", "selfLink"]) {
            place::take(&mut object, &["metadata", member]);
        }
        if write.resource.has_status {
            place::take(&mut object, &["status"]);
        }
        self.made += 1;
        admission::on_create(&write, &mut object, self.made)?;
        if let Some(manager) = &write.manager {
            patch::note_update(&write, &manager.name, None, &mut object);
        }
        self.finish_new(&write, object)
    }

    /// Makes or replaces an object with all that it has, as whoever runs the cluster may.
    pub(crate) fn put(&mut self, object: &Value) -> Result<Value, Refusal> {
        let (resource, version) = self.resource_of(object).ok_or(Refusal::PageNotFound)?;
        let mut write = Write {
            name: Name {
                namespace: place::text(object, "/metadata/namespace").to_owned(),
                name: place::text(object, "/metadata/name").to_owned(),
            },
            resource,
            version,
            is_status: false,
            manager: None,
            is_dry_run: false,
        };
        let mut object = object.clone();
        self.name(&mut write, &mut object)?;
        let Some(before) = self.find(&write.resource.storage, &write.name).cloned() else {
            place::take(&mut object, &["metadata", "resourceVersion"]);
            self.made += 1;
            let status = place::take(&mut object, &["status"]);
            admission::on_create(&write, &mut object, self.made)?;
            if status.is_some() {
                place::put(&mut object, &["status"], status);
            }
            return self.finish_new(&write, object);
        };
        let before = write.whole(&before);
        keep_own(&before, &mut object);
        self.finish(&write, &before, object)
    }

    pub(super) fn finish_new(
        &mut self,
        write: &Write,
        mut object: Value,
    ) -> Result<Value, Refusal> {
        place::set(
            &mut object,
            &["metadata", "uid"],
            uuid::Uuid::new_v4().to_string(),
        );
        place::set(
            &mut object,
            &["metadata", "creationTimestamp"],
            admission::now(),
        );
        if has_generation(&object) {
            place::set(&mut object, &["metadata", "generation"], 1);
        }
        if write.is_dry_run {
            write.name_kind(&mut object);
            return Ok(object);
        }
        let stored = self.commit(&write.resource.storage, &write.name, Some(object));
        let stored = stored.ok_or_else(|| write.not_found())?;
        let made = write.whole(&stored);
        if &*write.resource.storage == DEFINITIONS {
            return Ok(self.define(write, made));
        }
        Ok(made)
    }

    /// Name and namespace of a new object, which must be there.
    fn name(&self, write: &mut Write, object: &mut Value) -> Result<(), Refusal> {
        let prefix = place::text(object, "/metadata/generateName");
        let name = match place::text(object, "/metadata/name") {
            "" if prefix.is_empty() => {
                return Err(write.invalid(
                    "metadata.name",
                    "Required value: name or generateName is required",
                ));
            }
            "" => format!("{prefix}{}", generated()),
            name => name.to_owned(),
        };
        write.name.name.clone_from(&name);
        let is_of_rules = write.resource.group == "rbac.authorization.k8s.io";
        let is_path_segment = !name.contains(['/', '%']);
        if !(is_subdomain(&name) || is_of_rules && is_path_segment) {
            let message = format!(
                "Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                 characters, '-' or '.', and must start and end with an alphanumeric character"
            );
            return Err(write.invalid("metadata.name", &message));
        }
        place::set(object, &["metadata", "name"], name);
        if !write.resource.is_namespaced {
            write.name.namespace.clear();
            place::take(object, &["metadata", "namespace"]);
            return Ok(());
        }
        let namespace = write.name.namespace.clone();
        let of_namespace = Name {
            namespace: String::new(),
            name: namespace.clone(),
        };
        if self.find(NAMESPACES, &of_namespace).is_none() {
            return Err(Refusal::NotFound {
                resource: NAMESPACES.to_owned(),
                name: namespace,
            });
        }
        place::set(object, &["metadata", "namespace"], namespace);
        Ok(())
    }
}
