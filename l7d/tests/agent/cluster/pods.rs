//! Pods that come, go, and take each other's addresses.

use serde_json::json;
use testbed::Attach;

use super::policies::{answer, wait_for};
use super::{Cluster, object};
use crate::node::{serve, wait_until};

const FROM_CLIENTS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: from-clients, namespace: prod-app }
spec:
  podSelector: { matchLabels: { app: server } }
  ingress: [ { from: [ { podSelector: { matchLabels: { app: client } } } ] } ]
";

fn guarded() -> anyhow::Result<Cluster> {
    let cluster = Cluster::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    cluster.apply(FROM_CLIENTS)?;
    Ok(cluster)
}

#[test]
fn an_address_means_who_has_it_now() -> anyhow::Result<()> {
    let cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let _agent = cluster.node.agent()?;
    wait_for(&cluster, "/", "200")?;
    let client = cluster.node.pod("client");

    assert!(cluster.api.remove("Pod", "prod-app", "client"));
    cluster.put(&object("intruder", "intruder", client))?;
    wait_for(&cluster, "/", "curl 28")?;
    // The new one is told before the old one has gone.
    cluster.put(&object("client-2", "client", client))?;
    assert!(cluster.api.remove("Pod", "prod-app", "intruder"));
    wait_for(&cluster, "/", "200")?;
    // One that has ended has no address any more, whatever its object says.
    let mut ended = object("client-2", "client", client);
    ended["status"]["phase"] = json!("Succeeded");
    cluster.put(&ended)?;
    wait_for(&cluster, "/", "curl 28")
}

#[test]
fn labels_of_pods_and_namespaces_decide_at_once() -> anyhow::Result<()> {
    let cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let _agent = cluster.node.agent()?;
    wait_for(&cluster, "/", "200")?;
    cluster.kubectl(
        &[
            "label",
            "pod",
            "-n",
            "prod-app",
            "client",
            "app=other",
            "--overwrite",
        ],
        "",
    )?;
    wait_for(&cluster, "/", "curl 28")?;
    cluster.apply(&FROM_CLIENTS.replace(
        "podSelector: { matchLabels: { app: client } } }",
        "namespaceSelector: { matchLabels: { team: shop } } }",
    ))?;
    wait_for(&cluster, "/", "200")?;
    cluster.kubectl(
        &[
            "label",
            "namespace",
            "prod-app",
            "team=books",
            "--overwrite",
        ],
        "",
    )?;
    wait_for(&cluster, "/", "curl 28")
}

#[test]
fn a_pods_interface_is_found_by_its_addresses_when_it_comes() -> anyhow::Result<()> {
    let cluster = guarded()?;
    let server = cluster.node.pod("server");
    let _server = serve(&server.host, 80)?;
    assert!(cluster.api.remove("Pod", "prod-app", "server"));
    let _agent = cluster.node.agent()?;
    cluster.wait_hooked(1)?;
    cluster.put(&object("server", "server", server))?;
    cluster.wait_hooked(2)?;
    assert_eq!(answer(&cluster, "client", "/"), "200");
    cluster.put(&object("client", "other", cluster.node.pod("client")))?;
    wait_for(&cluster, "/", "curl 28")
}

#[test]
fn a_new_pod_is_closed_before_its_first_packet_where_that_is_wanted() -> anyhow::Result<()> {
    let mut cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    cluster
        .node
        .amend("policies: {", "policies: { newPods: closed,");
    cluster
        .node
        .configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    let _agent = cluster.agent()?;
    wait_for(&cluster, "/", "200")?;

    let late = cluster.node.world.pod("late", Attach::Routed)?;
    let name = late.interface.clone();
    cluster.node.pods.push(late);
    cluster.wait_status(&format!("(policies.newPods): {name}"))?;
    assert_eq!(answer(&cluster, "late", "/"), "curl 28");
    let told = cluster.node.observe(&["--verdict", "DROPPED", "--all"])?;
    let address = &cluster.node.pod("late").v4;
    let is_his = |line: &&str| line.contains(&**address) && line.contains("Policy denied");
    assert!(told.lines().any(|line| is_his(&line)), "{told}");
    assert_eq!(
        answer(&cluster, "client", "/"),
        "200",
        "others are as open as before"
    );

    cluster.put(&object("late", "client", cluster.node.pod("late")))?;
    wait_until(|| answer(&cluster, "late", "/"), |code| code == "200")?;
    let status = || cluster.node.l7d("status", &[]).unwrap_or_default();
    wait_until(status, |told| !told.contains("policies.newPods"))?;
    // Its object goes before its namespace does.
    assert!(cluster.api.remove("Pod", "prod-app", "late"));
    wait_until(|| answer(&cluster, "late", "/"), |code| code == "curl 28")
}
