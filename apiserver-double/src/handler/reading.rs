//! Lists, watches and single objects.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::Call;
use crate::answer::{self, Pieces};
use crate::asked::Form;
use crate::kinds::{EVENTS, Resource};
use crate::refusal::Refusal;
use crate::store::{Page, Token};
use crate::watch::Watch;
use crate::{events, form, place};

impl Call<'_> {
    fn page(&self, resource: &Resource) -> Result<Page, Refusal> {
        let scope = self.scope(resource)?;
        let limit = self.query.number("limit")?.filter(|limit| *limit > 0);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let revision = self.query.number("resourceVersion")?;
        let matching = self.query.text("resourceVersionMatch");
        let store = self.shared.store();
        if let Some(token) = self.query.text("continue") {
            if revision.is_some_and(|revision| revision != 0) {
                return Err(Refusal::BadRequest(
                    "specifying resource version is not allowed when using continue".to_owned(),
                ));
            }
            return store.resume(&scope, &Token::parse(token)?, limit);
        }
        let invalid = |message: &str| Refusal::Invalid {
            kind: "ListOptions.meta.k8s.io".to_owned(),
            name: String::new(),
            field: "resourceVersionMatch".to_owned(),
            message: message.to_owned(),
        };
        let is_exact = match (matching, revision) {
            (None, _) => limit.is_some() && revision.is_some_and(|revision| revision != 0),
            (Some(_), None) => {
                return Err(invalid(
                    "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            (Some("Exact"), Some(0)) => {
                return Err(invalid(
                    "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
            (Some("Exact"), _) => true,
            (Some("NotOlderThan"), _) => false,
            (Some(_), _) => {
                return Err(invalid(
                    "Unsupported value: supported values: \"Exact\", \"NotOlderThan\"",
                ));
            }
        };
        if let Some(asked) = revision.filter(|revision| *revision > store.revision()) {
            return Err(Refusal::TooLarge {
                asked,
                current: store.revision(),
            });
        }
        // The cache of a real server, which answers these, knows no pages.
        let limit = limit.filter(|_| revision != Some(0));
        store.list(&scope, revision.filter(|_| is_exact), limit)
    }

    pub(super) fn list(&self, resource: &Resource) -> Result<Response<Pieces>, Refusal> {
        let form = self.form()?;
        let page = self.page(resource)?;
        let mut metadata = json!({ "resourceVersion": page.revision.to_string() });
        if let Some(resume) = &page.resume {
            place::set(&mut metadata, &["continue"], resume.clone());
        }
        if let Some(remaining) = page.remaining {
            place::set(&mut metadata, &["remainingItemCount"], remaining);
        }
        let objects = || {
            page.items.iter().map(|(_, object)| {
                self.shown(
                    resource,
                    &object.whole(&self.api_version(resource), &resource.kind),
                )
            })
        };
        Ok(match form {
            Form::Table => {
                let objects: Vec<Value> = objects().collect();
                let table = form::table(resource, &self.target.version, &objects, &metadata, true);
                answer::object(StatusCode::OK, &table)
            }
            Form::Metadata => {
                let items: Vec<Value> = objects().map(|object| form::metadata(&object)).collect();
                let list = json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata,
                    "items": items,
                });
                answer::object(StatusCode::OK, &list)
            }
            Form::Whole => answer::json(StatusCode::OK, self.pieces(resource, &page, &metadata)),
        })
    }

    /// A list, object by object; cut off where that was asked for.
    fn pieces(&self, resource: &Resource, page: &Page, metadata: &Value) -> Pieces {
        let api_version = self.api_version(resource);
        let head = format!(
            "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
            json!(resource.list_kind),
            json!(api_version)
        );
        let mut pieces = VecDeque::from([Bytes::from(head)]);
        let most = self.break_behind.unwrap_or(usize::MAX);
        for (index, (_, object)) in page.items.iter().take(most).enumerate() {
            if index > 0 {
                pieces.push_back(Bytes::from_static(b","));
            }
            pieces.push_back(if resource.is_custom {
                object.whole(&api_version, &resource.kind)
            } else if self.is_newer_event(resource) {
                let mut event = object.value();
                events::to_newer(&mut event);
                event.to_string().into()
            } else {
                object.bare()
            });
        }
        if self.break_behind.is_none() {
            pieces.push_back(Bytes::from_static(b"]}\n"));
        }
        Pieces::known(pieces, self.break_behind.is_some())
    }

    fn api_version(&self, resource: &Resource) -> String {
        resource.api_version(&self.target.version)
    }

    pub(super) fn is_newer_event(&self, resource: &Resource) -> bool {
        &*resource.storage == EVENTS && !self.target.group.is_empty()
    }

    fn shown(&self, resource: &Resource, json: &[u8]) -> Value {
        let mut object = serde_json::from_slice(json).unwrap_or_default();
        if self.is_newer_event(resource) {
            events::to_newer(&mut object);
        }
        object
    }

    pub(super) fn watch(&self, resource: Arc<Resource>) -> Result<Response<Pieces>, Refusal> {
        let scope = self.scope(&resource)?;
        let watch = Watch::parse(
            scope,
            resource,
            &self.target.version,
            self.form()?,
            &self.query,
        )?;
        let events = watch.start(self.shared.clone());
        Ok(answer::json(StatusCode::OK, Pieces::stream(events)))
    }

    pub(super) fn get(&self, resource: &Resource) -> Result<Response<Pieces>, Refusal> {
        let form = self.form()?;
        let name = self.name();
        let found = self.shared.store().find(&resource.storage, &name).cloned();
        let found = found.ok_or_else(|| Refusal::NotFound {
            resource: resource.qualified(),
            name: name.name,
        })?;
        let object = self.shown(
            resource,
            &found.whole(&self.api_version(resource), &resource.kind),
        );
        Ok(self.object(StatusCode::OK, resource, form, object))
    }

    pub(super) fn object(
        &self,
        code: StatusCode,
        resource: &Resource,
        form: Form,
        object: Value,
    ) -> Response<Pieces> {
        let shown = match form {
            Form::Whole => object,
            Form::Metadata => form::metadata(&object),
            Form::Table => {
                let list =
                    json!({ "resourceVersion": place::text(&object, "/metadata/resourceVersion") });
                form::table(resource, &self.target.version, &[object], &list, true)
            }
        };
        answer::object(code, &shown)
    }
}
