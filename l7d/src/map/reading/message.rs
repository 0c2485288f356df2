//! The L7 part of a flow.

use parsers::template::path_of;
use proto::flow::layer7::Record;
use proto::flow::{self as pb, Flow, Http, L7FlowType};

use super::{Reader, Texts, dropped, policies, short};
use crate::map::{Fault, Outcome, Protocol, Reason, What};

/// What its message speaks, where it has one.
pub(super) fn protocol(flow: &Flow, texts: &Texts) -> Option<Protocol> {
    let l7 = flow.l7.as_ref()?;
    match l7.record.as_ref()? {
        Record::Http(http) if is_grpc(http, texts) => Some(Protocol::Grpc),
        Record::Http(_) => Some(Protocol::Http),
        Record::Dns(_) => Some(Protocol::Dns),
        Record::Kafka(_) => Some(Protocol::Kafka),
    }
}

/// What a message says.
pub(super) fn what(reader: &Reader, flow: &Flow, texts: &Texts) -> Option<What> {
    let l7 = flow.l7.as_ref()?;
    let is_denied = matches!(flow.verdict(), pb::Verdict::Dropped | pb::Verdict::Error);
    let operation = || operation(reader, l7.record.as_ref(), texts);
    match l7.r#type() {
        // It runs on: its end will be told.
        L7FlowType::Sample => None,
        L7FlowType::Response => Some(What::Answer {
            operation: operation(),
            latency_ns: l7.latency_ns,
            outcome: outcome(l7.record.as_ref(), texts),
        }),
        L7FlowType::Request | L7FlowType::UnknownL7Type if is_denied => Some(What::Refused {
            operation: operation(),
            reason: refusal(flow, texts),
        }),
        L7FlowType::Request | L7FlowType::UnknownL7Type => Some(What::Request),
    }
}

fn is_grpc(http: &Http, texts: &Texts) -> bool {
    let is_type = |header: &&pb::HttpHeader| header.key.eq_ignore_ascii_case("content-type");
    let declared = http.headers.iter().find(is_type);
    !texts.get("grpc_status").is_empty()
        || declared.is_some_and(|header| parsers::grpc::is_grpc(header.value.as_bytes()))
}

/// `GET /users/{id}`, `/shop.Cart/Add`, `A cart.shop.svc`.
fn operation(reader: &Reader, record: Option<&Record>, texts: &Texts) -> String {
    let text = match record {
        Some(Record::Http(http)) => {
            let template = reader.template(path_of(&http.url));
            if is_grpc(http, texts) {
                template
            } else {
                format!("{} {template}", http.method)
            }
        }
        Some(Record::Dns(dns)) => {
            format!(
                "{} {}",
                dns.qtypes.join(","),
                dns.query.trim_end_matches('.')
            )
        }
        Some(Record::Kafka(kafka)) => format!("{} {}", kafka.api_key, kafka.topic),
        None => "unknown".to_owned(),
    };
    short(&text)
}

fn outcome(record: Option<&Record>, texts: &Texts) -> Outcome {
    let failed = |fault, text: String| Outcome::Failed(reason(fault, text));
    if let Some(text) = unanswered(texts.get("outcome")) {
        return failed(Fault::Unanswered, text.to_owned());
    }
    let rejected = |text: String| Outcome::Rejected(reason(Fault::Rejected, text));
    match record {
        Some(Record::Http(http)) => match (http.code, grpc(texts)) {
            (_, Some((code, name))) if is_clients_fault(code) => {
                rejected(format!("gRPC {code} {name}"))
            }
            (_, Some((code, name))) => failed(Fault::Error, format!("gRPC {code} {name}")),
            (0, None) => failed(Fault::Unanswered, "no answer".to_owned()),
            (code @ 500.., None) => failed(Fault::Error, format!("HTTP {code}")),
            (code @ 400.., None) => rejected(format!("HTTP {code}")),
            _ => Outcome::Good,
        },
        Some(Record::Dns(dns)) => {
            let code = parsers::dns::Rcode(u16::try_from(dns.rcode).unwrap_or(u16::MAX));
            match dns.rcode {
                0 => Outcome::Good,
                3 => rejected("NXDOMAIN: no such name".to_owned()),
                _ => failed(Fault::Error, format!("DNS {}", code.summary().trim())),
            }
        }
        Some(Record::Kafka(kafka)) if kafka.error_code != 0 => {
            failed(Fault::Error, format!("Kafka error {}", kafka.error_code))
        }
        Some(Record::Kafka(_)) | None => Outcome::Good,
    }
}

fn unanswered(outcome: &str) -> Option<&'static str> {
    match outcome {
        "upstream_refused" => Some("the server refused the connection"),
        "upstream_reset" => Some("the server reset the connection"),
        "no_response" => Some("no answer"),
        _ => None,
    }
}

/// A status that is not OK.
fn grpc(texts: &Texts) -> Option<(u32, &'static str)> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let code: u32 = texts.get("grpc_status").parse().ok()?;
    let name = usize::try_from(code).ok().and_then(|at| NAMES.get(at));
    (code != 0).then(|| (code, name.copied().unwrap_or("")))
}

/// Those that a server answers to a request that was wrong, and that HTTP would answer with 4xx.
fn is_clients_fault(code: u32) -> bool {
    matches!(code, 1 | 3 | 5 | 6 | 7 | 9 | 11 | 16)
}

/// Why a request did not go on.
fn refusal(flow: &Flow, texts: &Texts) -> Reason {
    let by = policies([&flow.egress_denied_by, &flow.ingress_denied_by]).join(", ");
    let (fault, text) = match texts.get("outcome") {
        "" if flow.drop_reason != 0 => return dropped(flow, texts),
        "" | "policy_denied" => (Fault::Denied, "denied by policy"),
        "ambiguous_path" => (Fault::Denied, "ambiguous path"),
        "parse_error" => (Fault::Dropped, "malformed request"),
        "limit" => (Fault::Dropped, "request over a limit"),
        "not_implemented" => (Fault::Dropped, "not implemented"),
        other => return dropped_by_proxy(other, by),
    };
    Reason {
        fault,
        text: text.to_owned(),
        by,
    }
}

fn dropped_by_proxy(outcome: &str, by: String) -> Reason {
    Reason {
        by,
        ..reason(Fault::Dropped, short(&outcome.replace('_', " ")))
    }
}

fn reason(fault: Fault, text: String) -> Reason {
    Reason {
        fault,
        text,
        by: String::new(),
    }
}
