//! A flow as a row of a table.

use parsers::template::path_of;
use proto::flow::layer7::Record;
use proto::flow::{self as pb, Flow, L7FlowType};
use serde::Serialize;

use super::flows::{Kept, Kind};
use crate::map::node::plain;
use crate::map::{Fault, Protocol};

/// Most characters of a cell.
const CELL_CHARS: usize = 240;

/// A row.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// The flow's number.
    number: u64,
    /// In milliseconds since 1970, with the fraction that is known.
    time_ms: f64,
    /// Who sent it, and to whom, as the map has them.
    client: String,
    server: String,
    protocol: Protocol,
    /// What it is, in a line.
    what: String,
    /// `forwarded`, `dropped` and so on.
    verdict: &'static str,
    /// What failed.
    fault: Option<Fault>,
    /// A status to show beside it: `503`, `14`, `NXDOMAIN`.
    code: String,
    latency_us: Option<u64>,
    is_packet: bool,
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "a browser's times")]
    pub(super) fn new(kept: &Kept, flow: &Flow) -> Self {
        let latency = flow.l7.as_ref().map_or(0, |l7| l7.latency_ns);
        Self {
            number: kept.number,
            time_ms: (kept.time.0 / 1000) as f64 / 1000.0,
            client: kept.client.to_string(),
            server: kept.server.to_string(),
            protocol: kept.protocol,
            what: cell(&what(flow)),
            verdict: verdict(flow),
            fault: kept.fault,
            code: code(flow),
            latency_us: (latency > 0).then_some(latency / 1000),
            is_packet: matches!(kept.kind, Kind::Packet),
        }
    }
}

/// A line of bounded length.
fn cell(text: &str) -> String {
    let cut: String = text.chars().take(CELL_CHARS).collect();
    plain(&cut)
}

/// What it is, in a line.
pub(super) fn what(flow: &Flow) -> String {
    let Some(l7) = &flow.l7 else {
        return flow.summary.clone();
    };
    match &l7.record {
        Some(Record::Http(http)) => format!("{} {}", http.method, path_of(&http.url)),
        Some(Record::Dns(dns)) => {
            let asked = format!(
                "{} {}",
                dns.qtypes.join(","),
                dns.query.trim_end_matches('.')
            );
            match dns.ips.as_slice() {
                [] => asked,
                ips => format!("{asked} = {}", ips.join(", ")),
            }
        }
        Some(Record::Kafka(kafka)) => format!("{} {}", kafka.api_key, kafka.topic),
        None => flow.summary.clone(),
    }
}

/// The status of an answer.
fn code(flow: &Flow) -> String {
    let Some(l7) = flow
        .l7
        .as_ref()
        .filter(|l7| l7.r#type() == L7FlowType::Response)
    else {
        return String::new();
    };
    let grpc = flow
        .extensions
        .as_ref()
        .and_then(|all| all.text("grpc_status"));
    match (&l7.record, grpc) {
        (_, Some(status)) => format!("gRPC {status}"),
        (Some(Record::Http(http)), None) if http.code != 0 => http.code.to_string(),
        (Some(Record::Dns(dns)), None) if dns.rcode != 0 => {
            let code = parsers::dns::Rcode(u16::try_from(dns.rcode).unwrap_or(u16::MAX));
            code.summary().trim().to_owned()
        }
        _ => String::new(),
    }
}

/// Its verdict, in words.
pub(super) fn verdict(flow: &Flow) -> &'static str {
    match flow.verdict() {
        pb::Verdict::Unknown => "unknown",
        pb::Verdict::Forwarded => "forwarded",
        pb::Verdict::Dropped => "dropped",
        pb::Verdict::Error => "error",
        pb::Verdict::Audit => "audit",
        pb::Verdict::Redirected => "redirected",
        pb::Verdict::Traced => "traced",
        pb::Verdict::Translated => "translated",
    }
}

/// Everything that words are looked for in, in small letters.
pub(super) fn searched(flow: &Flow) -> String {
    let mut parts: Vec<&str> = vec![&flow.summary, &flow.node_name, &flow.uuid, verdict(flow)];
    for end in [&flow.source, &flow.destination].into_iter().flatten() {
        parts.extend([end.namespace.as_str(), end.pod_name.as_str()]);
    }
    if let Some(ip) = &flow.ip {
        parts.extend([ip.source.as_str(), ip.destination.as_str()]);
    }
    let names = flow.source_names.iter().chain(&flow.destination_names);
    parts.extend(names.map(String::as_str));
    let what = what(flow);
    if let Some(Record::Http(http)) = flow.l7.as_ref().and_then(|l7| l7.record.as_ref()) {
        parts.push(&http.url);
    }
    let code = code(flow);
    let reason = crate::print::drop_reason(flow, flow.drop_reason_desc);
    parts.push(&what);
    parts.push(&code);
    if flow.drop_reason_desc != 0 {
        parts.push(&reason);
    }
    let policies = [
        &flow.egress_allowed_by,
        &flow.ingress_allowed_by,
        &flow.egress_denied_by,
        &flow.ingress_denied_by,
    ];
    let policies = policies.into_iter().flatten();
    parts.extend(policies.map(|policy| policy.name.as_str()));
    parts.join(" ").to_lowercase()
}
