//! Tests on a flow as a whole: verdict, ports, protocol, events, HTTP and DNS.

use proto::flow::layer4::Protocol;
use proto::flow::layer7::Record;
use proto::flow::{Flow, FlowFilter, Http, TcpFlags, Verdict};
use regex::Regex;

use super::{Test, any};
use crate::flow::filter::{Expression, NodePattern, Selector, url_path};

/// The `type` of L7 events, which every filter on HTTP needs.
const L7_EVENT: i32 = 129;

pub(super) fn tests(f: &FlowFilter, tests: &mut Vec<Test>) -> Result<(), String> {
    let expressions = f.experimental.iter();
    let expressions = expressions.flat_map(|e| &e.cel_expression);
    let expressions: Vec<&String> = expressions.collect();
    any(
        tests,
        &expressions,
        |text| {
            Expression::parse(text)
                .map_err(|error| format!("error compiling CEL expression: {text}: {error}"))
        },
        Expression::is_true_of,
    )?;
    let same = |text: &String| Ok(text.clone());
    any(tests, &f.uuid, same, |wanted, flow| flow.uuid == *wanted)?;
    any(tests, &f.trace_id, same, |wanted, flow| {
        trace_id(flow) == wanted
    })?;
    any(
        tests,
        &f.verdict,
        |v| Ok(*v),
        |wanted, flow| flow.verdict == *wanted,
    )?;
    any(
        tests,
        &f.traffic_direction,
        |d| Ok(*d),
        |wanted, flow| flow.traffic_direction == *wanted,
    )?;
    any(
        tests,
        &f.drop_reason_desc,
        |r| Ok(*r),
        |wanted, flow| flow.verdict() == Verdict::Dropped && flow.drop_reason_desc == *wanted,
    )?;
    any(
        tests,
        &f.reply,
        |r| Ok(*r),
        |wanted, flow| is_reply(flow) == Some(*wanted),
    )?;
    any(
        tests,
        &f.event_type,
        |e| Ok(*e),
        |wanted, flow| {
            flow.event_type.as_ref().is_some_and(|event| {
                (wanted.r#type == 0 || event.r#type == wanted.r#type)
                    && (!wanted.match_sub_type || event.sub_type == wanted.sub_type)
            })
        },
    )?;
    packet_tests(f, tests)?;
    place_tests(f, tests)?;
    any(
        tests,
        &f.dns_query,
        |text| regex("dns query", text),
        |wanted, flow| matches!(record(flow), Some(Record::Dns(dns)) if wanted.is_match(&dns.query)),
    )
}

/// Tests on headers.
fn packet_tests(f: &FlowFilter, tests: &mut Vec<Test>) -> Result<(), String> {
    any(
        tests,
        &f.ip_version,
        |v| Ok(*v),
        |wanted, flow| flow.ip.as_ref().map_or(0, |ip| ip.ip_version) == *wanted,
    )?;
    any(
        tests,
        &f.encrypted,
        |e| Ok(*e),
        |wanted, flow| flow.ip.as_ref().is_some_and(|ip| ip.encrypted) == *wanted,
    )?;
    any(
        tests,
        &f.ip_trace_id,
        |id| Ok(*id),
        |wanted, flow| {
            flow.ip_trace_id
                .as_ref()
                .is_some_and(|id| id.trace_id == *wanted)
        },
    )?;
    any(tests, &f.tcp_flags, |flags| Ok(*flags), has_flags)?;
    let port = |text: &String| port(text).map_err(|e| format!("invalid source port filter: {e}"));
    any(tests, &f.source_port, port, |wanted, flow| {
        ports(flow).map(|p| p.0) == Some(*wanted)
    })?;
    let port = |text: &String| {
        self::port(text).map_err(|e| format!("invalid destination port filter: {e}"))
    };
    any(tests, &f.destination_port, port, |wanted, flow| {
        ports(flow).map(|p| p.1) == Some(*wanted)
    })?;
    any(
        tests,
        &f.protocol,
        |text| protocol(text),
        |wanted, flow| wanted(flow),
    )
}

/// Tests on where a flow was seen.
fn place_tests(f: &FlowFilter, tests: &mut Vec<Test>) -> Result<(), String> {
    any(
        tests,
        &f.interface,
        |i| Ok(i.clone()),
        |wanted, flow| {
            flow.interface.as_ref().is_some_and(|interface| {
                (wanted.index == 0 || wanted.index == interface.index)
                    && (wanted.name.is_empty() || wanted.name == interface.name)
            })
        },
    )?;
    any(
        tests,
        &f.node_name,
        |text| NodePattern::parse(text),
        |wanted, flow| wanted.matches(&flow.node_name),
    )?;
    let selector = |text: &String| Selector::parse(text);
    any(tests, &f.node_labels, selector, |wanted, flow| {
        wanted.matches(&flow.node_labels)
    })
}

/// Tests on HTTP; each asks for L7 events, so that a filter on other events alone cannot match.
pub(super) fn http_tests(f: &FlowFilter, tests: &mut Vec<Test>) -> Result<(), String> {
    let l7 = f.event_type.is_empty() || f.event_type.iter().any(|e| e.r#type == L7_EVENT);
    let asked = [
        ("status code", f.http_status_code.is_empty()),
        ("method", f.http_method.is_empty()),
        ("path", f.http_path.is_empty()),
        ("url", f.http_url.is_empty()),
        ("header", f.http_header.is_empty()),
    ];
    if let (false, Some((name, _))) = (l7, asked.iter().find(|(_, empty)| !empty)) {
        return Err(format!(
            "filtering by http {name} requires the event type filter to only match 'l7' events"
        ));
    }
    any(
        tests,
        &f.http_status_code,
        |text| status(text),
        |wanted, flow| http(flow).is_some_and(|http| http.code != 0 && wanted.matches(http.code)),
    )?;
    any(
        tests,
        &f.http_method,
        |text| Ok(text.clone()),
        |wanted, flow| {
            http(flow).is_some_and(|http| {
                !http.method.is_empty() && http.method.eq_ignore_ascii_case(wanted)
            })
        },
    )?;
    any(
        tests,
        &f.http_path,
        |text| regex("http path", text),
        |wanted, flow| {
            http(flow)
                .filter(|http| !http.url.is_empty())
                .and_then(|http| url_path(&http.url))
                .is_some_and(|path| wanted.is_match(&path))
        },
    )?;
    any(
        tests,
        &f.http_url,
        |text| regex("http url", text),
        |wanted, flow| {
            http(flow).is_some_and(|http| !http.url.is_empty() && wanted.is_match(&http.url))
        },
    )?;
    any(
        tests,
        &f.http_header,
        |header| Ok(header.clone()),
        |wanted, flow| http(flow).is_some_and(|http| http.headers.contains(wanted)),
    )
}

fn record(flow: &Flow) -> Option<&Record> {
    flow.l7.as_ref()?.record.as_ref()
}

fn http(flow: &Flow) -> Option<&Http> {
    match record(flow) {
        Some(Record::Http(http)) => Some(http),
        _ => None,
    }
}

fn trace_id(flow: &Flow) -> &str {
    flow.trace_context
        .as_ref()
        .and_then(|context| context.parent.as_ref())
        .map_or("", |parent| parent.trace_id.as_str())
}

/// A dropped packet never got an answer: it counts as no reply where nobody knows.
fn is_reply(flow: &Flow) -> Option<bool> {
    let known = flow.is_reply.as_ref().map(|reply| reply.value);
    known.or((flow.verdict() == Verdict::Dropped).then_some(false))
}

fn ports(flow: &Flow) -> Option<(u32, u32)> {
    match flow.l4.as_ref()?.protocol.as_ref()? {
        Protocol::Tcp(l4) => Some((l4.source_port, l4.destination_port)),
        Protocol::Udp(l4) => Some((l4.source_port, l4.destination_port)),
        Protocol::Sctp(l4) => Some((l4.source_port, l4.destination_port)),
        _ => None,
    }
}

fn port(text: &str) -> Result<u32, String> {
    let port: Result<u16, _> = text.parse();
    port.map(u32::from)
        .map_err(|error| format!("invalid port {text:?}: {error}"))
}

/// All flags that are wanted are set; others may be.
fn has_flags(wanted: &TcpFlags, flow: &Flow) -> bool {
    let Some(Protocol::Tcp(tcp)) = flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) else {
        return false;
    };
    let Some(set) = &tcp.flags else { return false };
    let all = |f: &TcpFlags| [f.fin, f.syn, f.rst, f.psh, f.ack, f.urg, f.ece, f.cwr, f.ns];
    all(wanted)
        .iter()
        .zip(all(set))
        .all(|(wanted, set)| !wanted || set)
}

fn protocol(text: &str) -> Result<fn(&Flow) -> bool, String> {
    fn l4(flow: &Flow) -> Option<&Protocol> {
        flow.l4.as_ref()?.protocol.as_ref()
    }
    Ok(match text.to_ascii_lowercase().as_str() {
        "icmp" => |flow| matches!(l4(flow), Some(Protocol::IcmPv4(_) | Protocol::IcmPv6(_))),
        "icmpv4" => |flow| matches!(l4(flow), Some(Protocol::IcmPv4(_))),
        "icmpv6" => |flow| matches!(l4(flow), Some(Protocol::IcmPv6(_))),
        "tcp" => |flow| matches!(l4(flow), Some(Protocol::Tcp(_))),
        "udp" => |flow| matches!(l4(flow), Some(Protocol::Udp(_))),
        "sctp" => |flow| matches!(l4(flow), Some(Protocol::Sctp(_))),
        "vrrp" => |flow| matches!(l4(flow), Some(Protocol::Vrrp(_))),
        "igmp" => |flow| matches!(l4(flow), Some(Protocol::Igmp(_))),
        "dns" => |flow| matches!(record(flow), Some(Record::Dns(_))),
        "http" => |flow| matches!(record(flow), Some(Record::Http(_))),
        "kafka" => |flow| matches!(record(flow), Some(Record::Kafka(_))),
        _ => {
            return Err(format!(
                "invalid protocol filter: unknown protocol: {text:?}"
            ));
        }
    })
}

fn regex(what: &str, text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("invalid {what} filter: {text}: {error}"))
}

/// A status code, or the first digits of one.
enum Status {
    Code(u32),
    Prefix(String),
}

fn status(text: &str) -> Result<Status, String> {
    let (digits, prefix) = match text.strip_suffix('+') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let starts_right = digits.starts_with(|c: char| ('1'..='5').contains(&c));
    let length_fits = if prefix {
        matches!(digits.len(), 1 | 2)
    } else {
        digits.len() == 3
    };
    match digits.parse() {
        Ok(_) if starts_right && length_fits && prefix => Ok(Status::Prefix(digits.to_owned())),
        Ok(code) if starts_right && length_fits => Ok(Status::Code(code)),
        _ => Err(format!(
            "invalid http status code filter: invalid status code prefix: {text:?}"
        )),
    }
}

impl Status {
    fn matches(&self, code: u32) -> bool {
        match self {
            Self::Code(wanted) => *wanted == code,
            Self::Prefix(digits) => code.to_string().starts_with(digits),
        }
    }
}
