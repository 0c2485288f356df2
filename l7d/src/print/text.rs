//! What stands in a cell: hosts, identities, types, verdicts and summaries of flows.

use std::fmt::{self, Display, Write as _};

use anstyle::AnsiColor;
use proto::flow::layer4::Protocol;
use proto::flow::layer7::Record;
use proto::flow::{
    AuthType, DebugCapturePoint, Endpoint, Flow, L7FlowType, Layer7, LostEvent, LostEventSource,
    Policy, Service, SocketTranslationPoint, TrafficDirection, Verdict,
};
use proto::relay::{NodeState, NodeStatusEvent};

use super::drops;
use super::style::{Safe, Style};

/// Numbers of `CiliumEventType.type`.
mod event {
    pub(super) const DROP: i32 = 1;
    pub(super) const CAPTURE: i32 = 3;
    pub(super) const TRACE: i32 = 4;
    pub(super) const POLICY_VERDICT: i32 = 5;
    pub(super) const TRACE_SOCK: i32 = 7;
}

/// Names of trace points, by the sub-type of trace events. The command line takes them too.
pub const TRACE_POINTS: [&str; 14] = [
    "to-endpoint",
    "to-proxy",
    "to-host",
    "to-stack",
    "to-overlay",
    "from-endpoint",
    "from-proxy",
    "from-host",
    "from-stack",
    "from-overlay",
    "from-network",
    "to-network",
    "from-crypto",
    "to-crypto",
];

/// Names of the reserved identities, by number.
pub const RESERVED: [&str; 11] = [
    "unknown",
    "host",
    "world",
    "unmanaged",
    "health",
    "init",
    "remote-node",
    "kube-apiserver",
    "ingress",
    "world-ipv4",
    "world-ipv6",
];

/// How a policy verdict came about, by `policy_match_type`.
const MATCHES: [&str; 7] = [
    "none",
    "L3-Only",
    "L3-L4",
    "L4-Only",
    "all",
    "L3-Proto",
    "Proto-Only",
];

fn entry<'t>(names: &[&'t str], number: impl TryInto<usize>) -> Option<&'t str> {
    names.get(number.try_into().ok()?).copied()
}

/// One end of a flow, with its port where it has one.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    port: u32,
    /// Who serves behind it.
    backend: Option<String>,
    color: bool,
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = Style {
            color: self.color && !self.name.is_empty(),
            ..Style::default()
        };
        let name = Safe(&self.name);
        let port = style.paint(AnsiColor::Yellow, self.port);
        if self.port == 0 {
            style.paint(AnsiColor::Cyan, name).fmt(f)?;
        } else if self.name.contains(':') {
            style
                .paint(AnsiColor::Cyan, format_args!("[{name}]:{port}"))
                .fmt(f)?;
        } else {
            style
                .paint(AnsiColor::Cyan, format_args!("{name}:{port}"))
                .fmt(f)?;
        }
        match &self.backend {
            Some(backend) => write!(f, " (→ {})", Safe(backend)),
            None => Ok(()),
        }
    }
}

/// Source and destination of a flow, named as well as the style allows. Without addresses only the
/// hardware addresses are left to show.
pub(super) fn hosts(style: Style, flow: &Flow) -> (Host, Host) {
    let host = |name, port| Host {
        name,
        port,
        backend: None,
        color: style.color,
    };
    let Some(ip) = &flow.ip else {
        let (source, destination) = flow
            .ethernet
            .as_ref()
            .map(|ethernet| (ethernet.source.clone(), ethernet.destination.clone()))
            .unwrap_or_default();
        return (host(source, 0), host(destination, 0));
    };
    let (source_port, destination_port) = ports(flow);
    let behind = |mut source: Host, mut destination: Host| {
        let is_reply = flow.is_reply.as_ref().is_some_and(|reply| reply.value);
        let server = if is_reply {
            &mut source
        } else {
            &mut destination
        };
        server.backend = backend(style, flow);
        (source, destination)
    };
    if style.numeric {
        let source = host(ip.source.clone(), source_port);
        return behind(source, host(ip.destination.clone(), destination_port));
    }
    let source = name(
        flow.source.as_ref(),
        flow.source_service.as_ref(),
        &flow.source_names,
        &ip.source,
    );
    let destination = name(
        flow.destination.as_ref(),
        flow.destination_service.as_ref(),
        &flow.destination_names,
        &ip.destination,
    );
    behind(
        host(source, source_port),
        host(destination, destination_port),
    )
}

/// Who serves behind the address that a client asks, where the server of the flow tells.
fn backend(style: Style, flow: &Flow) -> Option<String> {
    let extensions = flow.extensions.as_ref()?;
    let address = extensions.text("backend")?;
    let pod = extensions.text("backend_pod").filter(|_| !style.numeric);
    Some(match (pod, address.rsplit_once(':')) {
        (Some(pod), Some((_, port))) => format!("{pod}:{port}"),
        _ => address,
    })
}

/// Pod, else service, else DNS names, else address. Where there is a service, the namespace is the
/// service's, also in front of a pod's name.
fn name(
    endpoint: Option<&Endpoint>,
    service: Option<&Service>,
    names: &[String],
    address: &str,
) -> String {
    let pod = endpoint.map_or("", |endpoint| endpoint.pod_name.as_str());
    let namespace = match service {
        Some(service) => service.namespace.as_str(),
        None => endpoint.map_or("", |endpoint| endpoint.namespace.as_str()),
    };
    let service = service.map_or("", |service| service.name.as_str());
    let object = if pod.is_empty() { service } else { pod };
    match (object, namespace) {
        ("", _) if names.is_empty() => address.to_owned(),
        ("", _) => names.join(","),
        (object, "") => object.to_owned(),
        (object, namespace) => format!("{namespace}/{object}"),
    }
}

fn ports(flow: &Flow) -> (u32, u32) {
    match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Tcp(l4)) => (l4.source_port, l4.destination_port),
        Some(Protocol::Udp(l4)) => (l4.source_port, l4.destination_port),
        Some(Protocol::Sctp(l4)) => (l4.source_port, l4.destination_port),
        _ => (0, 0),
    }
}

/// The identities of source and destination, in parentheses.
pub(super) fn identities(style: Style, flow: &Flow) -> (String, String) {
    let one = |endpoint: Option<&Endpoint>| {
        let number = endpoint.map_or(0, |endpoint| endpoint.identity);
        let text = entry(&RESERVED, number)
            .map_or_else(|| format!("(ID:{number})"), |name| format!("({name})"));
        style.paint(AnsiColor::Magenta, text).to_string()
    };
    (one(flow.source.as_ref()), one(flow.destination.as_ref()))
}

fn event_type(flow: &Flow) -> i32 {
    flow.event_type.as_ref().map_or(0, |event| event.r#type)
}

/// What kind of event a flow tells of.
pub(super) fn flow_type(flow: &Flow) -> String {
    if let Some(l7) = &flow.l7 {
        return l7_type(l7);
    }
    let sub_type = flow.event_type.as_ref().map_or(0, |event| event.sub_type);
    match event_type(flow) {
        event::TRACE => {
            entry(&TRACE_POINTS, sub_type).map_or_else(|| sub_type.to_string(), str::to_owned)
        }
        event::DROP => drops::text(flow, sub_type),
        event::POLICY_VERDICT => format!(
            "policy-verdict:{} {}",
            entry(&MATCHES, flow.policy_match_type).unwrap_or("unknown"),
            direction(flow).as_str_name(),
        ),
        event::CAPTURE => DebugCapturePoint::try_from(flow.debug_capture_point).map_or_else(
            |_| flow.debug_capture_point.to_string(),
            |p| p.as_str_name().to_owned(),
        ),
        event::TRACE_SOCK => socket_point(flow.sock_xlate_point),
        _ => "UNKNOWN".to_owned(),
    }
}

fn l7_type(l7: &Layer7) -> String {
    let kind = match l7.r#type() {
        L7FlowType::Request => "request",
        L7FlowType::Response => "response",
        L7FlowType::Sample => "sample",
        L7FlowType::UnknownL7Type => "unknown_l7_type",
    };
    match &l7.record {
        Some(Record::Http(_)) => format!("http-{kind}"),
        Some(Record::Dns(dns)) => format!("dns-{kind} {}", Safe(&dns.observation_source)),
        Some(Record::Kafka(_)) => format!("kafka-{kind}"),
        None => format!("l7-{kind}"),
    }
}

fn socket_point(number: i32) -> String {
    use SocketTranslationPoint as Point;
    match Point::try_from(number) {
        Ok(Point::SockXlatePointPreDirectionFwd) => "pre-xlate-fwd".to_owned(),
        Ok(Point::SockXlatePointPostDirectionFwd) => "post-xlate-fwd".to_owned(),
        Ok(Point::SockXlatePointPreDirectionRev) => "pre-xlate-rev".to_owned(),
        Ok(Point::SockXlatePointPostDirectionRev) => "post-xlate-rev".to_owned(),
        Ok(unknown) => unknown.as_str_name().to_owned(),
        Err(_) => number.to_string(),
    }
}

fn direction(flow: &Flow) -> TrafficDirection {
    flow.traffic_direction()
}

/// The policies that allowed a flow, or denied it, in the flow's direction.
fn policies(flow: &Flow, allowed: bool) -> &[Policy] {
    match (direction(flow), allowed) {
        (TrafficDirection::Ingress, true) => &flow.ingress_allowed_by,
        (TrafficDirection::Ingress, false) => &flow.ingress_denied_by,
        (TrafficDirection::Egress, true) => &flow.egress_allowed_by,
        (TrafficDirection::Egress, false) => &flow.egress_denied_by,
        (TrafficDirection::Unknown, _) => &[],
    }
}

/// What became of a flow; with the deciding policies where the style wants them. A refused L7
/// request names its policies as well, which the layouts followed here leave out.
pub(super) fn verdict(style: Style, flow: &Flow) -> String {
    let verdict = Verdict::try_from(flow.verdict);
    let mut text = match verdict {
        Ok(verdict) if event_type(flow) == event::POLICY_VERDICT => match verdict {
            Verdict::Forwarded | Verdict::Redirected => "ALLOWED".to_owned(),
            Verdict::Dropped | Verdict::Error => "DENIED".to_owned(),
            Verdict::Audit => "AUDITED".to_owned(),
            other => other.as_str_name().to_owned(),
        },
        Ok(verdict) => verdict.as_str_name().to_owned(),
        Err(_) => flow.verdict.to_string(),
    };
    let deciding = match verdict {
        _ if !style.policy_names => &[],
        Ok(Verdict::Forwarded | Verdict::Redirected) => policies(flow, true),
        Ok(Verdict::Dropped | Verdict::Error) => policies(flow, false),
        _ => &[],
    };
    if event_type(flow) == event::POLICY_VERDICT || flow.l7.is_some() {
        append_policies(&mut text, deciding);
    }
    match verdict {
        Ok(Verdict::Forwarded | Verdict::Redirected) => {
            style.paint(AnsiColor::Green, text).to_string()
        }
        Ok(Verdict::Dropped | Verdict::Error) => style.paint(AnsiColor::Red, text).to_string(),
        Ok(Verdict::Audit | Verdict::Traced | Verdict::Translated) => {
            style.paint(AnsiColor::Yellow, text).to_string()
        }
        Ok(Verdict::Unknown) | Err(_) => text,
    }
}

fn append_policies(text: &mut String, policies: &[Policy]) {
    for (index, policy) in policies.iter().enumerate() {
        text.push_str(if index == 0 { " BY " } else { ", " });
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{} ({})", Safe(&policy.name), Safe(&policy.kind));
    }
}

/// The flow's own summary, with the trace number of its packets and how it was authenticated.
pub(super) fn summary(style: Style, flow: &Flow) -> String {
    let mut text = String::new();
    if let Some(trace) = flow
        .ip_trace_id
        .as_ref()
        .filter(|trace| trace.trace_id != 0)
    {
        let _infallible = write!(text, "IP Trace ID: {}; ", trace.trace_id);
    }
    let _infallible = write!(text, "{}", Safe(&flow.summary));
    let auth = flow.auth_type();
    if auth != AuthType::Disabled {
        let color = match auth {
            AuthType::TestAlwaysFail => AnsiColor::Red,
            AuthType::Spire | AuthType::Disabled => AnsiColor::Green,
        };
        let _infallible = write!(text, "; Auth: {}", style.paint(color, auth.as_str_name()));
    }
    text
}

/// Where events were lost.
pub(super) fn lost_source(lost: &LostEvent) -> String {
    LostEventSource::try_from(lost.source).map_or_else(
        |_| lost.source.to_string(),
        |source| source.as_str_name().to_owned(),
    )
}

/// The CPU whose events were lost; 0 where nobody said.
pub(super) fn lost_cpu(lost: &LostEvent) -> i32 {
    lost.cpu.as_ref().map_or(0, |cpu| cpu.value)
}

/// From when to when events were lost, where both are known.
pub(super) fn lost_span(style: Style, event: &LostEvent) -> String {
    match (&event.first, &event.last) {
        (Some(first), Some(last)) => format!(
            " (first: {}, last: {})",
            style.timestamp(Some(first)),
            style.timestamp(Some(last))
        ),
        _ => String::new(),
    }
}

/// CPU, number and time of lost events.
pub(super) fn lost_summary(style: Style, lost: &LostEvent) -> String {
    format!(
        "CPU({}) - {}{}",
        lost_cpu(lost),
        lost.num_events_lost,
        lost_span(style, lost)
    )
}

/// Whether a node status is worth a line: nodes that are fine, or gone on purpose, are not.
pub(super) fn shows_node_status(style: Style, status: &NodeStatusEvent) -> bool {
    matches!(
        status.state_change(),
        NodeState::NodeUnavailable | NodeState::NodeError
    ) || style.connected_nodes
}

/// A sentence about what became of nodes.
pub(super) fn node_status(status: &NodeStatusEvent) -> String {
    let (count, names) = (status.node_names.len(), node_names(status));
    match status.state_change() {
        NodeState::NodeConnected => format!("Receiving flows from {count} nodes: {names}"),
        NodeState::NodeUnavailable => format!("{count} nodes are unavailable: {names}"),
        NodeState::NodeGone => format!("{count} nodes removed from cluster: {names}"),
        NodeState::NodeError => {
            format!("Error {} on {count} nodes: {names}", quote(&status.message))
        }
        NodeState::UnknownNodeState => format!("unknown status of {count} nodes: {names}"),
    }
}

/// The name of a node status.
pub(super) fn node_state(status: &NodeStatusEvent) -> String {
    NodeState::try_from(status.state_change).map_or_else(
        |_| status.state_change.to_string(),
        |state| state.as_str_name().to_owned(),
    )
}

/// The first node names, about half a line of them, and how many more there are.
pub(super) fn node_names(status: &NodeStatusEvent) -> String {
    const ROOM: usize = 48;
    let mut text = String::new();
    let mut shown = 0;
    for name in &status.node_names {
        if shown > 0 {
            if text.len() + ", ".len() + name.len() > ROOM {
                break;
            }
            text.push_str(", ");
        }
        text.push_str(name);
        shown += 1;
    }
    let left = status.node_names.len() - shown;
    let text = Safe(&text);
    if left == 0 {
        text.to_string()
    } else {
        format!("{text} (and {left} more)")
    }
}

/// The message of a node status, quoted.
pub(super) fn node_message(status: &NodeStatusEvent) -> String {
    if status.message.is_empty() {
        "N/A".to_owned()
    } else {
        quote(&status.message)
    }
}

/// Text in double quotes, with everything that is not printable escaped.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => {
                let _infallible = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _infallible = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
