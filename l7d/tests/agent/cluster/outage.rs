//! The API server goes away and comes back.

use testbed::Attach;

use super::Cluster;
use super::policies::{answer, wait_for};
use crate::node::{serve, wait_until};

const CLOSED: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: prod-app }
spec: { podSelector: { matchLabels: { app: server } }, policyTypes: [ Ingress ] }
";

fn closed() -> anyhow::Result<Cluster> {
    let cluster = Cluster::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    cluster.apply(CLOSED)?;
    Ok(cluster)
}

#[test]
fn what_was_known_last_holds_while_the_server_is_away() -> anyhow::Result<()> {
    let cluster = closed()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let _agent = cluster.node.agent()?;
    wait_for(&cluster, "/", "curl 28")?;
    cluster.api.stop();
    let status = || cluster.node.l7d("status", &[]).unwrap_or_default();
    wait_until(status, |told| told.contains("Away: NetworkPolicy, since"))?;
    assert_eq!(answer(&cluster, "client", "/"), "curl 28");

    assert!(cluster.api.remove("NetworkPolicy", "prod-app", "closed"));
    cluster.api.resume()?;
    wait_for(&cluster, "/", "200")?;
    wait_until(status, |told| !told.contains("Away:"))
}

#[test]
fn a_restart_without_the_server_opens_nothing() -> anyhow::Result<()> {
    let cluster = closed()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let mut agent = cluster.node.agent()?;
    wait_for(&cluster, "/", "curl 28")?;
    cluster.api.stop();
    agent.process.signal(rustix::process::Signal::TERM)?;
    agent.process.wait()?;
    assert_eq!(answer(&cluster, "client", "/"), "curl 28");

    std::fs::remove_dir_all(cluster.node.world.folder().join("state"))?;
    let mut agent = cluster.node.start_agent()?;
    agent
        .process
        .wait_for("the kernel enforces what the former agent has left")?;
    assert_eq!(answer(&cluster, "client", "/"), "curl 28");
    cluster.api.resume()?;
    agent.process.wait_for("l7d: ready")?;
    assert_eq!(answer(&cluster, "client", "/"), "curl 28");
    assert!(cluster.api.remove("NetworkPolicy", "prod-app", "closed"));
    wait_for(&cluster, "/", "200")
}

#[test]
fn an_agent_is_of_use_before_the_cluster_is_known() -> anyhow::Result<()> {
    let cluster = closed()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    cluster.api.stop();
    let _agent = cluster.node.agent()?;
    assert_eq!(answer(&cluster, "client", "/"), "200");
    let status = cluster.node.l7d("status", &[])?;
    assert!(
        status.contains("the cluster's policies are not in force yet"),
        "{status}"
    );
    cluster.api.resume()?;
    wait_for(&cluster, "/", "curl 28")
}
