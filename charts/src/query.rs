//! Queries of the chart: those of dashboards, and those of alerts.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::Value;

/// An expression of Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Where it stands: dashboard and panel, or the alert.
    pub place: String,
    /// As Prometheus gets it.
    pub expression: String,
}

/// How metrics' names begin.
const PREFIXES: [&str; 5] = [
    "grpc_server_",
    "hubble_",
    "l7d_",
    "networkobservability_",
    "process_",
];

impl Query {
    /// Names of the metrics that it asks for.
    pub fn metrics(&self) -> BTreeSet<&str> {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = self.expression.split(|c| !is_of_name(c));
        let is_metric = |word: &&str| PREFIXES.iter().any(|prefix| word.starts_with(prefix));
        words.filter(is_metric).collect()
    }

    /// Labels that results are told apart by.
    pub fn labels(&self) -> BTreeSet<&str> {
        let groups = self.expression.split("by (").skip(1);
        let groups = groups.filter_map(|rest| rest.split(')').next());
        let labels = groups.flat_map(|group| group.split(", "));
        // Histograms' own, which quantiles take away.
        labels.filter(|label| *label != "le").collect()
    }
}

/// What Grafana puts in the place of its variables; every other one is `All`, which is `.*` here.
const VARIABLES: [(&str, &str); 3] = [
    ("$__rate_interval", "1m"),
    ("$instance", ".*"),
    ("$namespace", ".*"),
];

/// Queries of all panels of all dashboards.
///
/// # Errors
/// A dashboard that cannot be read.
pub fn dashboards() -> anyhow::Result<Vec<Query>> {
    let mut queries = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(crate::folder().join("dashboards"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let board: Value =
            serde_json::from_str(&text).with_context(|| format!("{}", file.display()))?;
        let title = text_of(&board, "title")?;
        for panel in list_of(&board, "panels") {
            let place = format!("{title}: {}", text_of(panel, "title")?);
            for target in list_of(panel, "targets") {
                let mut expression = text_of(target, "expr")?.to_owned();
                for (variable, value) in VARIABLES {
                    expression = expression.replace(variable, value);
                }
                anyhow::ensure!(!expression.contains('$'), "{place}: {expression}");
                let place = place.clone();
                queries.push(Query { place, expression });
            }
        }
    }
    Ok(queries)
}

/// Queries of all alerts.
///
/// # Errors
/// When they cannot be read.
pub fn alerts() -> anyhow::Result<Vec<Query>> {
    let text = std::fs::read_to_string(crate::folder().join("alerts.yaml"))?;
    let rules: Value = serde_saphyr::from_str(&text)?;
    let groups = list_of(&rules, "groups");
    let rules = groups.flat_map(|group| list_of(group, "rules"));
    let queries = rules.map(|rule| {
        Ok(Query {
            place: text_of(rule, "alert")?.to_owned(),
            expression: text_of(rule, "expr")?.to_owned(),
        })
    });
    queries.collect()
}

/// Capabilities of agents, unless somebody says otherwise.
///
/// # Errors
/// When the chart's values cannot be read.
pub fn capabilities() -> anyhow::Result<Vec<String>> {
    let names = default_value("/agent/capabilities")?;
    Ok(serde_json::from_value(names)?)
}

/// What the chart configures of Hubble's metrics, unless somebody says otherwise.
///
/// # Errors
/// When its values cannot be read.
pub fn hubble_metrics() -> anyhow::Result<Value> {
    default_value("/config/metrics/hubble")
}

fn default_value(pointer: &str) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(crate::folder().join("values.yaml"))?;
    let values: Value = serde_saphyr::from_str(&text)?;
    let value = values.pointer(pointer).cloned();
    value.with_context(|| format!("values.yaml has no {pointer}"))
}

fn list_of<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    let list = value.get(name).and_then(Value::as_array);
    list.into_iter().flatten()
}

fn text_of<'v>(value: &'v Value, name: &str) -> anyhow::Result<&'v str> {
    let text = value.get(name).and_then(Value::as_str);
    text.with_context(|| format!("no {name} in {value}"))
}
