//! A flow as a page of its own: what became of it and why, then everything that it says.

use proto::flow::layer7::Record;
use proto::flow::{Endpoint, Flow};
use serde::Serialize;

use super::flows::Kept;
use super::meaning::{self, Meaning};
use super::row::{Row, what};
use crate::map::form::words;
use crate::map::reading;
use crate::print::drop_reason;

/// Longest text of a value.
const VALUE_CHARS: usize = 8192;

/// A page.
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    row: Row,
    title: String,
    meaning: Option<Meaning>,
    sections: Vec<Section>,
    /// Commands that tell more.
    commands: Vec<Command>,
    /// The whole flow, as `l7d observe -o json` has it.
    json: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct Section {
    name: &'static str,
    rows: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Command {
    what: &'static str,
    line: String,
}

impl Section {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            rows: Vec::new(),
        }
    }

    fn add(&mut self, name: impl Into<String>, value: impl AsRef<str>) {
        let value = value.as_ref();
        if !value.is_empty() {
            let value = value.chars().take(VALUE_CHARS).collect();
            self.rows.push((name.into(), value));
        }
    }
}

impl Detail {
    pub(super) fn new(kept: &Kept, flow: &Flow) -> Self {
        let texts = flow.extensions.as_ref().map(proto::Any::texts);
        let texts = texts.unwrap_or_default();
        let sections = [
            message(flow),
            policy(flow),
            end("Source", flow.source.as_ref(), flow, true),
            end("Destination", flow.destination.as_ref(), flow, false),
            observed(flow),
            measured(&texts),
            headers(flow),
        ];
        Self {
            row: Row::new(kept, flow),
            title: what(flow),
            meaning: meaning::of(flow, kept.fault),
            sections: sections
                .into_iter()
                .filter(|section| !section.rows.is_empty())
                .collect(),
            commands: commands(flow, &texts),
            json: serde_json::to_value(flow).unwrap_or_default(),
        }
    }
}

fn message(flow: &Flow) -> Section {
    let mut section = Section::new("Message");
    section.add("summary", &flow.summary);
    let Some(l7) = &flow.l7 else {
        return section;
    };
    match &l7.record {
        Some(Record::Http(http)) => {
            section.add("method", &http.method);
            section.add("URL", &http.url);
            section.add("protocol", &http.protocol);
            if http.code != 0 {
                section.add("status", http.code.to_string());
            }
        }
        Some(Record::Dns(dns)) => {
            section.add("query", &dns.query);
            section.add("types", dns.qtypes.join(", "));
            section.add("addresses", dns.ips.join(", "));
            section.add("names", dns.cnames.join(", "));
        }
        Some(Record::Kafka(kafka)) => {
            section.add("topic", &kafka.topic);
        }
        None => {}
    }
    if l7.latency_ns > 0 {
        section.add("latency", words::lapse(l7.latency_ns / 1000));
    }
    section
}

fn policy(flow: &Flow) -> Section {
    let mut section = Section::new("Policy");
    let lists = [
        ("denied at egress by", &flow.egress_denied_by),
        ("denied at ingress by", &flow.ingress_denied_by),
        ("allowed at egress by", &flow.egress_allowed_by),
        ("allowed at ingress by", &flow.ingress_allowed_by),
    ];
    let none = Vec::new();
    for (name, list) in lists {
        for policy in reading::policies([list, &none]) {
            section.add(name, policy);
        }
    }
    let rule = flow.extensions.as_ref().and_then(|all| all.text("rule"));
    section.add("rule", rule.unwrap_or_default());
    if flow.drop_reason_desc != 0 {
        section.add("drop reason", drop_reason(flow, flow.drop_reason_desc));
    }
    section.add("log", flow.policy_log.join("; "));
    section
}

fn end(name: &'static str, end: Option<&Endpoint>, flow: &Flow, is_source: bool) -> Section {
    let mut section = Section::new(name);
    let (names, service) = if is_source {
        (&flow.source_names, &flow.source_service)
    } else {
        (&flow.destination_names, &flow.destination_service)
    };
    let (_, from, to) = reading::transport(flow);
    if let Some(ip) = &flow.ip {
        let (address, port) = if is_source {
            (&ip.source, from)
        } else {
            (&ip.destination, to)
        };
        let is_v6 = address.contains(':');
        section.add(
            "address",
            match (port, is_v6) {
                (0, _) => address.clone(),
                (port, true) => format!("[{address}]:{port}"),
                (port, false) => format!("{address}:{port}"),
            },
        );
        if is_source {
            section.add("translated to", &ip.source_xlated);
        }
    }
    if let Some(end) = end {
        let pod = match (end.namespace.as_str(), end.pod_name.as_str()) {
            ("", pod) => pod.to_owned(),
            (_, "") => String::new(),
            (namespace, pod) => format!("{namespace}/{pod}"),
        };
        section.add("pod", pod);
        let workloads = end.workloads.iter();
        let workloads: Vec<_> = workloads
            .map(|one| format!("{} {}", one.kind, one.name))
            .collect();
        section.add("workload", workloads.join(", "));
        if end.identity != 0 {
            section.add("identity", end.identity.to_string());
        }
        section.add("labels", end.labels.join("\n"));
    }
    if let Some(service) = service {
        section.add("service", format!("{}/{}", service.namespace, service.name));
    }
    section.add("names", names.join(", "));
    section
}

fn observed(flow: &Flow) -> Section {
    let mut section = Section::new("Observed");
    section.add("node", &flow.node_name);
    section.add("verdict", super::row::verdict(flow));
    let direction = flow.traffic_direction();
    section.add("direction", direction.as_str_name().to_lowercase());
    if let Some(reply) = &flow.is_reply {
        section.add("reply", if reply.value { "yes" } else { "no" });
    }
    section.add("UUID", &flow.uuid);
    section
}

/// What Hubble has no fields for.
fn measured(texts: &std::collections::BTreeMap<String, String>) -> Section {
    let mut section = Section::new("Measured");
    for (name, text) in texts {
        let shown = match name.strip_suffix("_us") {
            Some(_) => text.parse().map_or_else(|_| text.clone(), words::lapse),
            None => text.clone(),
        };
        let name = name.strip_suffix("_us").unwrap_or(name);
        section.add(name.replace('_', " "), shown);
    }
    section
}

fn headers(flow: &Flow) -> Section {
    let mut section = Section::new("Headers");
    let record = flow.l7.as_ref().and_then(|l7| l7.record.as_ref());
    if let Some(Record::Http(http)) = record {
        for header in &http.headers {
            section.add(header.key.clone(), &header.value);
        }
    }
    section
}

fn commands(flow: &Flow, texts: &std::collections::BTreeMap<String, String>) -> Vec<Command> {
    let mut commands = Vec::new();
    // Numbers and names of our own alone: what a command line is made of must not be a peer's words.
    let is_plain = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '/');
        !text.is_empty() && text.chars().all(plain)
    };
    if let Some(connection) = texts.get("connection").filter(|text| is_plain(text)) {
        commands.push(Command {
            what: "the story of this connection",
            line: format!("l7d trace --connection {connection}"),
        });
    }
    if is_plain(&flow.uuid) {
        commands.push(Command {
            what: "this flow on a terminal",
            line: format!("l7d observe --uuid {} -o json", flow.uuid),
        });
    }
    commands
}
