//! What users see of the chart: values, their schema, and what helm says.

use std::collections::BTreeSet;

use charts::Helm;
use serde_json::{Value, json};

use crate::rendering::{refused, rendered_without_keys};

fn read(name: &str) -> String {
    std::fs::read_to_string(charts::folder().join(name)).expect("a file of the chart")
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    let helm = Helm::find().expect("helm");
    let chart = charts::folder().display().to_string();
    let output = helm
        .run(&["lint", "--strict", &chart], "")
        .expect("helm runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("WARNING"), "{said}");
}

#[test]
fn keys_that_are_not_there_are_refused_wherever_they_stand() {
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).expect("YAML");
    let mut places = Vec::new();
    collect("", &values, &mut places);
    assert!(places.len() > 30, "{places:?}");
    for place in places {
        let mut values = json!({ "misspelt": 1 });
        for name in place.rsplit('.').filter(|name| !name.is_empty()) {
            values = json!({ name: values });
        }
        let said = refused(&values);
        assert!(
            said.contains("Additional property misspelt is not allowed"),
            "{place}: {said}"
        );
    }
}

/// Mappings whose keys are the chart's; those with keys of the user's are left out.
fn collect(path: &str, value: &Value, into: &mut Vec<String>) {
    const FREE: [&str; 10] = [
        "labels",
        "annotations",
        "commonLabels",
        "commonAnnotations",
        "podLabels",
        "podAnnotations",
        "nodeSelector",
        "requests",
        "limits",
        "alertLabels",
    ];
    let Value::Object(entries) = value else {
        return;
    };
    let name = path.rsplit('.').next().unwrap_or_default();
    // Sections of the agent's configuration are the agent's to judge.
    let is_passed_on = path.starts_with("config.") && path != "config.kubernetes";
    if FREE.contains(&name) || is_passed_on {
        return;
    }
    into.push(path.to_owned());
    for (name, value) in entries {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        collect(&path, value, into);
    }
}

/// Every key of the file has a comment above it or above the mapping that it is in, and the schema knows it.
#[test]
fn every_value_is_in_the_schema_and_the_other_way_round() {
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).expect("YAML");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("JSON");
    let mut faults = BTreeSet::new();
    compare("", &values, &schema, &schema, &mut faults);
    assert!(faults.is_empty(), "{faults:#?}");
}

fn compare(path: &str, values: &Value, of: &Value, root: &Value, faults: &mut BTreeSet<String>) {
    let of = match of["$ref"].as_str() {
        Some(to) => root
            .pointer(to.trim_start_matches('#'))
            .expect("a definition"),
        None => of,
    };
    let (Some(entries), Some(known)) = (values.as_object(), of["properties"].as_object()) else {
        return;
    };
    for (name, value) in entries {
        match known.get(name) {
            Some(of) => compare(&format!("{path}.{name}"), value, of, root, faults),
            None if of["additionalProperties"] == false => {
                faults.insert(format!("{path}.{name} is not in the schema"));
            }
            None => {}
        }
    }
    // A mapping of nothing has keys of which none has a default; `global` is helm's.
    if !entries.is_empty() && path.split('.').nth(1) != Some("config") {
        for name in known.keys().filter(|name| !entries.contains_key(*name)) {
            let is_optional = [
                "global",
                "claims",
                "initialDelaySeconds",
                "localhostProfile",
                "maxSurge",
            ]
            .contains(&name.as_str());
            if !is_optional {
                faults.insert(format!("{path}.{name} is not in values.yaml"));
            }
        }
    }
}

#[test]
fn the_image_is_the_charts_version_unless_somebody_says_otherwise() {
    let image = |values: Value| {
        let documents = rendered_without_keys(&values);
        let agent = documents
            .iter()
            .find(|document| document.kind() == "DaemonSet");
        let (_, spec) = agent.and_then(|agent| agent.pod()).expect("a pod");
        spec["containers"][0]["image"]
            .as_str()
            .expect("an image")
            .to_owned()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(json!({})), format!("ghcr.io/l7d/l7d:{version}"));
    let digest = format!("sha256:{}", "0".repeat(64));
    let given = json!({ "image": { "repository": "registry.example/l7d", "digest": digest } });
    assert_eq!(image(given), format!("registry.example/l7d@{digest}"));
    let chart: Value = serde_saphyr::from_str(&read("Chart.yaml")).expect("YAML");
    assert_eq!(chart["appVersion"], version);
}

#[test]
fn pods_of_another_version_of_the_chart_alone_are_not_started_anew() {
    for document in rendered_without_keys(&json!({})) {
        if let Some((metadata, _)) = document.pod().filter(|_| document.kind() != "Pod") {
            let labels = metadata["labels"].as_object().expect("labels");
            assert!(!labels.contains_key("helm.sh/chart"), "{}", document.name());
            assert!(
                !labels.contains_key("app.kubernetes.io/version"),
                "{}",
                document.name()
            );
        }
    }
}
