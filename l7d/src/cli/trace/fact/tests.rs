use serde_json::json;

use super::*;
use crate::story::{Limits, Stories, Story};

fn stories(flows: &[serde_json::Value]) -> Vec<Story> {
    let mut stories = Stories::new(Limits::default());
    let mut told = Vec::new();
    for flow in flows {
        let flow: Flow = serde_json::from_value(flow.clone()).unwrap();
        stories.take(of(&flow).unwrap(), |story| told.push(story));
    }
    stories.finish(|story| told.push(story));
    told
}

fn syn(ends: [(&str, u16); 2], extensions: &serde_json::Value) -> serde_json::Value {
    let [(source, source_port), (destination, destination_port)] = ends;
    json!({
        "time": "2026-03-04T09:15:27.5Z",
        "node_name": "n1",
        "verdict": "FORWARDED",
        "IP": { "source": source, "destination": destination },
        "l4": { "TCP": {
            "source_port": source_port, "destination_port": destination_port, "flags": { "SYN": true },
        } },
        "event_type": { "type": 4, "sub_type": 3 },
        "is_reply": false,
        "extensions": {
            "@type": "type.googleapis.com/google.protobuf.Struct",
            "value": extensions,
        },
    })
}

#[test]
fn both_sides_of_a_translation_are_one_story() {
    let front = json!({
        "connection": "7", "packets": "1", "backend": "10.0.0.2:8080", "backend_pod": "shop/cart",
    });
    let behind = json!({
        "connection": "8", "packets": "1", "service_address": "10.96.0.10:80",
        "client_xlated": "192.0.2.1:61000", "client": "10.0.0.1:4000", "client_pod": "shop/web",
    });
    let told = stories(&[
        syn([("10.0.0.1", 4000), ("10.96.0.10", 80)], &front),
        syn([("192.0.2.1", 61000), ("10.0.0.2", 8080)], &behind),
    ]);
    assert_eq!(told.len(), 1, "{told:#?}");
    let story = &told[0];
    assert_eq!(story.client.shown(), "shop/web:4000");
    assert_eq!(story.server.shown(), "shop/cart:8080");
    assert_eq!(story.service, "10.96.0.10:80".parse().ok());
    assert_eq!(story.client_xlated, "192.0.2.1:61000".parse().ok());
    assert_eq!(story.numbers.values().collect::<Vec<_>>(), [&7, &8]);
}

#[test]
fn what_was_late_in_a_ring_is_told_when_it_happened() {
    let late = json!({ "packets": "1", "late_us": "1500" });
    let told = stories(&[syn([("10.0.0.1", 4000), ("10.0.0.2", 80)], &late)]);
    assert_eq!(told[0].first.to_parts().1, 498_500_000);
}
