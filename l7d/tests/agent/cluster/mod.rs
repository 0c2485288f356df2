//! A node of a cluster without a kubelet: pods are namespaces, the API server is a double, policies come
//! from `kubectl`. Where `L7D_TESTS_KUBECONFIG` names a configuration, the objects are in its cluster, and the
//! double only stands before it.

mod disks;
mod outage;
mod pods;
mod policies;
mod remembered;

use std::io::Write as _;
use std::process::Stdio;

use anyhow::Context as _;
use apiserver_double::{Bind, Double, Options};
use serde_json::{Value, json};
use testbed::{Attach, Pod};

use crate::node::{Agent, Node, wait_until};

const NAMESPACE: &str = "prod-app";

/// A node, and the API that its agent follows.
pub(super) struct Cluster {
    pub(super) node: Node,
    pub(super) api: Double,
}

impl Cluster {
    /// Pods that the API knows, each labelled `app: NAME`, and no policy.
    pub(super) fn new(pods: &[(&str, Attach)]) -> anyhow::Result<Self> {
        let mut node = Node::new(pods)?;
        let host = node.world.node().namespace().to_owned();
        let bind = move |port| {
            let host = std::fs::File::open(format!("/run/netns/{host}"))?;
            listen_in(&host, port)
        };
        let api = Double::given_or(Options {
            bind: Bind::by(0, bind),
            ..Options::default()
        })?;
        let kubeconfig = node.world.folder().join("kubeconfig");
        std::fs::write(&kubeconfig, api.kubeconfig(None))?;
        node.amend(
            "node: test-node",
            &format!("node: {}", api.named("test-node")),
        );
        node.follow_cluster(&kubeconfig)?;
        let cluster = Self { node, api };
        cluster.put(&json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "test-node", "labels": { "zone": "a" } },
            "status": { "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }] },
        }))?;
        cluster.put(&json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": NAMESPACE, "labels": { "team": "shop" } },
        }))?;
        for pod in &cluster.node.pods {
            cluster.put(&object(&pod.name, &pod.name, pod))?;
        }
        Ok(cluster)
    }

    pub(super) fn put(&self, object: &Value) -> anyhow::Result<()> {
        self.api
            .put(object)
            .map(drop)
            .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
    }

    /// An agent that has found all pods' interfaces.
    pub(super) fn agent(&self) -> anyhow::Result<Agent> {
        let agent = self.node.agent()?;
        self.wait_hooked(self.node.pods.len())?;
        Ok(agent)
    }

    /// Waits until the interfaces of that many pods are hooked, beside the uplink.
    pub(super) fn wait_hooked(&self, pods: usize) -> anyhow::Result<()> {
        let hooked = pods + 1;
        self.wait_status(&format!("Endpoints: {pods}, {hooked} interfaces hooked"))
    }

    /// Waits until `l7d status` says something.
    pub(super) fn wait_status(&self, wanted: &str) -> anyhow::Result<()> {
        let status = || self.node.l7d("status", &[]).unwrap_or_default();
        wait_until(status, |told| told.contains(wanted))
    }

    /// Runs `kubectl`; the input is what `-f -` reads.
    pub(super) fn kubectl(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let folder = self.node.world.folder();
        let named = self.api.named(NAMESPACE);
        let mut command = self.node.world.node().command("kubectl");
        command
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .env("HOME", folder)
            .args(arguments.iter().map(|word| word.replace(NAMESPACE, &named)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("kubectl")?;
        let mut stdin = child.stdin.take().context("its input")?;
        stdin.write_all(input.replace(NAMESPACE, &named).as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        anyhow::ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes or changes a policy.
    pub(super) fn apply(&self, policy: &str) -> anyhow::Result<()> {
        self.kubectl(&["apply", "--validate=false", "-f", "-"], policy)
            .map(drop)
    }

    /// Defines Cilium's policies, as its operator does.
    pub(super) fn define_cilium(&self) -> anyhow::Result<()> {
        for (plural, kind, scope) in [
            ("ciliumnetworkpolicies", "CiliumNetworkPolicy", "Namespaced"),
            (
                "ciliumclusterwidenetworkpolicies",
                "CiliumClusterwideNetworkPolicy",
                "Cluster",
            ),
            ("ciliumcidrgroups", "CiliumCIDRGroup", "Cluster"),
        ] {
            self.put(&json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": format!("{plural}.cilium.io") },
                "spec": {
                    "group": "cilium.io", "scope": scope,
                    "names": { "plural": plural, "kind": kind },
                    "versions": [{
                        "name": "v2", "served": true, "storage": true,
                        "schema": { "openAPIV3Schema": {
                            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        } },
                        "subresources": { "status": {} },
                    }],
                },
            }))?;
        }
        Ok(())
    }
}

/// A pod's object as kubelets leave it.
pub(super) fn object(name: &str, app: &str, pod: &Pod) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": { "app": app, "pod-template-hash": "7d4b9" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-7d4b9"),
                "uid": "0b8c7a52-6f4e-4a6e-9a57-0d4a0f0f7d11", "controller": true,
            }],
        },
        "spec": {
            "nodeName": "test-node", "serviceAccountName": app,
            "containers": [{ "name": "app", "image": "none", "ports": [{ "name": "http", "containerPort": 80 }] }],
        },
        "status": {
            "phase": "Running", "hostIP": "192.0.2.1", "podIP": pod.v4,
            "podIPs": [{ "ip": pod.v4 }, { "ip": pod.v6 }],
        },
    })
}

/// A listener on a network namespace's loopback.
fn listen_in(host: &std::fs::File, port: u16) -> std::io::Result<std::net::TcpListener> {
    use std::os::fd::AsFd as _;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(host.as_fd(), kind)?;
            std::net::TcpListener::bind(("127.0.0.1", port))
        });
        thread
            .join()
            .unwrap_or_else(|_panic| Err(std::io::Error::other("whoever was to listen panicked")))
    })
}
