//! A request comes in, and this is who answers it.

mod reading;
mod writing;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::Value;

use crate::access::{self, Permission};
use crate::answer::{self, Cut, Pieces};
use crate::asked::{Form, Query, Target, Verb};
use crate::faults::Misbehaviour;
use crate::kinds::Resource;
use crate::refusal::Refusal;
use crate::selector::{FieldSelector, LabelSelector};
use crate::server::{Asked, Shared, User};
use crate::store::{Name, Scope};
use crate::{discovery, protobuf};

/// Answers; an error closes the connection without one.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Pieces>, Cut> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let path = parts.uri.path();
    let target = Target::parse(path);
    let verb = target
        .as_ref()
        .and_then(|target| target.verb(&parts.method, &query).ok());
    let user = match user(&shared, &parts.headers) {
        Ok(user) => user,
        Err(refusal) => return Ok(answer::refusal(&refusal)),
    };
    shared.note_asked(Asked {
        verb,
        path: path.to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        resource: target
            .as_ref()
            .map_or_else(String::new, |target| target.plural.clone()),
        user: user.name.clone(),
        agent: header(&parts.headers, USER_AGENT.as_str()).to_owned(),
    });
    let resource = target.as_ref().map_or("", |target| target.plural.as_str());
    let mut break_behind = None;
    match shared.faults.of_request(verb, resource) {
        Some(Misbehaviour::Delay(time)) => tokio::time::sleep(time).await,
        Some(Misbehaviour::Hang) => std::future::pending().await,
        Some(Misbehaviour::Drop) => return Err(Cut),
        Some(Misbehaviour::TooManyRequests(retry_after)) => {
            return Ok(answer::refusal(&Refusal::TooManyRequests { retry_after }));
        }
        Some(Misbehaviour::InternalError) => {
            let refusal = Refusal::InternalError("Internal error occurred: on command".to_owned());
            return Ok(answer::refusal(&refusal));
        }
        Some(Misbehaviour::Expire(_)) => {
            let refusal = shared
                .store()
                .too_old(query.number("resourceVersion").ok().flatten().unwrap_or(0));
            return Ok(answer::refusal(&refusal));
        }
        Some(Misbehaviour::Refuse) => {
            let version = query.number("resourceVersion").ok().flatten();
            let refusal = shared.store().too_old(version.unwrap_or(0));
            return Ok(answer::refusal(&refusal));
        }
        Some(Misbehaviour::BreakList(objects)) => break_behind = Some(objects),
        Some(_) | None => {}
    }
    if let Some(given) = &shared.given {
        let body = read(body).await.map_err(|_gone| Cut)?;
        return given.forward(parts, body).await;
    }
    let Some(target) = target else {
        return Ok(other(&shared, path, &parts.headers));
    };
    let call = Call {
        shared: &shared,
        target,
        query,
        headers: parts.headers,
        user,
        break_behind,
    };
    let body = read(body).await.map_err(|_gone| Cut)?;
    Ok(call
        .answer(&parts.method, &body)
        .unwrap_or_else(|refusal| answer::refusal(&refusal)))
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Who asks: by token, or whom a member of the masters says that it is.
fn user(shared: &Shared, headers: &HeaderMap) -> Result<User, Refusal> {
    let user = match header(headers, AUTHORIZATION.as_str()).strip_prefix("Bearer ") {
        Some(token) => shared.user(token).ok_or(Refusal::Unauthorized)?,
        None => User::admin(),
    };
    let name = header(headers, "impersonate-user");
    if name.is_empty() {
        return Ok(user);
    }
    let groups = headers.get_all("impersonate-group").iter();
    let groups = groups
        .filter_map(|group| group.to_str().ok())
        .map(str::to_owned)
        .collect();
    if user.is_master() {
        return Ok(User {
            name: name.to_owned(),
            groups,
        });
    }
    Err(Refusal::Forbidden(format!(
        "users \"{name}\" is forbidden: User \"{}\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
        user.name
    )))
}

async fn read(mut body: Incoming) -> hyper::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// Paths of no object.
fn other(shared: &Shared, path: &str, headers: &HeaderMap) -> Response<Pieces> {
    let text =
        |text: &'static str| answer::with_type(StatusCode::OK, "text/plain", answer::whole(text));
    if ["/healthz", "/livez", "/readyz"].contains(&path) {
        return text("ok");
    }
    if path == "/openapi/v2" && header(headers, ACCEPT.as_str()).contains("protobuf") {
        let form = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        return answer::with_type(
            StatusCode::OK,
            form,
            answer::whole(discovery::EMPTY_DOCUMENT),
        );
    }
    let found = discovery::answer(&shared.store(), path);
    found.map_or_else(
        || answer::refusal(&Refusal::PageNotFound),
        |found| answer::object(StatusCode::OK, &found),
    )
}

/// A request about objects.
struct Call<'s> {
    shared: &'s Arc<Shared>,
    target: Target,
    query: Query,
    headers: HeaderMap,
    user: User,
    break_behind: Option<usize>,
}

impl Call<'_> {
    fn answer(&self, method: &Method, body: &[u8]) -> Result<Response<Pieces>, Refusal> {
        let Target {
            group,
            version,
            plural,
            subresource,
            ..
        } = &self.target;
        if group == "authorization.k8s.io" && plural == "selfsubjectaccessreviews" {
            let review = self.read(body)?;
            let reviewed = access::review(&self.shared.store(), &self.user, review);
            return Ok(answer::object(StatusCode::CREATED, &reviewed));
        }
        let found = self.shared.store().resource(group, version, plural);
        let verb = self.target.verb(method, &self.query)?;
        self.check(verb)?;
        let resource = found.ok_or(Refusal::PageNotFound)?;
        if resource.is_namespaced && self.target.namespace.is_none() && !is_about_all(verb) {
            return Err(Refusal::PageNotFound);
        }
        let is_status = match subresource.as_deref() {
            None => false,
            Some("status") if resource.has_status => true,
            Some(_) => return Err(Refusal::PageNotFound),
        };
        match verb {
            Verb::List => self.list(&resource),
            Verb::Watch => self.watch(resource),
            Verb::Get => self.get(&resource),
            Verb::Create | Verb::Update | Verb::Patch | Verb::Delete => {
                let write = self.write(resource, is_status);
                self.change(verb, &write, body)
            }
            Verb::DeleteCollection => self.delete_all(&resource),
        }
    }

    fn read(&self, body: &[u8]) -> Result<Value, Refusal> {
        if header(&self.headers, CONTENT_TYPE.as_str()).contains("protobuf") {
            protobuf::read(body)
        } else {
            read_json(body)
        }
    }

    fn check(&self, verb: Verb) -> Result<(), Refusal> {
        let permission = Permission {
            verb: verb.name().to_owned(),
            group: self.target.group.clone(),
            resource: self.target.resource(),
            namespace: self.target.namespace.clone().unwrap_or_default(),
        };
        let fields = self.fields().ok();
        let name = self.target.name.as_deref();
        let name = name.or_else(|| fields.as_ref().and_then(FieldSelector::name));
        access::check(&self.shared.store(), &self.user, &permission, name)?;
        self.shared.note_use(&self.user, permission);
        Ok(())
    }

    fn fields(&self) -> Result<FieldSelector, Refusal> {
        FieldSelector::parse(
            self.query.text("fieldSelector").unwrap_or_default(),
            &self.target.plural,
        )
    }

    fn scope(&self, resource: &Resource) -> Result<Scope, Refusal> {
        Ok(Scope {
            storage: resource.storage.clone(),
            namespace: self.target.namespace.clone(),
            labels: LabelSelector::parse(self.query.text("labelSelector").unwrap_or_default())?,
            fields: self.fields()?,
        })
    }

    fn form(&self) -> Result<Form, Refusal> {
        Form::parse(
            self.headers
                .get(ACCEPT)
                .and_then(|accept| accept.to_str().ok()),
        )
    }

    fn name(&self) -> Name {
        Name {
            namespace: self.target.namespace.clone().unwrap_or_default(),
            name: self.target.name.clone().unwrap_or_default(),
        }
    }
}

/// Verbs that may be about all namespaces.
const fn is_about_all(verb: Verb) -> bool {
    matches!(verb, Verb::List | Verb::Watch)
}

fn read_json(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::BadRequest(format!(
            "the object provided is unrecognized (must be of type JSON): {error}"
        ))
    })
}
