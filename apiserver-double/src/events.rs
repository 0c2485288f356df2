//! Events have two groups and are the same objects: `v1` is how they are kept.

use serde_json::Value;

use crate::place;

/// Names of members in `v1` and in `events.k8s.io/v1`.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("source", "deprecatedSource"),
];

/// As `events.k8s.io/v1` has it.
pub(crate) fn to_newer(event: &mut Value) {
    rename(event, NAMES);
}

/// As it is kept.
pub(crate) fn to_older(event: &mut Value) {
    rename(event, NAMES.map(|(older, newer)| (newer, older)));
}

fn rename(event: &mut Value, names: [(&str, &str); 7]) {
    for (from, to) in names {
        if let Some(value) = place::take(event, &[from]) {
            place::set(event, &[to], value);
        }
    }
}
