//! A memory budget that is too small, and one that is large again.
#![expect(clippy::indexing_slicing, reason = "JSON that lacks something is null")]

use serde_json::Value;
use testbed::Attach;

use crate::node::{Node, curl, serve, wait_until};

const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: shop, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: server } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: "81", protocol: TCP } ]
      rules: { http: [ { method: GET, path: "/open" } ] }
    - ports: [ { port: "80", protocol: TCP } ]
"#;
const WATCHED: &str = "visibility: [ { port: 80, mode: proxy } ]\n";

fn status(node: &Node) -> anyhow::Result<Value> {
    let text = node.l7d("status", &["-o", "json"])?;
    Ok(serde_json::from_str(&text)?)
}

/// Steps that the status tells until it tells `last`, each once.
fn steps(node: &Node, last: u64) -> anyhow::Result<Vec<u64>> {
    let mut seen = Vec::new();
    wait_until(
        || {
            let step = status(node).map(|told| told["l7d"]["memory"]["step"].as_u64());
            if let Ok(Some(step)) = step
                && seen.last() != Some(&step)
            {
                seen.push(step);
            }
            seen.clone()
        },
        |seen| seen.last() == Some(&last),
    )?;
    Ok(seen)
}

/// Headers of requests for this path, as flows have them.
fn headers(node: &Node, path: &str) -> anyhow::Result<usize> {
    let mut found = 0;
    wait_until(
        || {
            let told = node.observe(&["--all", "--http-path", path, "-o", "json"])?;
            let flows = told.lines().map(serde_json::from_str::<Value>);
            let flows = flows.collect::<Result<Vec<_>, _>>()?;
            found = flows
                .iter()
                .filter_map(|flow| flow["flow"]["l7"]["http"]["headers"].as_array())
                .map(Vec::len)
                .sum();
            anyhow::Ok(flows.len())
        },
        |count| count.as_ref().is_ok_and(|count| *count >= 2),
    )?;
    Ok(found)
}

fn request(node: &Node, port: u16, path: &str) -> anyhow::Result<String> {
    let server = &node.pod("server").v4;
    let url = format!("http://{server}:{port}{path}");
    let (_, answer) = curl(&node.pod("client").host, &["-H", "X-Shop: hats", &url])?;
    Ok(answer)
}

/// Memory that somebody needs: a step is taken back as soon as there is room, and no sooner.
#[test]
fn a_small_budget_costs_detail_step_by_step_and_never_enforcement() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    node.policy(POLICY)?;
    let host = &node.pod("server").host;
    let _servers = [serve(host, 80)?, serve(host, 81)?];
    let _agent = node.agent()?;
    request(&node, 80, "/before")?;
    assert!(headers(&node, "/before")? > 2);
    let told = status(&node)?;
    let memory = &told["l7d"]["memory"];
    assert!(memory["process"].as_u64() > Some(1 << 20), "{memory}");
    // The kernel's rings alone take more.
    assert!(memory["maps"].as_u64() > Some(8 << 20), "{memory}");
    assert_eq!(
        (&memory["givenUp"], &memory["budget"]),
        (&"none".into(), &Value::Null)
    );

    node.configure(&format!("{WATCHED}memoryBudget: 8MiB\n"))?;
    assert_eq!(steps(&node, 4)?, [0, 1, 2, 3, 4]);
    let told = status(&node)?;
    let agent = &told["l7d"];
    assert_eq!(agent["memory"]["givenUp"], "l7-detail");
    assert_eq!(agent["aggregation"], "maximum");
    assert_eq!(agent["flowBytesMax"], 4 << 20);
    assert!(
        node.l7d("status", &[])?
            .contains("given up: l7-detail (4 of 4)")
    );
    assert!(
        agent["warnings"].to_string().contains("memory is short"),
        "{agent}"
    );

    let mut flows = node.follow()?;
    request(&node, 80, "/unread")?;
    flows.wait_for("memory is short")?;
    assert!(request(&node, 81, "/open")?.ends_with("200"));
    assert!(request(&node, 81, "/closed")?.ends_with("403"));
    assert_eq!(headers(&node, "/open")?, 0);

    node.configure(&format!("{WATCHED}memoryBudget: 64GiB\n"))?;
    assert_eq!(steps(&node, 0)?, [4, 3, 2, 1, 0]);
    let told = status(&node)?;
    assert_eq!(told["l7d"]["aggregation"], "medium");
    assert_eq!(told["l7d"]["flowBytesMax"], 16 << 20);
    assert_eq!(told["l7d"]["memory"]["steps"], 4);
    request(&node, 80, "/after")?;
    assert!(headers(&node, "/after")? > 2);
    Ok(())
}
