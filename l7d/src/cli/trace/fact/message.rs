//! The L7 part of a flow.

use proto::flow::layer7::Record;
use proto::flow::{self as pb, Flow, L7FlowType};

use super::{Texts, policies, verdict};
use crate::record::{Network, Outcome, TcpEvent};
use crate::story::{Message, MessageKind};

/// What a flow says of a message, or of bytes that nobody read.
pub(super) fn message(flow: &Flow, texts: &Texts) -> Message {
    let l7 = flow.l7.as_ref();
    let record = l7.and_then(|l7| l7.record.as_ref());
    let is_answer = l7.is_some_and(|l7| l7.r#type() == L7FlowType::Response);
    let kind = match (l7.map(pb::Layer7::r#type), record) {
        (None, _) => MessageKind::Bytes,
        (Some(L7FlowType::Sample), _) => MessageKind::Report,
        (_, Some(Record::Dns(_))) if is_answer => MessageKind::Answer,
        (_, Some(Record::Dns(_))) => MessageKind::Query,
        _ if is_answer => MessageKind::Response,
        _ => MessageKind::Request,
    };
    let (code, addresses) = match record {
        Some(Record::Http(http)) => (http.code, Vec::new()),
        Some(Record::Dns(dns)) => (
            dns.rcode,
            dns.ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
        ),
        Some(Record::Kafka(_)) | None => (0, Vec::new()),
    };
    let outcome = outcome(texts.get("outcome"));
    Message {
        kind,
        text: text(flow, record, kind, outcome == Outcome::NoResponse),
        verdict: verdict(flow),
        policies: policies(flow),
        outcome,
        detail: texts.get("detail").to_owned(),
        code,
        grpc: texts.get("grpc_status").parse().ok(),
        latency_ns: l7.map_or(0, |l7| l7.latency_ns),
        network: Network {
            client_rtt_us: texts.number("client_rtt_us"),
            server_rtt_us: texts.number("server_rtt_us"),
            retransmits: texts.number("retransmits"),
            event: tcp_event(texts.get("tcp_event")),
        },
        addresses,
    }
}

/// One line; the latency stands elsewhere.
fn text(flow: &Flow, record: Option<&Record>, kind: MessageKind, is_unanswered: bool) -> String {
    match (record, kind) {
        (Some(Record::Http(http)), MessageKind::Request) => {
            format!("{} {} {}", http.protocol, http.method, http.url)
        }
        (Some(Record::Http(http)), MessageKind::Response) if http.code != 0 => {
            format!(
                "{} {} to {} {}",
                http.protocol, http.code, http.method, http.url
            )
        }
        (Some(Record::Http(http)), MessageKind::Response) => {
            format!(
                "no answer to {} {} {}",
                http.protocol, http.method, http.url
            )
        }
        (Some(Record::Dns(dns)), MessageKind::Query) => {
            format!("DNS query {} {}", dns.qtypes.join(","), dns.query)
        }
        (Some(Record::Dns(dns)), _) => dns_answer(dns, is_unanswered),
        _ => flow.summary.clone(),
    }
}

fn dns_answer(dns: &pb::Dns, is_unanswered: bool) -> String {
    let asked = format!("{} {}", dns.qtypes.join(","), dns.query);
    if is_unanswered {
        return format!("no answer to DNS query {asked}");
    }
    let rcode = parsers::dns::Rcode(u16::try_from(dns.rcode).unwrap_or(u16::MAX));
    let answer = match (dns.rcode, dns.ips.as_slice(), dns.cnames.as_slice()) {
        (0, [], []) => "no such records".to_owned(),
        (0, [], names) => names.join(", "),
        (0, addresses, _) => few(addresses),
        _ => rcode.summary().trim().to_owned(),
    };
    format!("DNS answer {answer} to {asked}")
}

/// The first of a long list.
fn few(addresses: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = addresses.get(..SHOWN).unwrap_or(addresses).join(", ");
    match addresses.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn outcome(text: &str) -> Outcome {
    const ALL: [Outcome; 9] = [
        Outcome::PolicyDenied,
        Outcome::AmbiguousPath,
        Outcome::ParseError,
        Outcome::Limit,
        Outcome::NotImplemented,
        Outcome::UpstreamRefused,
        Outcome::UpstreamReset,
        Outcome::NoResponse,
        Outcome::Unseen,
    ];
    let known = ALL.into_iter().find(|outcome| outcome.as_str() == text);
    known.unwrap_or_default()
}

fn tcp_event(text: &str) -> Option<TcpEvent> {
    const ALL: [TcpEvent; 7] = [
        TcpEvent::ClosedByClient,
        TcpEvent::ClosedByServer,
        TcpEvent::NoAnswer,
        TcpEvent::Refused,
        TcpEvent::ResetByClient,
        TcpEvent::ResetByServer,
        TcpEvent::Unreachable,
    ];
    ALL.into_iter().find(|event| event.as_str() == text)
}
