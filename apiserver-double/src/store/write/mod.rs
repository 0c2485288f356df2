//! What a write may do, and what it makes of an object.

mod change;
mod create;
mod delete;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use delete::deleted;

use super::{Name, Stored};
use crate::kinds::Resource;
use crate::place;
use crate::refusal::Refusal;

/// A write to an object, whatever it does.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) resource: Arc<Resource>,
    /// In which the object is written and answered.
    pub(crate) version: String,
    pub(crate) name: Name,
    /// Only `status` is written.
    pub(crate) is_status: bool,
    /// Whose fields these become; none for whoever stands in for the cluster.
    pub(crate) manager: Option<Manager>,
    /// Everything but the write itself.
    pub(crate) is_dry_run: bool,
}

/// Who writes.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    pub(crate) name: String,
    /// Takes fields of others (server-side apply).
    pub(crate) is_forced: bool,
}

/// What a deletion demands of the object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Preconditions {
    pub(crate) uid: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) grace: Option<i64>,
}

impl Write {
    pub(crate) fn not_found(&self) -> Refusal {
        Refusal::NotFound {
            resource: self.resource.qualified(),
            name: self.name.name.clone(),
        }
    }

    pub(crate) fn invalid(&self, field: &str, message: &str) -> Refusal {
        Refusal::Invalid {
            kind: self.resource.qualified_kind(),
            name: self.name.name.clone(),
            field: field.to_owned(),
            message: message.to_owned(),
        }
    }

    fn conflict(&self, why: &str) -> Refusal {
        Refusal::Conflict {
            message: format!(
                "Operation cannot be fulfilled on {} \"{}\": {why}",
                self.resource.qualified(),
                self.name.name
            ),
            causes: Vec::new(),
        }
    }

    fn outdated(&self) -> Refusal {
        self.conflict(
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// The object with what says which kind it is.
    fn whole(&self, object: &Stored) -> Value {
        let mut value = object.value();
        self.name_kind(&mut value);
        value
    }

    pub(crate) fn name_kind(&self, value: &mut Value) {
        place::set(
            value,
            &["apiVersion"],
            self.resource.api_version(&self.version),
        );
        place::set(value, &["kind"], self.resource.kind.clone());
    }

    /// Refuses an object that is another one than the path says.
    fn check_kind(&self, object: &Value) -> Result<(), Refusal> {
        if !object.is_object() {
            return Err(Refusal::BadRequest("the body is no object".to_owned()));
        }
        let expected = [
            ("/apiVersion", self.resource.api_version(&self.version)),
            ("/kind", self.resource.kind.clone()),
        ];
        for (pointer, expected) in expected {
            let found = place::text(object, pointer);
            if !found.is_empty() && found != expected {
                return Err(Refusal::BadRequest(format!(
                    "the API version in the data ({found}) does not match the expected API version ({expected})"
                )));
            }
        }
        let namespace = place::text(object, "/metadata/namespace");
        if self.resource.is_namespaced && !namespace.is_empty() && namespace != self.name.namespace
        {
            return Err(Refusal::BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request".to_owned(),
            ));
        }
        Ok(())
    }
}

/// What only the server writes.
const OWN: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Kinds without a specification have no generations.
fn has_generation(object: &Value) -> bool {
    object.get("spec").is_some()
}
