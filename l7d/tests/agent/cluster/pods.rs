//! Pods that come, go, and take each other's addresses.

use serde_json::json;
use testbed::Attach;

use super::policies::{answer, wait_for};
use super::{Cluster, object};
use crate::node::{curl, serve, wait_until};

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

/// A second network of a pod, as a plug-in beside the first one's makes it.
fn add_interface(cluster: &Cluster, pod: &str, address: &str) -> anyhow::Result<()> {
    let name = format!("{pod}-second");
    let host = &cluster.node.pod(pod).host;
    let node = cluster.node.world.node();
    let namespace = host.namespace();
    node.ip(&format!(
        "link add {name} type veth peer name net1 netns {namespace}"
    ))?;
    node.ip(&format!("link set {name} master cni0 up"))?;
    host.ip(&format!("addr add {address}/24 dev net1"))?;
    host.ip("link set net1 up")
}

/// What a request from one address to another is answered with.
fn answer_between(cluster: &Cluster, from: (&str, &str), to: &str) -> String {
    let url = format!("http://{to}/");
    let words = [
        "--max-time",
        "1",
        "--interface",
        from.1,
        "-o",
        "/dev/null",
        &url,
    ];
    match curl(&cluster.node.pod(from.0).host, &words) {
        Ok((0, code)) => code,
        Ok((exit, _)) => format!("curl {exit}"),
        Err(error) => error.to_string(),
    }
}

const SECOND_OF_SERVER: &str = "10.244.1.200";
const SECOND_OF_CLIENT: &str = "10.244.1.201";

#[test]
fn an_interface_of_which_nobody_tells_is_its_pods_and_its_address_is_the_worlds()
-> anyhow::Result<()> {
    let cluster = guarded()?;
    cluster.put(&object("client", "other", cluster.node.pod("client")))?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    add_interface(&cluster, "server", SECOND_OF_SERVER)?;
    let _agent = cluster.node.agent()?;
    cluster.wait_status("Endpoints: 2, 4 interfaces hooked")?;
    let client = ("client", &*cluster.node.pod("client").v4);
    assert_eq!(
        answer_between(&cluster, client, SECOND_OF_SERVER),
        "curl 28",
        "the server's policy holds there too"
    );
    let told = cluster.node.observe(&["--verdict", "DROPPED", "--all"])?;
    let denied = format!("{SECOND_OF_SERVER}:80");
    let by_policy = |line: &&str| line.contains(&denied) && line.contains("/from-clients");
    assert!(told.lines().any(|line| by_policy(&line)), "{told}");
    cluster.put(&object("client", "client", cluster.node.pod("client")))?;
    let answered = || answer_between(&cluster, client, SECOND_OF_SERVER);
    wait_until(answered, |code| code == "200")?;

    add_interface(&cluster, "client", SECOND_OF_CLIENT)?;
    cluster.wait_status("Endpoints: 2, 5 interfaces hooked")?;
    let second = ("client", SECOND_OF_CLIENT);
    let to = &cluster.node.pod("server").v4;
    assert_ne!(answer_between(&cluster, second, to), "200");
    Ok(())
}

#[test]
fn addresses_that_multus_writes_are_a_pods_where_that_is_wanted() -> anyhow::Result<()> {
    let mut cluster = guarded()?;
    cluster
        .node
        .amend("kubernetes: {", "kubernetes: { networkStatus: true,");
    cluster
        .node
        .configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    add_interface(&cluster, "client", SECOND_OF_CLIENT)?;
    let _agent = cluster.node.agent()?;
    cluster.wait_status("Endpoints: 2, 4 interfaces hooked")?;
    let second = ("client", SECOND_OF_CLIENT);
    let to = &cluster.node.pod("server").v4;
    assert_ne!(answer_between(&cluster, second, to), "200");
    let mut annotated = object("client", "client", cluster.node.pod("client"));
    let networks = json!([
        { "name": "cni0", "interface": "eth0", "ips": [cluster.node.pod("client").v4], "default": true },
        { "name": "prod-app/second", "interface": "net1", "ips": [SECOND_OF_CLIENT] },
    ]);
    annotated["metadata"]["annotations"] =
        json!({ "k8s.v1.cni.cncf.io/network-status": networks.to_string() });
    cluster.put(&annotated)?;
    wait_until(
        || answer_between(&cluster, second, to),
        |code| code == "200",
    )?;
    let told = cluster
        .node
        .observe(&["--from-ip", SECOND_OF_CLIENT, "--all"])?;
    let named = format!("{}/client", cluster.api.named("prod-app"));
    assert!(told.contains(&named), "{told}");
    Ok(())
}
