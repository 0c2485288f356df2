//! Writes.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Call, header};
use crate::answer::{self, Pieces};
use crate::asked::Verb;
use crate::kinds::Resource;
use crate::patch::Patch;
use crate::refusal::Refusal;
use crate::store::{Manager, Preconditions, Write, deleted};
use crate::{events, place};

impl Call<'_> {
    pub(super) fn write(&self, resource: Arc<Resource>, is_status: bool) -> Write {
        let agent = header(&self.headers, USER_AGENT.as_str());
        let agent = agent.split('/').next().unwrap_or_default();
        let manager = self.query.text("fieldManager").unwrap_or(agent);
        let manager = if manager.is_empty() {
            "unknown"
        } else {
            manager
        };
        Write {
            resource,
            version: self.target.version.clone(),
            name: self.name(),
            is_status,
            manager: Some(Manager {
                name: manager.to_owned(),
                is_forced: self.query.is_set("force"),
            }),
            is_dry_run: self.query.text("dryRun").is_some(),
        }
    }

    pub(super) fn change(
        &self,
        verb: Verb,
        write: &Write,
        body: &[u8],
    ) -> Result<Response<Pieces>, Refusal> {
        let form = self.form()?;
        let resource = &write.resource;
        let older = |body: &[u8]| {
            let mut object = self.read(body)?;
            if self.is_newer_event(resource) {
                events::to_older(&mut object);
            }
            Ok(object)
        };
        let (mut object, code) = match verb {
            Verb::Create => (
                self.shared
                    .change(|store| store.create(write, older(body)?))?,
                StatusCode::CREATED,
            ),
            Verb::Update => (
                self.shared
                    .change(|store| store.replace(write, older(body)?))?,
                StatusCode::OK,
            ),
            Verb::Patch => {
                let mut patch = Patch::parse(header(&self.headers, CONTENT_TYPE.as_str()), body)?;
                if let (Patch::Apply(value) | Patch::Merge(value) | Patch::Strategic(value), true) =
                    (&mut patch, self.is_newer_event(resource))
                {
                    events::to_older(value);
                }
                let (object, is_new) = self.shared.change(|store| store.patch(write, &patch))?;
                (
                    object,
                    if is_new {
                        StatusCode::CREATED
                    } else {
                        StatusCode::OK
                    },
                )
            }
            _ => return self.delete(write, body),
        };
        if self.is_newer_event(resource) {
            events::to_newer(&mut object);
        }
        Ok(self.object(code, resource, form, object))
    }

    fn delete(&self, write: &Write, body: &[u8]) -> Result<Response<Pieces>, Refusal> {
        let options = if body.is_empty() {
            Value::Null
        } else {
            self.read(body)?
        };
        let word = |pointer: &str| {
            let word = place::text(&options, pointer);
            (!word.is_empty()).then(|| word.to_owned())
        };
        let in_query = self
            .query
            .number("gracePeriodSeconds")?
            .and_then(|grace| i64::try_from(grace).ok());
        let demanded = Preconditions {
            uid: word("/preconditions/uid"),
            revision: word("/preconditions/resourceVersion"),
            grace: options
                .get("gracePeriodSeconds")
                .and_then(Value::as_i64)
                .or(in_query),
        };
        let is_dry_run = write.is_dry_run || !place::items(&options, "/dryRun").is_empty();
        let write = Write {
            is_dry_run,
            ..write.clone()
        };
        let object = self
            .shared
            .change(|store| store.delete(&write, &demanded))?;
        let is_left = self
            .shared
            .store()
            .find(&write.resource.storage, &write.name)
            .is_some();
        let answered = if is_left && !is_dry_run {
            object
        } else {
            deleted(&write, &object)
        };
        Ok(answer::object(StatusCode::OK, &answered))
    }

    pub(super) fn delete_all(&self, resource: &Arc<Resource>) -> Result<Response<Pieces>, Refusal> {
        let scope = self.scope(resource)?;
        self.shared.change(|store| {
            let page = store.list(&scope, None, None)?;
            for (name, _) in page.items {
                let write = Write {
                    name,
                    ..self.write(resource.clone(), false)
                };
                store.delete(&write, &Preconditions::default())?;
            }
            Ok(())
        })?;
        let status =
            json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
        Ok(answer::object(StatusCode::OK, &status))
    }
}
