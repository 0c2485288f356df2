//! A server that is given, in the place of ours: what the double is asked goes on to it, with the
//! credentials of a configuration. Names of namespaces and nodes become names of this double's own, so that
//! tests do not meet each other there, and what was made is removed at the end.

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::answer::{Cut, Pieces, with_type};
use crate::place::{items, set, text};

/// How long something takes to come or go.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(100);
/// Pieces of an answer on their way.
const QUEUE: usize = 16;
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A server that is given.
pub(crate) struct Given {
    client: kube::Client,
    /// What names of ours begin with.
    prefix: String,
    /// Paths of what was made and is in no namespace.
    made: Mutex<Vec<String>>,
    namespaces: Mutex<BTreeSet<String>>,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

/// How a kind is asked for.
struct Served {
    /// `/api/v1` and its like.
    group: String,
    plural: String,
    is_namespaced: bool,
    has_status: bool,
}

impl Served {
    fn path(&self, namespace: &str, name: &str) -> String {
        let Self { group, plural, .. } = self;
        let within = if self.is_namespaced {
            format!("/namespaces/{namespace}")
        } else {
            String::new()
        };
        let name = if name.is_empty() {
            String::new()
        } else {
            format!("/{name}")
        };
        format!("{group}{within}/{plural}{name}")
    }
}

/// Who asks, and where requests are made.
async fn client(file: Kubeconfig) -> anyhow::Result<(kube::Client, Handle)> {
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await?;
    Ok((kube::Client::try_from(config)?, Handle::current()))
}

impl Given {
    /// A server, by the configuration of a file.
    pub(crate) fn new(kubeconfig: &Path) -> anyhow::Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (teller, made) = sync_channel(1);
        let serve = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _told = teller.send(Err(error.into()));
                    return;
                }
            };
            runtime.block_on(async {
                let _told = teller.send(client(file).await);
                let _end = stopped.await;
            });
        };
        // Of its own: tests may be within runtimes, where nothing may wait for another.
        let thread = std::thread::Builder::new().name("given".to_owned());
        let thread = thread.spawn(serve)?;
        let (client, runtime) = made.recv()??;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            client,
            prefix: format!("l7d-test-{}-{number}", std::process::id()),
            made: Mutex::default(),
            namespaces: Mutex::default(),
            runtime,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// A name of our own for one that a test uses.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Hands a request on; what comes back is handed back piece by piece.
    pub(crate) async fn forward(
        &self,
        parts: Parts,
        body: Vec<u8>,
    ) -> Result<Response<Pieces>, Cut> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = parts.method;
        *request.uri_mut() = path.parse().map_err(|_bad| Cut)?;
        *request.headers_mut() = parts.headers;
        request.headers_mut().remove(HOST);
        let client = self.client.clone();
        let (teller, head) = oneshot::channel();
        self.runtime.spawn(async move {
            let Ok(response) = client.send(request).await else {
                return;
            };
            let (head, mut body) = response.into_parts();
            let (sender, pieces) = mpsc::channel::<Result<Bytes, Cut>>(QUEUE);
            if teller.send((head, pieces)).is_err() {
                return;
            }
            loop {
                let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
                let piece = tokio::select! {
                    next = next => match next {
                        None => return,
                        Some(Ok(frame)) => frame.into_data().map_err(|_trailers| Cut),
                        Some(Err(_broken)) => Err(Cut),
                    },
                    () = sender.closed() => return,
                };
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        let (head, pieces) = head.await.map_err(|_gone| Cut)?;
        let mut response = with_type(head.status, JSON, Pieces::stream(pieces));
        for name in ["content-type", "retry-after"] {
            if let Some(value) = head.headers.get(name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        Ok(response)
    }

    /// Does something where requests are made.
    fn wait<T: Send + 'static>(
        &self,
        doing: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        let (sender, receiver) = sync_channel(1);
        self.runtime.spawn(async move {
            let _told = sender.send(doing.await);
        });
        receiver.recv()?
    }

    fn ask(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
        let content = if method == Method::PATCH { MERGE } else { JSON };
        self.send(method, path, content, body)
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        content: &'static str,
        body: &Value,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, content)
            .body(Body::from(body))?;
        let client = self.client.clone();
        self.wait(async move {
            let response = client.send(request).await?;
            let status = response.status();
            let body = response.into_body().collect_bytes().await?;
            Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
        })
    }

    /// What must go through.
    fn must(&self, method: &Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = self.ask(method.clone(), path, body)?;
        ensure!(status.is_success(), "{method} {path}: {status}: {answer}");
        Ok(answer)
    }

    /// How a kind is asked for; one that was just defined comes soon.
    fn served(&self, api_version: &str, kind: &str) -> anyhow::Result<Served> {
        let group = if api_version.contains('/') {
            format!("/apis/{api_version}")
        } else {
            format!("/api/{api_version}")
        };
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            let (_, found) = self.ask(Method::GET, &group, &Value::Null)?;
            let all = items(&found, "/resources");
            let names = |wanted: &str| all.iter().any(|one| one["name"] == wanted);
            let of_kind = |one: &&Value| one["kind"] == kind && !text(one, "/name").contains('/');
            if let Some(one) = all.iter().find(of_kind) {
                let plural = text(one, "/name").to_owned();
                return Ok(Served {
                    is_namespaced: one["namespaced"] == true,
                    has_status: names(&format!("{plural}/status")),
                    group,
                    plural,
                });
            }
            self.rest()?;
        }
        anyhow::bail!("the server has no {api_version} {kind}")
    }

    fn rest(&self) -> anyhow::Result<()> {
        self.wait(async {
            tokio::time::sleep(LOOK).await;
            Ok(())
        })
    }

    /// Names of our own in an object.
    fn localize(&self, kind: &str, object: &mut Value) {
        for path in [&["metadata", "namespace"][..], &["spec", "nodeName"]] {
            let name = text(object, &format!("/{}", path.join("/"))).to_owned();
            if !name.is_empty() {
                set(object, path, self.named(&name));
            }
        }
        if ["Namespace", "Node"].contains(&kind) {
            let name = self.named(text(object, "/metadata/name"));
            set(object, &["metadata", "name"], name);
        }
    }

    /// A namespace that is there, with what a pod must find in it.
    fn need(&self, namespace: &str, account: Option<&str>) -> anyhow::Result<()> {
        if self.namespaces.lock().insert(namespace.to_owned()) {
            let object = json!({ "metadata": { "name": namespace } });
            self.make("/api/v1/namespaces", namespace, &object)?;
        }
        let Some(account) = account else {
            return Ok(());
        };
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let object = json!({ "metadata": { "name": account } });
        let (status, answer) = self.ask(Method::POST, &path, &object)?;
        let is_there = status.is_success() || status == StatusCode::CONFLICT;
        ensure!(is_there, "{path}: {answer}");
        Ok(())
    }

    /// Makes something that is in no namespace; what is there already stays its owner's.
    fn make(&self, path: &str, name: &str, object: &Value) -> anyhow::Result<()> {
        let (status, answer) = self.ask(Method::POST, path, object)?;
        if status.is_success() {
            self.made.lock().push(format!("{path}/{name}"));
        }
        let is_there = status.is_success() || status == StatusCode::CONFLICT;
        ensure!(is_there, "{path}: {answer}");
        Ok(())
    }

    /// See [`crate::Double::put`]: what the object does not say stays as it is.
    pub(crate) fn put(&self, object: &Value) -> anyhow::Result<Value> {
        let mut object = object.clone();
        let kind = text(&object, "/kind").to_owned();
        let served = self.served(text(&object, "/apiVersion"), &kind)?;
        if kind == "CustomResourceDefinition" {
            return self.define(&served, &object);
        }
        self.localize(&kind, &mut object);
        let (namespace, name) = (
            text(&object, "/metadata/namespace"),
            text(&object, "/metadata/name"),
        );
        if served.is_namespaced {
            let account = text(&object, "/spec/serviceAccountName");
            let account = if account.is_empty() {
                "default"
            } else {
                account
            };
            self.need(namespace, (kind == "Pod").then_some(account))?;
        }
        let path = served.path(namespace, name);
        let (status, found) = self.ask(Method::GET, &path, &Value::Null)?;
        let mut put = if status.is_success() {
            let mut change = object.clone();
            if kind == "Pod" {
                // Nothing of it may change but this.
                change = json!({ "metadata": object.get("metadata") });
            }
            drop(found);
            self.must(&Method::PATCH, &path, &change)?
        } else if served.is_namespaced {
            self.must(&Method::POST, &served.path(namespace, ""), &object)?
        } else {
            self.make(&served.path("", ""), name, &object)?;
            object.clone()
        };
        if served.has_status && object.get("status").is_some() {
            let change = json!({ "status": object.get("status") });
            put = self.must(&Method::PATCH, &format!("{path}/status"), &change)?;
        }
        Ok(put)
    }

    /// Definitions are shared with others: they are made where they are missing, and stay.
    fn define(&self, served: &Served, definition: &Value) -> anyhow::Result<Value> {
        let mut ours = definition.clone();
        set(
            &mut ours,
            &["metadata", "labels"],
            json!({ "l7d.io/made-by": "tests" }),
        );
        let (status, answer) = self.ask(Method::POST, &served.path("", ""), &ours)?;
        let is_there = status.is_success() || status == StatusCode::CONFLICT;
        ensure!(is_there, "{answer}");
        let version = format!(
            "{}/{}",
            text(definition, "/spec/group"),
            text(definition, "/spec/versions/0/name")
        );
        self.served(&version, text(definition, "/spec/names/kind"))?;
        Ok(answer)
    }

    /// See [`crate::Double::remove`].
    pub(crate) fn remove(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<bool> {
        let served = self.served(api_version, kind)?;
        let name = if served.is_namespaced {
            name.to_owned()
        } else {
            self.named(name)
        };
        self.delete(&served.path(&self.named(namespace), &name))
    }

    /// Removes something, and waits until it has gone.
    fn delete(&self, path: &str) -> anyhow::Result<bool> {
        let at_once = json!({ "gracePeriodSeconds": 0 });
        let (status, _) = self.ask(Method::DELETE, path, &at_once)?;
        if !path.starts_with("/api/v1/namespaces/") || path.matches('/').count() > 4 {
            while self.ask(Method::GET, path, &Value::Null)?.0.is_success() {
                self.rest()?;
            }
        }
        Ok(status.is_success())
    }

    /// See [`crate::Double::object`].
    pub(crate) fn object(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<Option<Value>> {
        let served = self.served(api_version, kind)?;
        let path = served.path(&self.named(namespace), name);
        let (status, found) = self.ask(Method::GET, &path, &Value::Null)?;
        Ok(status.is_success().then_some(found))
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let made = std::mem::take(&mut *self.made.lock());
        for path in made.iter().rev() {
            // Whoever looks for what is left finds it by its prefix.
            let _gone = self.delete(path);
        }
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
