//! The server as tests hold it.

mod options;
mod state;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

pub use options::{Bind, Options, Tls};
pub use state::{Asked, User};

pub(crate) use state::Shared;

use crate::access::{self, Permission};
use crate::connection::Running;
use crate::faults::{Misbehaviour, On};
use crate::given::Given;
use crate::kinds;
use crate::refusal::Refusal;
use crate::store::{Name, Snapshot, Store};

/// Names a configuration of a server that tests are to run against, where they can.
const GIVEN: &str = "L7D_TESTS_KUBECONFIG";
/// How long a test waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and the cluster that it serves; everything ends when it is dropped.
pub struct Double {
    shared: Arc<Shared>,
    options: Options,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

impl Double {
    /// Starts a server on loopback, with plain HTTP.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start() -> anyhow::Result<Self> {
        Self::with(Options::default())
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When the address is taken, or the certificate is none.
    pub fn with(options: Options) -> anyhow::Result<Self> {
        Self::before(None, options)
    }

    /// The server that `$L7D_TESTS_KUBECONFIG` names, behind this one's address: what clients ask goes on
    /// to it, and this one still goes away and misbehaves on command. Without the variable, the same as
    /// [`Self::with`].
    ///
    /// Objects in namespaces, nodes, and what pods say of these get names of this double's own there
    /// ([`Self::named`]), and are removed when it is dropped. The server's own facts, versions above all,
    /// cannot be asked for or changed.
    ///
    /// # Errors
    /// When the address is taken, or the configuration is none.
    pub fn given_or(options: Options) -> anyhow::Result<Self> {
        let given = std::env::var_os(GIVEN).map(|path| Given::new(path.as_ref()));
        Self::before(given.transpose().context(GIVEN)?.map(Arc::new), options)
    }

    fn before(given: Option<Arc<Given>>, options: Options) -> anyhow::Result<Self> {
        let tls = options.tls.as_ref().map(options::acceptor).transpose()?;
        let listener = (options.bind.0)(0).context("a listener")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options.bookmarks, given));
        let running = Running::start(listener, tls.clone(), shared.clone())?;
        Ok(Self {
            shared,
            options,
            tls,
            address,
            running: Mutex::new(Some(running)),
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Whether the cluster is another server's.
    pub fn is_given(&self) -> bool {
        self.shared.given.is_some()
    }

    /// What a namespace or node that a test calls so is called in the cluster.
    pub fn named(&self, name: &str) -> String {
        let given = self.shared.given.as_ref();
        given.map_or_else(|| name.to_owned(), |given| given.named(name))
    }

    /// A token by which a user is known.
    pub fn token(&self, user: User) -> String {
        let token = uuid::Uuid::new_v4().to_string();
        self.shared.users.lock().insert(token.clone(), user);
        token
    }

    /// A configuration for clients: with a token, or for who may do everything.
    pub fn kubeconfig(&self, token: Option<&str>) -> String {
        let mut cluster = json!({ "server": self.url() });
        if let Some(tls) = &self.options.tls {
            let authority = STANDARD.encode(&tls.certificate);
            crate::place::set(&mut cluster, &["certificate-authority-data"], authority);
        }
        let user = token.map_or_else(|| json!({}), |token| json!({ "token": token }));
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "double", "cluster": cluster }],
            "users": [{ "name": "double", "user": user }],
            "contexts": [{ "name": "double", "context": { "cluster": "double", "user": "double" } }],
            "current-context": "double",
        });
        format!("{config:#}\n")
    }

    /// Makes or replaces an object with all that it has, `status` too, as kubelets and controllers do.
    ///
    /// # Errors
    /// As the API refuses it; versions are not compared.
    pub fn put(&self, object: &Value) -> Result<Value, Refusal> {
        if let Some(given) = &self.shared.given {
            let put = given.put(object);
            return put.map_err(|error| Refusal::BadRequest(format!("{error:#}")));
        }
        self.shared.change(|store| store.put(object))
    }

    /// Removes an object at once, whatever it demands; says whether it was there.
    pub fn remove(&self, kind: &str, namespace: &str, name: &str) -> bool {
        if let Some(given) = &self.shared.given {
            let removed = given.remove(&api_version(kind), kind, namespace, name);
            return removed.unwrap_or(false);
        }
        self.shared
            .change(|store| store.remove(kind, namespace, name))
            .is_some()
    }

    /// An object as it is; without `apiVersion` and `kind`.
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        if let Some(given) = &self.shared.given {
            let found = given.object(&api_version(kind), kind, namespace, name);
            return found.ok().flatten();
        }
        let store = self.shared.store();
        let resource = store
            .resources()
            .iter()
            .find(|resource| resource.kind == kind)?;
        let name = Name {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Some(store.find(&resource.storage, &name)?.value())
    }

    /// All objects of a kind, in the order of lists.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let store = self.shared.store();
        let resource = store
            .resources()
            .iter()
            .find(|resource| resource.kind == kind);
        let objects = resource
            .into_iter()
            .flat_map(|resource| store.all(&resource.storage));
        objects.map(|(_, object)| object.value()).collect()
    }

    /// Waits until an object is as wanted, and gives it. Not from within a runtime: see [`Self::until`].
    ///
    /// # Errors
    /// After 30 seconds, with what it is.
    pub fn wait_object(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let look = || self.object(kind, namespace, name).filter(&is_wanted);
        let found = wait(self.until(look))?;
        found.with_context(|| {
            let object = self.object(kind, namespace, name);
            format!("{kind} {namespace}/{name} is not as wanted: {object:?}")
        })
    }

    /// Looks again at every write and request until it finds something, for 30 seconds.
    pub async fn until<T>(&self, look: impl Fn() -> Option<T>) -> Option<T> {
        let mut changed = self.shared.changed();
        let ends = tokio::time::Instant::now() + PATIENCE;
        loop {
            drop(changed.borrow_and_update());
            if let Some(found) = look() {
                return Some(found);
            }
            if tokio::time::timeout_at(ends, changed.changed())
                .await
                .is_err()
            {
                return None;
            }
        }
    }

    /// The version of the last write.
    pub fn revision(&self) -> u64 {
        self.shared.store().revision()
    }

    /// Requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn forget_asked(&self) {
        self.shared.asked.lock().clear();
    }

    /// Waits until so many requests have come that are as wanted, those of before among them. Not from
    /// within a runtime: see [`Self::until`].
    ///
    /// # Errors
    /// After 30 seconds, with the last requests.
    pub fn wait_asked(
        &self,
        count: usize,
        is_wanted: impl Fn(&Asked) -> bool,
    ) -> anyhow::Result<()> {
        let came = || {
            self.shared
                .asked
                .lock()
                .iter()
                .filter(|asked| is_wanted(asked))
                .count()
        };
        let found = wait(self.until(|| (came() >= count).then_some(())))?;
        found.with_context(|| {
            let asked = self.asked();
            let last: Vec<&Asked> = asked.iter().rev().take(10).collect();
            format!(
                "{} of {count} such requests; the last ones: {last:#?}",
                came()
            )
        })
    }

    /// What a user has done, of what rules are about.
    pub fn used(&self, user: &User) -> BTreeSet<Permission> {
        self.shared
            .used
            .lock()
            .get(&user.name)
            .cloned()
            .unwrap_or_default()
    }

    /// What the rules that are bound to a user name.
    pub fn granted(&self, user: &User) -> BTreeSet<Permission> {
        access::all_of(&self.shared.store(), user)
    }

    /// Misbehaves from now on: so many times, or until [`Self::behave`].
    pub fn misbehave(&self, on: On, what: Misbehaviour, times: Option<usize>) {
        self.shared.faults.add(on, what, times);
        self.shared.changed.send_replace(());
    }

    /// Behaves again; what has been silenced or cut off stays so.
    pub fn behave(&self) {
        self.shared.faults.lift();
    }

    /// Forgets all former versions: lists and watches that begin there are refused with 410.
    pub fn compact(&self) {
        self.shared.change(Store::compact);
    }

    /// A backup.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.store().snapshot()
    }

    /// Goes back to a backup, and its version with it. All connections are closed, as by the restart of a
    /// real server.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn restore(&self, snapshot: Snapshot) -> anyhow::Result<()> {
        self.stop();
        self.shared.store().restore(snapshot);
        self.resume()
    }

    /// The server goes: nobody listens, and all connections are closed. The cluster stays.
    pub fn stop(&self) {
        drop(self.running.lock().take());
    }

    /// The server comes back, on the same port.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn resume(&self) -> anyhow::Result<()> {
        let mut running = self.running.lock();
        if running.is_none() {
            let listener = (self.options.bind.0)(self.address.port()).context("a listener")?;
            *running = Some(Running::start(
                listener,
                self.tls.clone(),
                self.shared.clone(),
            )?);
        }
        Ok(())
    }
}

/// Of a kind that tests name; definitions are Cilium's.
fn api_version(kind: &str) -> String {
    let built_in = kinds::built_in();
    let known = built_in.iter().find(|known| known.kind == kind);
    let first = known.and_then(|known| {
        let version = known.versions.first()?;
        Some(known.api_version(&version.name))
    });
    first.unwrap_or_else(|| "cilium.io/v2".to_owned())
}

fn wait<T>(waiting: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    Ok(runtime.block_on(waiting))
}
