//! An API server, who follows it, and what that one has been told.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use apiserver_double::{Double, Options, Tls, User};
use l7d::config::Kubernetes;
use l7d::host::cluster::{Kind, Name, Object, Outcomes, Update};
use l7d::kube::{Board, Keepalive, Pauses, Reading, Running, Settings, State, Timeouts, start};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

/// How long a test waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has been told: what an inventory would hold.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) objects: BTreeMap<(Kind, Name), Object>,
    unnamed: BTreeMap<Kind, BTreeSet<Name>>,
    /// Lists that came to their end.
    pub(crate) lists: BTreeMap<Kind, usize>,
    /// Updates of any kind.
    pub(crate) updates: usize,
    /// What names of this test begin with, in a cluster that others use too.
    prefix: String,
}

impl Model {
    fn apply(&mut self, update: Update) {
        self.updates += 1;
        match update {
            Update::ListBegins(kind) => {
                let names = self.objects.keys().filter(|(of, _)| *of == kind);
                let names = names.map(|(_, name)| name.clone()).collect();
                self.unnamed.insert(kind, names);
            }
            Update::ListEnds(kind) => {
                let unnamed = self.unnamed.remove(&kind);
                assert!(unnamed.is_some(), "a list that has begun");
                for name in unnamed.into_iter().flatten() {
                    self.objects.remove(&(kind, name));
                }
                *self.lists.entry(kind).or_default() += 1;
            }
            Update::Deleted(kind, name) => {
                self.name(kind, &name);
                self.objects.remove(&(kind, name));
            }
            Update::Applied(object) => {
                let (kind, name) = about(&object);
                self.name(kind, &name);
                self.objects.insert((kind, name), object);
            }
        }
    }

    fn name(&mut self, kind: Kind, name: &Name) {
        if let Some(unnamed) = self.unnamed.get_mut(&kind) {
            unnamed.remove(name);
        }
    }

    /// Names of a kind's objects, as far as they are of this test.
    pub(crate) fn names(&self, kind: Kind) -> Vec<&str> {
        let keys = self.objects.keys().filter(|(of, _)| *of == kind);
        let own = keys.filter_map(|(_, name)| {
            if name.namespace.is_empty() {
                name.name.strip_prefix(&self.prefix)
            } else {
                let is_own = name.namespace.starts_with(&self.prefix);
                is_own.then_some(&*name.name)
            }
        });
        own.collect()
    }

    /// The value of a pod's label `v`.
    pub(crate) fn version(&self, pod: &str) -> Option<&str> {
        let namespace = format!("{}default", self.prefix);
        match self.objects.get(&(Kind::Pod, Name::new(&namespace, pod)))? {
            Object::Pod(pod) => pod.endpoint.labels.get("v").map(String::as_str),
            _ => None,
        }
    }

    pub(crate) fn lists(&self, kind: Kind) -> usize {
        self.lists.get(&kind).copied().unwrap_or_default()
    }
}

fn about(object: &Object) -> (Kind, Name) {
    let named = |kind, namespace: &str, name: &str| (kind, Name::new(namespace, name));
    match object {
        Object::Pod(pod) => named(Kind::Pod, &pod.endpoint.namespace, &pod.endpoint.name),
        Object::Namespace(name, _) => named(Kind::Namespace, "", name),
        Object::Node(node) => named(Kind::Node, "", &node.name),
        Object::Service(service) => named(Kind::Service, &service.namespace, &service.name),
        Object::EndpointSlice(slice) => (Kind::EndpointSlice, slice.name.clone()),
        Object::Policy(policy) => (policy.kind, policy.name.clone()),
    }
}

/// Who follows a server.
pub(crate) struct Following {
    running: Running,
    pub(crate) outcomes: watch::Sender<Arc<Outcomes>>,
    pub(crate) told: Model,
    _folder: TempDir,
}

/// Everything comes soon.
pub(crate) fn timeouts() -> Timeouts {
    let ms = Duration::from_millis;
    Timeouts {
        connect: ms(1000),
        keepalive: Keepalive {
            first: ms(1000),
            interval: ms(1000),
            tries: 1,
        },
        answer: ms(2000),
        idle: ms(1000),
        watch: (Duration::from_mins(1), Duration::from_mins(2)),
        grace: ms(500),
        first_retry: ms(10),
        retry: ms(100),
        absent: ms(100),
        coming: ms(20),
        telling: Pauses {
            per_node: Duration::ZERO,
            settle: Duration::ZERO,
            pace: ms(10),
        },
    }
}

impl Following {
    pub(crate) fn start(double: &Double) -> anyhow::Result<Self> {
        Self::with(double, None, timeouts())
    }

    /// One that writes nothing.
    pub(crate) fn silent(double: &Double) -> anyhow::Result<Self> {
        Self::new(double, None, timeouts(), false)
    }

    pub(crate) fn with(
        double: &Double,
        token: Option<&str>,
        timeouts: Timeouts,
    ) -> anyhow::Result<Self> {
        Self::new(double, token, timeouts, true)
    }

    fn new(
        double: &Double,
        token: Option<&str>,
        timeouts: Timeouts,
        status: bool,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, double.kubeconfig(token))?;
        let settings = Settings {
            access: Kubernetes {
                kubeconfig: Some(path),
                status,
                ..Kubernetes::default()
            },
            node: "here".to_owned(),
            timeouts,
        };
        let outcomes = watch::Sender::default();
        Ok(Self {
            running: start(settings, outcomes.subscribe())?,
            outcomes,
            told: Model {
                prefix: double.named(""),
                ..Model::default()
            },
            _folder: folder,
        })
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.running.board
    }

    pub(crate) fn reading(&self, kind: Kind) -> Reading {
        let mut readings = self.board().readings();
        readings.retain(|reading| reading.kind == kind);
        readings.remove(0)
    }

    /// Takes what is told until it is as wanted.
    pub(crate) async fn until(&mut self, is_wanted: impl Fn(&Model) -> bool) -> anyhow::Result<()> {
        let waiting = async {
            while !is_wanted(&self.told) {
                let update = self.running.updates.recv().await.context("an update")?;
                self.told.apply(update);
            }
            Ok(())
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_elapsed| {
            anyhow::bail!("{:?}, {:?}", self.told, self.running.board.readings())
        })
    }

    /// Takes what is told until all kinds were told to their end.
    pub(crate) async fn until_whole(&mut self) -> anyhow::Result<()> {
        self.until(|told| Kind::ALL.iter().all(|kind| told.lists(*kind) > 0))
            .await
    }

    /// Takes what is told until the board is as wanted.
    pub(crate) async fn until_reading(
        &mut self,
        kind: Kind,
        is_wanted: impl Fn(&Reading) -> bool,
    ) -> anyhow::Result<()> {
        let ends = tokio::time::Instant::now() + PATIENCE;
        // The board tells nobody that it has changed.
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !is_wanted(&self.reading(kind)) {
            anyhow::ensure!(
                tokio::time::Instant::now() < ends,
                "{:?}",
                self.reading(kind)
            );
            tokio::select! {
                _tick = look.tick() => {}
                update = self.running.updates.recv() => {
                    self.told.apply(update.context("an update")?);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn is_following(&self) -> bool {
        let readings = self.board().readings();
        let mut states = readings.iter().map(|reading| &reading.state);
        states.all(|state| matches!(state, State::Following | State::Absent))
    }
}

/// A server, or the one that the tests are to run against.
pub(crate) fn given_or_start() -> anyhow::Result<Double> {
    Double::given_or(Options::default())
}

pub(crate) fn quick_bookmarks() -> anyhow::Result<Double> {
    Double::with(Options {
        bookmarks: Duration::from_millis(20),
        ..Options::default()
    })
}

pub(crate) fn account() -> User {
    User::service_account("l7d", "l7d")
}

pub(crate) fn pod(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": { "v": version } },
        "spec": { "nodeName": "here", "containers": [{ "name": "c", "image": "i" }] },
        "status": { "phase": "Running", "podIP": "10.0.0.1" },
    })
}

/// A definition as Cilium's are.
pub(crate) fn definition(plural: &str, kind: &str, is_namespaced: bool, version: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.cilium.io") },
        "spec": {
            "group": "cilium.io", "scope": if is_namespaced { "Namespaced" } else { "Cluster" },
            "names": { "plural": plural, "kind": kind },
            "versions": [{
                "name": version, "served": true, "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    "status": { "type": "object", "properties": { "conditions": {
                        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                        "items": { "type": "object", "properties": {
                            "type": { "type": "string" }, "status": { "type": "string" },
                            "reason": { "type": "string" }, "message": { "type": "string" },
                            "lastTransitionTime": { "type": "string", "format": "date-time" },
                        } },
                    }}},
                }}},
            }],
        },
    })
}

/// All of Cilium's resources that are read.
pub(crate) fn define_all(double: &Double) -> anyhow::Result<()> {
    for (plural, kind, is_namespaced) in [
        ("ciliumnetworkpolicies", "CiliumNetworkPolicy", true),
        (
            "ciliumclusterwidenetworkpolicies",
            "CiliumClusterwideNetworkPolicy",
            false,
        ),
        ("ciliumcidrgroups", "CiliumCIDRGroup", false),
    ] {
        double.put(&definition(plural, kind, is_namespaced, "v2"))?;
    }
    Ok(())
}

pub(crate) fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "endpointSelector": {}, "ingress": [{}] },
    })
}

/// Tokens are sent over TLS only.
pub(crate) fn certificate() -> anyhow::Result<Tls> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=double"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(file("key"))
        .arg("-out")
        .arg(file("certificate"))
        .output()
        .context("openssl")?;
    anyhow::ensure!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    Ok(Tls {
        certificate: std::fs::read_to_string(file("certificate"))?,
        key: std::fs::read_to_string(file("key"))?,
    })
}
