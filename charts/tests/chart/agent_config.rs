//! The configuration that agents get, as they read it.

use l7d::config::{Config, read_config};
use serde_json::{Value, json};

use crate::rendering::{one, refused, rendered_without_keys};

/// The configuration, and what tells whether agents must be started anew.
fn config(values: &Value) -> (Config, String) {
    let documents = rendered_without_keys(values);
    let text = one(&documents, "ConfigMap", "l7d-agent").text("/data/l7d.yaml");
    let config = read_config("l7d.yaml", text);
    let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
    let (metadata, _) = one(&documents, "DaemonSet", "l7d-agent")
        .pod()
        .expect("a pod");
    let sum = &metadata["annotations"]["checksum/config-read-at-start"];
    (config, sum.as_str().unwrap_or_default().to_owned())
}

#[test]
fn the_default_one_is_what_an_agent_in_a_cluster_needs() {
    let (config, _) = config(&json!({}));
    assert!(
        config
            .kubernetes
            .is_some_and(|kubernetes| kubernetes.status)
    );
    assert_eq!(config.datapath.uplinks, l7d::config::Uplinks::Found);
    assert_eq!(config.datapath.pin_dir.to_str(), Some("/host/bpf/l7d"));
    assert_eq!(
        config.datapath.sysctl_dir.to_str(),
        Some("/host/proc/sys/net")
    );
    assert_eq!(config.runtime_dir.to_str(), Some("/run/l7d"));
    assert_eq!(config.state_dir.to_str(), Some("/var/lib/l7d"));
    let tcp = config.api.tcp.expect("a listener");
    assert_eq!(tcp.listen.to_string(), "0.0.0.0:4244");
    assert!(tcp.tls.expect("certificates").client_ca.is_some());
    assert_eq!(config.metrics.listen.expect("metrics").listen.port(), 9965);
    assert_eq!(config.metrics.hubble.len(), 8);
}

#[test]
fn what_a_user_writes_arrives_beside_what_the_chart_writes() {
    let (config, _) = config(&json!({
        "clusterName": "north",
        "listenAddress": "[::]",
        "metrics": { "port": 9000, "tls": { "enabled": true, "clientCertificates": true } },
        "config": {
            "flows": { "ring": 8191, "redact": { "query": true } },
            "exports": [ { "name": "all", "stdout": true } ],
            "host": { "ports": [ { "port": 53, "protocol": "UDP" } ] },
            "datapath": { "uplinks": [ "eth0" ], "hostFirewall": true },
            "kubernetes": { "status": false },
        },
    }));
    assert_eq!(
        (config.cluster.as_str(), config.flows.ring),
        ("north", 8191)
    );
    assert!(config.flows.redact.query && config.datapath.host_firewall);
    assert_eq!(config.exports.len(), 1);
    assert_eq!(
        config.host.cgroup.expect("a hierarchy").to_str(),
        Some("/host/cgroup")
    );
    let metrics = config.metrics.listen.expect("metrics");
    assert_eq!(metrics.listen.to_string(), "[::]:9000");
    assert!(metrics.tls.expect("certificates").client_ca.is_some());
    assert!(
        config
            .kubernetes
            .is_some_and(|kubernetes| !kubernetes.status)
    );
}

#[test]
fn what_follows_from_the_pods_mounts_is_not_for_users_to_write() {
    for (section, key) in [
        ("datapath", "pinDir"),
        ("datapath", "sysctlDir"),
        ("metrics", "listen"),
    ] {
        let said = refused(&json!({ "config": { section: { key: "x" } } }));
        let wanted = format!("config.{section}.{key} is written by the chart");
        assert!(said.contains(&wanted), "{said}");
    }
    for key in ["api", "runtimeDir", "node", "cluster", "flwos"] {
        let said = refused(&json!({ "config": { key: {} } }));
        assert!(
            said.contains(&format!("Additional property {key} is not allowed")),
            "{said}"
        );
    }
}

/// Of each section that changes while an agent runs, and of each that does not, as `agent/reload.rs` has it.
#[test]
fn agents_start_anew_only_for_what_they_read_at_their_start() {
    let (_, before) = config(&json!({}));
    assert_eq!(before.len(), 64);
    let live = [
        json!({ "visibility": [ { "port": 443 } ] }),
        json!({ "exports": [ { "name": "all", "stdout": true } ] }),
        json!({ "nodes": [ { "name": "n" } ] }),
        json!({ "datapath": { "uplinks": [ "eth0" ] } }),
        json!({ "datapath": { "hostFirewall": true } }),
        json!({ "drops": { "netfilterRules": true } }),
        json!({ "flows": { "aggregation": "maximum" } }),
        json!({ "flows": { "reportInterval": "9s" } }),
        json!({ "metrics": { "maxSeries": 9, "hubble": [ "dns" ], "retina": { "node": true } } }),
        json!({ "policies": { "enforcement": "never", "audit": { "node": true } } }),
    ];
    for change in live {
        let (changed, after) = config(&json!({ "config": change }));
        assert_ne!(changed, config(&json!({})).0, "{change}");
        assert_eq!(before, after, "{change}");
    }
    let at_start = [
        json!({ "proxy": { "workers": 2 } }),
        json!({ "flows": { "ring": 8191 } }),
        json!({ "datapath": { "table": 9 } }),
        json!({ "tap": { "requestBytes": 512 } }),
        json!({ "dns": { "minTtl": "1s" } }),
        json!({ "drops": { "recordsPerSecond": 5 } }),
        json!({ "metrics": { "labels": "pod" } }),
        json!({ "kubernetes": { "status": false } }),
        json!({ "host": { "cgroup": "/host/cgroup/kubepods" } }),
    ];
    for change in at_start {
        assert_ne!(before, config(&json!({ "config": change })).1, "{change}");
    }
    let (_, after) = config(&json!({ "agent": { "restartOnChange": false } }));
    assert_eq!(after, "");
}

#[test]
fn an_agent_has_time_to_let_requests_finish() {
    let seconds = |values: Value| {
        let documents = rendered_without_keys(&values);
        let (_, spec) = one(&documents, "DaemonSet", "l7d-agent")
            .pod()
            .expect("a pod");
        spec["terminationGracePeriodSeconds"].as_u64()
    };
    assert_eq!(seconds(json!({})), Some(20));
    assert_eq!(
        seconds(json!({ "config": { "proxy": { "drain": "60s" } } })),
        Some(75)
    );
}

#[test]
fn before_an_uninstall_nodes_are_cleaned_all_at_once() {
    let documents = rendered_without_keys(&json!({ "agent": { "cleanup": true } }));
    let agents = one(&documents, "DaemonSet", "l7d-agent");
    assert_eq!(
        agents.text("/spec/updateStrategy/rollingUpdate/maxUnavailable"),
        "100%"
    );
    let container = agents.at("/spec/template/spec/containers/0");
    assert_eq!(
        container["args"],
        json!(["agent", "--config=/etc/l7d/l7d.yaml", "--cleanup"])
    );
    assert_eq!(container["readinessProbe"], Value::Null);
}
