//! The rights that docs/kubernetes.md names are those that are needed, and no others.

use std::collections::BTreeSet;

use apiserver_double::{Double, Options, Permission};
use serde_json::{Value, json};

use crate::cluster::{Following, account, certificate, define_all, policy, timeouts};

/// Rules of the agent, as the document lists them.
fn rules() -> Vec<Value> {
    let page = include_str!("../../../docs/kubernetes.md");
    let blocks = page.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    // The relay's come last.
    let blocks: Vec<&str> = blocks.take(2).collect();
    let mut rules = Vec::new();
    for line in blocks.iter().flat_map(|block| block.lines()) {
        let words = |line: &str| -> Vec<String> {
            let list = line.split_once('[').map_or("", |(_, list)| list);
            let list = list.trim_end_matches(']').split(',');
            list.map(|word| word.trim().trim_matches('"').to_owned())
                .collect()
        };
        if line.contains("apiGroups:") {
            rules.push(json!({ "apiGroups": words(line) }));
        }
        for key in ["resources", "verbs"] {
            if let (true, Some(rule)) = (line.contains(&format!("{key}:")), rules.last_mut()) {
                rule[key] = json!(words(line));
            }
        }
    }
    rules
}

#[tokio::test]
async fn the_rights_that_are_documented_are_those_that_are_used() -> anyhow::Result<()> {
    let double = Double::with(Options {
        tls: Some(certificate()?),
        ..Options::default()
    })?;
    define_all(&double)?;
    let group = "rbac.authorization.k8s.io/v1";
    double.put(&json!({
        "apiVersion": group, "kind": "ClusterRole", "metadata": { "name": "l7d" }, "rules": rules(),
    }))?;
    double.put(&json!({
        "apiVersion": group, "kind": "ClusterRoleBinding", "metadata": { "name": "l7d" },
        "roleRef": { "kind": "ClusterRole", "name": "l7d" },
        "subjects": [{ "kind": "ServiceAccount", "name": "l7d", "namespace": "l7d" }],
    }))?;
    double.put(&policy("web"))?;
    double.put(&json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": { "name": "wide" }, "spec": { "endpointSelector": {}, "ingress": [{}] },
    }))?;
    let token = double.token(account());
    let mut agent = Following::with(&double, Some(&token), timeouts())?;
    agent.until_whole().await?;
    agent.outcomes.send_replace(crate::telling::refusals(
        &double,
        &[
            (
                l7d::host::cluster::Kind::CiliumNetworkPolicy,
                "default",
                "web",
            ),
            (
                l7d::host::cluster::Kind::CiliumClusterwideNetworkPolicy,
                "",
                "wide",
            ),
        ],
    ));
    let granted = names(double.granted(&account()));
    let all_used = || {
        // Where something is done does not matter here: rules are for all namespaces.
        let used = names(double.used(&account()));
        (used == granted).then_some(())
    };
    if double.until(all_used).await.is_none() {
        let used = names(double.used(&account()));
        let unused: Vec<&String> = granted.difference(&used).collect();
        let missing: Vec<&String> = used.difference(&granted).collect();
        panic!("documented and not used: {unused:?}; used and not documented: {missing:?}");
    }
    let readings = agent.board().readings();
    assert!(
        readings.iter().all(|reading| reading.failures == 0),
        "{readings:?}"
    );
    assert_eq!(agent.board().writes().failures, 0);
    Ok(())
}

fn names(permissions: BTreeSet<Permission>) -> BTreeSet<String> {
    let permissions = permissions.into_iter();
    permissions
        .map(|permission| {
            let everywhere = Permission {
                namespace: String::new(),
                ..permission
            };
            everywhere.to_string()
        })
        .collect()
}
