//! Retina's metrics: its `MetricsConfiguration`, and whether there are those of the node.

use policy_l7::yaml::{Cursor, Map, Reader};

use super::values::{items, section, texts};
use crate::config::{Retina, RetinaKind, RetinaLabel, RetinaMetric};

pub(super) fn retina(reader: &mut Reader, map: &mut Map<'_>, retina: &mut Retina) {
    if let Some(node) = map.get("node").and_then(|at| reader.boolean(&at)) {
        retina.node = node;
    }
    let remote = map.get("remoteContext");
    if let Some(remote) = remote.and_then(|at| reader.boolean(&at)) {
        retina.has_remote_context = remote;
    }
    for item in items(reader, map, "contextOptions") {
        let Some(metric) = metric(reader, &item) else {
            continue;
        };
        if retina.pods.iter().any(|other| other.kind == metric.kind) {
            reader.fault(&item, "this metric is there twice");
        }
        retina.pods.push(metric);
    }
    section(reader, map, "namespaces", |reader, map| {
        retina.include = texts(reader, map, "include").unwrap_or_default();
        retina.exclude = texts(reader, map, "exclude").unwrap_or_default();
    });
}

fn metric(reader: &mut Reader, at: &Cursor<'_>) -> Option<RetinaMetric> {
    let mut map = reader.map(at)?;
    let kind = map.need(reader, "metricName");
    let kind = kind.and_then(|at| reader.choice(&at, &RetinaKind::NAMES));
    let source = labels(reader, &mut map, "sourceLabels");
    let destination = labels(reader, &mut map, "destinationLabels");
    let mut has_is_reply = false;
    for item in items(reader, &mut map, "additionalLabels") {
        has_is_reply |= reader.choice(&item, &[("is_reply", ())]).is_some();
    }
    map.end(reader);
    Some(RetinaMetric {
        kind: kind?,
        source,
        destination,
        has_is_reply,
    })
}

fn labels(reader: &mut Reader, map: &mut Map<'_>, name: &'static str) -> Vec<RetinaLabel> {
    let items = items(reader, map, name);
    let mut labels: Vec<RetinaLabel> = items
        .iter()
        .filter_map(|item| reader.choice(item, &RetinaLabel::NAMES))
        .collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}
