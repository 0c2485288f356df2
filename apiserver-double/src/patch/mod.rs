//! Patches of all four forms, and whose fields are whose.

mod apply;
mod lists;
mod managed;
mod strategic;

use serde_json::Value;

pub(crate) use apply::managed_of_new;
pub(crate) use managed::note_update;

use crate::refusal::Refusal;
use crate::store::Write;

/// What is to be changed.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    /// Server-side apply: what the manager wants of the object.
    Apply(Value),
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Lists are merged by keys of their elements.
    Strategic(Value),
}

const FORMS: &str = "application/json-patch+json, application/merge-patch+json, \
                     application/strategic-merge-patch+json, application/apply-patch+yaml";

impl Patch {
    /// Reads a patch. One for server-side apply must be JSON, which is what `kubectl` sends as YAML.
    pub(crate) fn parse(content_type: &str, body: &[u8]) -> Result<Self, Refusal> {
        let form = content_type.split(';').next().unwrap_or_default().trim();
        let value = || {
            serde_json::from_slice(body)
                .map_err(|error| Refusal::BadRequest(format!("error decoding patch: {error}")))
        };
        match form {
            "application/apply-patch+yaml" => value().map(Self::Apply),
            "application/json-patch+json" => serde_json::from_slice(body)
                .map(Self::Json)
                .map_err(|error| Refusal::BadRequest(format!("error decoding patch: {error}"))),
            "application/merge-patch+json" => value().map(Self::Merge),
            "application/strategic-merge-patch+json" => value().map(Self::Strategic),
            _ => Err(Refusal::UnsupportedMediaType(FORMS.to_owned())),
        }
    }
}

/// The object that a patch makes of one.
pub(crate) fn apply(write: &Write, before: &Value, patch: &Patch) -> Result<Value, Refusal> {
    let mut after = before.clone();
    match patch {
        Patch::Apply(applied) => return apply::apply(write, before, applied),
        Patch::Json(patch) => json_patch::patch(&mut after, patch)
            .map_err(|error| write.invalid("patch", &format!("Invalid value: {error}")))?,
        Patch::Merge(patch) => json_patch::merge(&mut after, patch),
        Patch::Strategic(_) if write.resource.is_custom => {
            let forms = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            return Err(Refusal::UnsupportedMediaType(forms.to_owned()));
        }
        Patch::Strategic(patch) => {
            strategic::merge(&write.resource, &mut after, patch, &mut Vec::new());
        }
    }
    Ok(after)
}
