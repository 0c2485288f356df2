//! Agents' pods, for the relay.

use std::time::Duration;

use anyhow::Context as _;
use apiserver_double::{Double, User};
use l7d::config::Kubernetes;
use l7d::kube::{Places, Sought};
use l7d::relay::source::{self, Known, Source as _};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cluster::{certificate, timeouts};

fn agent(name: &str, node: &str, ip: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "l7d", "labels": { "app": app } },
        "spec": { "nodeName": node, "hostNetwork": true, "containers": [{ "name": "c", "image": "i" }] },
        "status": { "phase": "Running", "podIP": ip, "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

async fn until(
    known: &mut watch::Receiver<Known>,
    is_wanted: impl Fn(&[String], bool) -> bool,
) -> anyhow::Result<()> {
    let is_wanted = |known: &Known| {
        let peers = known.peers.iter();
        let peers: Vec<String> = peers
            .map(|(name, peer)| format!("{name} {}", peer.address))
            .collect();
        is_wanted(&peers, known.is_current)
    };
    let waiting = known.wait_for(is_wanted);
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    waited.context("too late")?.map(|_| ())?;
    Ok(())
}

#[tokio::test]
async fn the_relay_finds_agents_with_the_rights_of_its_role() -> anyhow::Result<()> {
    let double = Double::with(apiserver_double::Options {
        tls: Some(certificate()?),
        ..apiserver_double::Options::default()
    })?;
    let group = "rbac.authorization.k8s.io/v1";
    let user = User::service_account("l7d", "relay");
    for object in [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "l7d" } }),
        json!({ "apiVersion": group, "kind": "Role", "metadata": { "name": "relay", "namespace": "l7d" },
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"] }] }),
        json!({ "apiVersion": group, "kind": "RoleBinding", "metadata": { "name": "relay", "namespace": "l7d" },
            "roleRef": { "kind": "Role", "name": "relay" },
            "subjects": [{ "kind": "ServiceAccount", "name": "relay", "namespace": "l7d" }] }),
        agent("one", "a", "192.0.2.1", "agent"),
        agent("other", "a", "192.0.2.9", "web"),
    ] {
        double.put(&object)?;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, double.kubeconfig(Some(&double.token(user.clone()))))?;
    let places = Places::follow(Sought {
        access: Kubernetes {
            kubeconfig: Some(path),
            ..Kubernetes::default()
        },
        namespace: Some("l7d".to_owned()),
        labels: "app=agent".to_owned(),
        timeouts: timeouts(),
    })?;
    let source = Box::new(source::Kubernetes {
        places,
        port: 4244,
        cluster: "west".to_owned(),
        has_tls: false,
    });
    let (sender, mut known) = watch::channel(Known::default());
    let following = tokio::spawn(source.follow(sender));
    let both = ["west/a 192.0.2.1:4244", "west/b [2001:db8::2]:4244"];
    until(&mut known, |peers, is_current| {
        peers == &both[..1] && is_current
    })
    .await?;
    double.put(&agent("two", "b", "2001:db8::2", "agent"))?;
    until(&mut known, |peers, _| peers == both).await?;
    double.stop();
    until(&mut known, |peers, is_current| peers == both && !is_current).await?;
    double.resume()?;
    double.remove("Pod", "l7d", "one");
    until(&mut known, |peers, is_current| {
        peers == &both[1..] && is_current
    })
    .await?;
    assert_eq!(double.used(&user), double.granted(&user));
    following.abort();
    Ok(())
}
