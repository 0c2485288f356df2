//! Policies that `kubectl` makes, changes and takes away.

use testbed::Attach;

use super::Cluster;
use crate::node::{curl, serve, wait_until};

const REQUESTS: &str = "
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: requests, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: server } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: \"80\", protocol: TCP } ]
      rules: { http: [ { method: GET, path: /users } ] }
";

const CLOSED: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: prod-app }
spec: { podSelector: { matchLabels: { app: server } }, policyTypes: [ Ingress ] }
";

fn two_pods() -> anyhow::Result<Cluster> {
    Cluster::new(&[("client", Attach::Bridged), ("server", Attach::Routed)])
}

/// What a request to the server is answered with: its status, or curl's exit code.
pub(super) fn answer(cluster: &Cluster, from: &str, path: &str) -> String {
    let server = cluster.node.pod("server");
    let url = format!("http://{}{path}", server.v4);
    let arguments = [
        "--max-time",
        "1",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &url,
    ];
    match curl(&cluster.node.pod(from).host, &arguments) {
        Ok((0, code)) => code,
        Ok((exit, _)) => format!("curl {exit}"),
        Err(error) => error.to_string(),
    }
}

/// Waits for an answer.
pub(super) fn wait_for(cluster: &Cluster, path: &str, wanted: &str) -> anyhow::Result<()> {
    wait_until(|| answer(cluster, "client", path), |code| code == wanted)
}

#[test]
fn kubectl_makes_policies_that_hold_and_takes_them_away() -> anyhow::Result<()> {
    let cluster = two_pods()?;
    cluster.define_cilium()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let _agent = cluster.agent()?;
    assert_eq!(answer(&cluster, "client", "/admin"), "200");

    cluster.apply(REQUESTS)?;
    wait_for(&cluster, "/admin", "403")?;
    assert_eq!(answer(&cluster, "client", "/users"), "200");
    let changed = REQUESTS.replace("/users", "/admin");
    cluster.apply(&changed)?;
    wait_for(&cluster, "/admin", "200")?;
    assert_eq!(answer(&cluster, "client", "/users"), "403");
    cluster.kubectl(&["delete", "-f", "-"], &changed)?;
    wait_for(&cluster, "/users", "200")?;

    cluster.apply(CLOSED)?;
    wait_for(&cluster, "/users", "curl 28")?;
    cluster.kubectl(&["delete", "-f", "-"], CLOSED)?;
    wait_for(&cluster, "/users", "200")?;
    Ok(())
}

#[test]
fn both_ends_of_a_flow_are_named_as_the_cluster_knows_them() -> anyhow::Result<()> {
    let cluster = two_pods()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let _agent = cluster.agent()?;
    let mut told = cluster
        .node
        .follow_only(&["--protocol", "http", "-o", "jsonpb"])?;
    assert_eq!(answer(&cluster, "client", "/users"), "200");
    told.wait_for("http")?;
    let told = told.output();
    let line = told.lines().next().unwrap_or_default();
    let flow: serde_json::Value = serde_json::from_str(line)?;
    let flow = &flow["flow"];
    let namespace = cluster.api.named("prod-app");
    for (end, name) in [("source", "client"), ("destination", "server")] {
        let end = &flow[end];
        assert_eq!(end["namespace"], *namespace, "{flow}");
        assert_eq!(end["pod_name"], name);
        assert_eq!(
            end["workloads"],
            serde_json::json!([{ "name": name, "kind": "Deployment" }])
        );
        let labels = end["labels"].to_string();
        for label in [
            &format!("k8s:app={name}"),
            &format!("k8s:io.cilium.k8s.policy.serviceaccount={name}"),
            "k8s:io.cilium.k8s.namespace.labels.team=shop",
            &format!("k8s:io.kubernetes.pod.namespace={namespace}"),
        ] {
            assert!(labels.contains(label), "{label}: {labels}");
        }
    }
    assert_eq!(flow["node_labels"], serde_json::json!(["zone=a"]));
    let status = cluster.node.l7d("status", &[])?;
    assert!(status.contains("Its policies: in force"), "{status}");
    if cluster.api.is_given() {
        return Ok(());
    }
    assert!(
        status.contains("Known: 2 Pod, 5 Namespace, 1 Node"),
        "{status}"
    );
    assert!(
        status.contains("No such resource: CiliumNetworkPolicy"),
        "{status}"
    );
    Ok(())
}

#[test]
fn what_became_of_policies_stands_at_them() -> anyhow::Result<()> {
    let cluster = two_pods()?;
    cluster.define_cilium()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let _agent = cluster.agent()?;
    cluster.apply(REQUESTS)?;
    wait_for(&cluster, "/admin", "403")?;
    let condition = || {
        let path = "jsonpath={.status.conditions[?(@.type==\"Valid\")]['status','message']}";
        cluster
            .kubectl(
                &["get", "cnp", "-n", "prod-app", "requests", "-o", path],
                "",
            )
            .or_else(|_| {
                let words = ["get", "ciliumnetworkpolicies", "-n", "prod-app", "requests"];
                cluster.kubectl(&[&words[..], &["-o", path]].concat(), "")
            })
            .unwrap_or_else(|error| error.to_string())
    };
    wait_until(condition, |told| told.starts_with("True"))?;

    cluster.apply(&REQUESTS.replace("fromEndpoints", "fromEndpoint"))?;
    wait_until(condition, |told| {
        told.starts_with("False") && told.contains("fromEndpoint")
    })?;
    assert_eq!(
        answer(&cluster, "client", "/admin"),
        "403",
        "the former one holds"
    );
    let events = || {
        cluster
            .kubectl(&["get", "events", "-A", "-o", "json"], "")
            .unwrap_or_else(|error| error.to_string())
    };
    wait_until(events, |told| {
        told.contains("fromEndpoint") && told.contains("Warning")
    })?;
    cluster.apply(REQUESTS)?;
    wait_until(condition, |told| told.starts_with("True"))
}
