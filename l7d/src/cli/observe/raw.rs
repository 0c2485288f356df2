//! Filters as JSON: read from `--allowlist` and `--denylist`, shown by `--print-raw-filters`.

use std::io::{self, Write};

use proto::flow::FlowFilter;
use serde_json::{Map, Value};

use super::filters::Filters;
use crate::cli::suggest;

/// Every field of a filter, by its protobuf name; each is accepted in camel case too.
const FIELDS: &[&str] = &[
    "connection",
    "destination_cluster_name",
    "destination_fqdn",
    "destination_identity",
    "destination_ip",
    "destination_label",
    "destination_pod",
    "destination_port",
    "destination_service",
    "destination_workload",
    "dns_query",
    "drop_reason_desc",
    "encrypted",
    "event_type",
    "experimental",
    "http_header",
    "http_method",
    "http_path",
    "http_status_code",
    "http_url",
    "interface",
    "ip_trace_id",
    "ip_version",
    "node_labels",
    "node_name",
    "protocol",
    "reply",
    "source_cluster_name",
    "source_fqdn",
    "source_identity",
    "source_ip",
    "source_ip_xlated",
    "source_label",
    "source_pod",
    "source_port",
    "source_service",
    "source_workload",
    "tcp_flags",
    "trace_id",
    "traffic_direction",
    "uuid",
    "verdict",
];

/// The fields of those that are messages themselves.
const PARTS: &[(&str, &[&str])] = &[
    ("destination_workload", &["kind", "name"]),
    ("event_type", &["match_sub_type", "sub_type", "type"]),
    ("experimental", &["cel_expression"]),
    ("http_header", &["key", "value"]),
    ("interface", &["index", "name"]),
    ("source_workload", &["kind", "name"]),
    (
        "tcp_flags",
        &["ACK", "CWR", "ECE", "FIN", "NS", "PSH", "RST", "SYN", "URG"],
    ),
];

/// Reads one or more filters that follow each other.
pub fn parse(text: &str) -> Result<Vec<FlowFilter>, String> {
    let mut filters = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let value = value.map_err(|error| error.to_string())?;
        let object = value
            .as_object()
            .ok_or("expected an object like {\"source_pod\":[\"a\"]}")?;
        check(object, FIELDS)?;
        filters.push(serde_json::from_value(value).map_err(|error| error.to_string())?);
    }
    Ok(filters)
}

/// A misspelt field would let everything pass: it must not be skipped.
fn check(object: &Map<String, Value>, fields: &[&str]) -> Result<(), String> {
    for (key, value) in object {
        let Some(field) = fields
            .iter()
            .find(|field| **field == key || camel(field) == *key)
        else {
            let hint = suggest::closest(key, fields.iter().copied())
                .map(|field| format!(", did you mean {field:?}?"));
            return Err(format!("unknown field {key:?}{}", hint.unwrap_or_default()));
        };
        let Some((_, parts)) = PARTS.iter().find(|(name, _)| name == field) else {
            continue;
        };
        let alone = std::slice::from_ref(value);
        let items = value.as_array().map_or(alone, Vec::as_slice);
        items
            .iter()
            .filter_map(Value::as_object)
            .try_for_each(|item| check(item, parts))?;
    }
    Ok(())
}

fn camel(field: &str) -> String {
    let mut upper = false;
    let mut name = String::new();
    for c in field.chars() {
        if c == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            name.push(c.to_ascii_uppercase());
        } else {
            name.push(c);
        }
    }
    name
}

/// Writes filters as a YAML document that `--allowlist` and `--denylist` accept line by line.
pub fn write(out: &mut impl Write, filters: &Filters) -> io::Result<()> {
    if filters.allow.is_empty() && filters.deny.is_empty() {
        return writeln!(out, "{{}}");
    }
    for (name, list) in [("allowlist", &filters.allow), ("denylist", &filters.deny)] {
        if list.is_empty() {
            continue;
        }
        writeln!(out, "{name}:")?;
        for filter in list {
            // Within single quotes YAML knows one escape: the quote itself, doubled.
            let json = serde_json::to_string(filter)?.replace('\'', "''");
            writeln!(out, "    - '{json}'")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_several_filters_in_either_spelling() {
        let filters = parse(r#"{"source_pod":["a"]} {"sourceIp":["::1"]}"#).unwrap();
        assert_eq!(filters[0].source_pod, ["a"]);
        assert_eq!(filters[1].source_ip, ["::1"]);
    }

    #[test]
    fn refuses_a_misspelt_field() {
        assert_eq!(
            parse(r#"{"sourc_pod":["a"]}"#).unwrap_err(),
            r#"unknown field "sourc_pod", did you mean "source_pod"?"#
        );
        assert_eq!(
            parse(r#"{"http_header":[{"ky":"a"}]}"#).unwrap_err(),
            r#"unknown field "ky", did you mean "key"?"#
        );
        assert!(parse(r#"{"event_type":[{"type":1,"subType":2}]}"#).is_ok());
    }

    #[test]
    fn quotes_for_yaml() {
        let allow = vec![FlowFilter {
            http_path: vec!["it's".to_owned()],
            ..FlowFilter::default()
        }];
        let mut out = Vec::new();
        write(
            &mut out,
            &Filters {
                allow,
                deny: Vec::new(),
            },
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "allowlist:\n    - '{\"http_path\":[\"it''s\"]}'\n"
        );
    }
}
