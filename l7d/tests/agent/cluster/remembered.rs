//! An agent starts while the API server is away.

use std::path::PathBuf;

use anyhow::Context as _;
use testbed::Attach;

use super::policies::{answer, wait_for};
use super::{Cluster, object};
use crate::node::{Agent, serve, wait_until};

const FROM_CLIENTS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: from-clients, namespace: prod-app }
spec:
  podSelector: { matchLabels: { app: server } }
  ingress: [ { from: [ { podSelector: { matchLabels: { app: client } } } ] } ]
";

/// One may ask the server, the other may not.
pub(super) fn guarded() -> anyhow::Result<Cluster> {
    let cluster = Cluster::new(&[
        ("client", Attach::Bridged),
        ("other", Attach::Bridged),
        ("server", Attach::Bridged),
    ])?;
    cluster.apply(FROM_CLIENTS)?;
    Ok(cluster)
}

pub(super) fn folder(cluster: &Cluster) -> PathBuf {
    cluster.node.world.folder().join("state/cluster")
}

pub(super) fn status(cluster: &Cluster) -> String {
    cluster.node.l7d("status", &[]).unwrap_or_default()
}

/// Ends an agent that has been told everything; what it leaves in the kernel goes too, as by a reboot.
pub(super) fn end(cluster: &Cluster, mut agent: Agent) -> anyhow::Result<()> {
    agent.process.signal(rustix::process::Signal::TERM)?;
    agent.process.wait()?;
    cluster.node.cleanup().map(drop)
}

/// A node that comes up again: it has a folder of state, and its cluster cannot be asked.
fn rebooted(cluster: &Cluster) -> anyhow::Result<()> {
    let agent = cluster.node.agent()?;
    let other = || answer(cluster, "other", "/");
    wait_until(other, |code| code == "curl 28")?;
    assert_eq!(answer(cluster, "client", "/"), "200");
    cluster.api.stop();
    end(cluster, agent)?;
    // Nothing is left.
    wait_until(other, |code| code == "200")
}

#[test]
fn what_was_known_last_holds_from_the_first_packet_until_the_cluster_answers() -> anyhow::Result<()>
{
    let cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    rebooted(&cluster)?;
    let _agent = cluster.node.agent()?;
    assert_eq!(answer(&cluster, "other", "/"), "curl 28");
    assert_eq!(answer(&cluster, "client", "/"), "200");
    let told = status(&cluster);
    assert!(
        told.contains("in force as they were kept on disk, 20"),
        "{told}"
    );
    assert!(told.contains("its API has not told all of Pod"), "{told}");
    let flows = cluster.node.observe(&["--verdict", "DROPPED", "--all"])?;
    let named = format!("{}/other", cluster.api.named("prod-app"));
    assert!(flows.contains(&named), "{flows}");

    // What happened meanwhile is known when it answers: labels that are others, and a pod that is gone.
    cluster.put(&object("other", "client", cluster.node.pod("other")))?;
    assert!(cluster.api.remove("Pod", "prod-app", "client"));
    cluster.api.resume()?;
    let other = || answer(&cluster, "other", "/");
    wait_until(other, |code| code == "200")?;
    wait_for(&cluster, "/", "curl 28")?;
    let told = || status(&cluster);
    wait_until(told, |told| told.contains("Its policies: in force\n"))?;
    assert!(
        cluster
            .api
            .remove("NetworkPolicy", "prod-app", "from-clients")
    );
    wait_for(&cluster, "/", "200")
}

#[test]
fn behind_a_former_agent_the_cluster_is_not_waited_for_long() -> anyhow::Result<()> {
    let mut cluster = guarded()?;
    cluster
        .node
        .amend("kubernetes: {", "kubernetes: { patience: 1s,");
    cluster
        .node
        .configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let mut agent = cluster.node.agent()?;
    wait_until(|| answer(&cluster, "other", "/"), |code| code == "curl 28")?;
    cluster.api.stop();
    agent.process.signal(rustix::process::Signal::TERM)?;
    agent.process.wait()?;
    let mut agent = cluster.node.start_agent()?;
    agent.process.wait_for("what was kept of it at 20")?;
    agent.process.wait_for("l7d: ready")?;
    assert_eq!(answer(&cluster, "other", "/"), "curl 28");
    assert_eq!(answer(&cluster, "client", "/"), "200");
    Ok(())
}

#[test]
fn who_takes_over_while_the_server_is_away_begins_with_what_was_kept_and_keeps_on()
-> anyhow::Result<()> {
    let mut cluster = guarded()?;
    cluster
        .node
        .amend("kubernetes: {", "kubernetes: { patience: 1s,");
    cluster
        .node
        .configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let mut former = cluster.node.agent()?;
    let other = || answer(&cluster, "other", "/");
    wait_until(other, |code| code == "curl 28")?;
    let told = || status(&cluster);
    wait_until(told, |told| told.contains("Kept on disk: "))?;
    cluster.api.stop();
    let mut agent = cluster.node.start_agent()?;
    agent.process.wait_for("what was kept of it at 20")?;
    agent.process.wait_for("took over from the agent")?;
    agent.process.wait_for("l7d: ready")?;
    assert!(former.process.wait()?.success());
    assert_eq!(other(), "curl 28");
    assert_eq!(answer(&cluster, "client", "/"), "200");

    cluster.api.resume()?;
    let name = "from-clients";
    assert!(cluster.api.remove("NetworkPolicy", "prod-app", name));
    wait_until(other, |code| code == "200")?;
    wait_until(told, |told| told.contains("Its policies: in force\n"))?;
    cluster.api.stop();
    end(&cluster, agent)?;
    let _agent = cluster.node.agent()?;
    let told = told();
    assert!(told.contains("in force as they were kept"), "{told}");
    assert_eq!(other(), "200", "the policy is gone, as was kept");
    Ok(())
}

#[test]
fn a_broken_file_is_set_aside_and_told() -> anyhow::Result<()> {
    let cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    rebooted(&cluster)?;
    let file = folder(&cluster).join("NetworkPolicy");
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("a byte")? ^= 1;
    std::fs::write(&file, bytes)?;
    let agent = cluster.node.agent()?;
    let told = status(&cluster);
    let named = format!("Set aside: {}: broken", file.display());
    assert!(told.contains(&named), "{told}");
    assert!(told.contains("not in force yet"), "{told}");
    assert_eq!(answer(&cluster, "other", "/"), "200", "nothing is known");
    let files = std::fs::read_dir(folder(&cluster))?;
    let all = files.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
    let found: Vec<String> = all.collect::<anyhow::Result<_>>()?;
    let is_aside = |name: &String| name.starts_with("NetworkPolicy.set-aside-");
    assert!(found.iter().any(is_aside), "{found:?}");
    assert!(!found.contains(&"NetworkPolicy".to_owned()), "{found:?}");
    // The next one is good again.
    cluster.api.resume()?;
    wait_until(|| answer(&cluster, "other", "/"), |code| code == "curl 28")?;
    cluster.api.stop();
    end(&cluster, agent)?;
    let _agent = cluster.node.agent()?;
    assert_eq!(answer(&cluster, "other", "/"), "curl 28");
    Ok(())
}

#[test]
fn another_nodes_files_are_set_aside() -> anyhow::Result<()> {
    let mut cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    rebooted(&cluster)?;
    let name = cluster.api.named("test-node");
    cluster
        .node
        .amend(&format!("node: {name}"), "node: another");
    cluster
        .node
        .configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    let _agent = cluster.node.agent()?;
    let told = status(&cluster);
    let why = format!("Pod: of node {name} in cluster default");
    assert!(told.contains(&why), "{told}");
    assert_eq!(answer(&cluster, "other", "/"), "200");
    Ok(())
}
