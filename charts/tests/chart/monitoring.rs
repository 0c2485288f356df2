//! Alerts, dashboards and who scrapes what.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use charts::{alerts, dashboards};
use serde_json::{Value, json};

use crate::rendering::{items, one, rendered_without_keys, texts};

#[test]
fn rules_are_sound_and_arrive_as_they_are_written() {
    let values = json!({ "metrics": { "prometheusRule": { "enabled": true } } });
    let documents = rendered_without_keys(&values);
    let rule = one(&documents, "PrometheusRule", "l7d");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.json");
    // JSON is YAML.
    std::fs::write(&file, rule.at("/spec").to_string()).expect("written");
    let output = Command::new("promtool")
        .args(["check", "rules"])
        .arg(&file)
        .output();
    let output = output.expect("promtool");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let groups = items(rule.at("/spec/groups"));
    let rules: Vec<&Value> = groups.flat_map(|group| items(&group["rules"])).collect();
    let written = alerts().expect("alerts");
    assert_eq!(rules.len(), written.len());
    for (rule, written) in rules.iter().zip(&written) {
        assert_eq!(rule["alert"], written.place.as_str());
        assert_eq!(rule["expr"], written.expression.as_str());
        for annotation in ["summary", "description"] {
            assert!(
                rule["annotations"][annotation].is_string(),
                "{}",
                written.place
            );
        }
    }
}

#[test]
fn alerts_can_be_left_out_and_labelled() {
    let documents = rendered_without_keys(&json!({ "metrics": { "prometheusRule": {
        "enabled": true,
        "labels": { "release": "prometheus" },
        "disabled": [ "L7dWarnings" ],
        "alertLabels": { "team": "net" },
    } } }));
    let rule = one(&documents, "PrometheusRule", "l7d");
    assert_eq!(rule.text("/metadata/labels/release"), "prometheus");
    let text = rule.value.to_string();
    assert!(!text.contains("L7dWarnings") && text.contains("L7dFlowsLost"));
    let labels = rule.at("/spec/groups/0/rules/0/labels");
    assert_eq!(labels, &json!({ "severity": "warning", "team": "net" }));
}

#[test]
fn queries_ask_for_metrics_that_the_documents_list() {
    let read = |name: &str| {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../docs")
            .join(name);
        std::fs::read_to_string(file).expect("a page")
    };
    let pages = read("metrics.md") + &read("relay.md");
    let mut queries = dashboards().expect("dashboards");
    assert!(queries.len() > 100, "{}", queries.len());
    queries.extend(alerts().expect("alerts"));
    for query in queries {
        let asked = query.metrics();
        assert!(!asked.is_empty(), "{query:?}");
        for name in asked {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(
                pages.contains(&format!("`{name}`")),
                "{}: no {name}",
                query.place
            );
        }
    }
}

#[test]
fn dashboards_arrive_whole_and_differ_in_name() {
    let documents =
        rendered_without_keys(&json!({ "metrics": { "dashboards": { "enabled": true } } }));
    let mut names = BTreeSet::new();
    let files = std::fs::read_dir(charts::folder().join("dashboards")).expect("dashboards");
    for file in files {
        let file = file.expect("an entry").path();
        let stem = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a name");
        let map = one(&documents, "ConfigMap", &format!("l7d-dashboard-{stem}"));
        assert_eq!(map.text("/metadata/labels/grafana_dashboard"), "1");
        let text = map.at("/data")[format!("{stem}.json")]
            .as_str()
            .expect("text");
        let written: Value = serde_json::from_str(text).expect("JSON");
        let board: Value =
            serde_json::from_str(&std::fs::read_to_string(&file).expect("read")).expect("JSON");
        assert_eq!(written, board);
        let uid = board["uid"].as_str().expect("a uid");
        assert!(names.insert(uid.to_owned()) && uid.len() <= 40, "{uid}");
        let ids: Vec<_> = items(&board["panels"]).map(|panel| &panel["id"]).collect();
        let distinct: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(ids.len(), distinct.len(), "{uid}");
        for panel in items(&board["panels"]).filter(|panel| panel["type"] != "row") {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{uid}");
        }
    }
    assert_eq!(names.len(), 6);
}

#[test]
fn pods_are_scraped_once_by_monitor_or_by_annotation() {
    let annotation = |values: Value| {
        let documents = rendered_without_keys(&values);
        let (metadata, _) = one(&documents, "DaemonSet", "l7d-agent")
            .pod()
            .expect("a pod");
        metadata["annotations"]["prometheus.io/port"].clone()
    };
    assert_eq!(annotation(json!({})), "9965");
    assert_eq!(
        annotation(json!({ "metrics": { "annotations": false } })),
        Value::Null
    );
    let monitored = json!({ "metrics": { "podMonitor": { "enabled": true } } });
    assert_eq!(annotation(monitored), Value::Null);
    let documents = rendered_without_keys(&json!({ "metrics": {
        "podMonitor": { "enabled": true },
        "tls": { "enabled": true, "clientCertificates": true },
    } }));
    let monitor = one(&documents, "PodMonitor", "l7d-agent");
    let endpoint = monitor.at("/spec/podMetricsEndpoints/0");
    assert_eq!(endpoint["scheme"], "https");
    assert_eq!(endpoint["tlsConfig"]["keySecret"]["name"], "l7d-client-tls");
    let name = endpoint["tlsConfig"]["serverName"]
        .as_str()
        .expect("a name");
    assert_eq!(name, l7d::server::tls_name("default", "metrics"));
    one(&documents, "Certificate", "l7d-client-tls");
    assert_eq!(
        texts(monitor.at("/spec/namespaceSelector/matchNames")),
        ["l7d-system"]
    );
}
