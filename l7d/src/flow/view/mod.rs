//! Record → protobuf flow, and only here.
//!
//! What Hubble has no field for goes into `extensions` as a Struct: `outcome`, `detail` and `rule`
//! of an L7 flow, packets and bytes of a trace, the VLAN, kinds of tunnels that it does not know, and
//! who serves behind a service.

mod agent_event;
mod dns;
mod drops;
pub(crate) mod icmp;
mod interfaces;
mod mask;
mod node_labels;
mod summary;
mod translation;
mod transport;
mod tunnel;

use std::net::IpAddr;
use std::sync::Arc;

use proto::Any;
use proto::flow::{
    self as pb, CiliumEventType, Flow, FlowType, L7FlowType, Layer4, Layer7, layer4, layer7,
};

use crate::clock::Timestamp;
use crate::record::{
    ConnState, Direction, DnsNames, DropReason, Event, Http, HttpKind, L4, Observer, Opaque,
    Outcome, Party, PolicyRef, Record, Service, Span, TraceParent, TracePoint, Verdict,
};

pub use agent_event::agent_event;
pub use interfaces::Interfaces;
pub use mask::{Mask, MaskError};
pub use node_labels::NodeLabels;

/// What all flows of a node share.
#[derive(Debug, Clone, Default)]
pub struct NodeView {
    /// `node`, or `cluster/node` where the cluster is not the default one.
    pub name: String,
    /// Version in the emitter field.
    pub version: String,
    /// Distinguishes the flows of this run from those of others.
    pub seed: u64,
    /// Labels of the node.
    pub labels: NodeLabels,
    /// Names of its interfaces.
    pub interfaces: Interfaces,
}

/// Hubble's event type numbers.
pub(crate) const EVENT_DROP: i32 = 1;
pub(crate) const EVENT_TRACE: i32 = 4;
pub(crate) const EVENT_POLICY_VERDICT: i32 = 5;
pub(crate) const EVENT_L7: i32 = 129;

impl NodeView {
    /// The flow of a record.
    pub fn flow(&self, record: &Record) -> Flow {
        let mut flow = Flow {
            time: Some(timestamp(record.time)),
            uuid: self.uuid(record),
            emitter: Some(pb::Emitter {
                name: "l7d".to_owned(),
                version: self.version.clone(),
            }),
            verdict: verdict(record.verdict).into(),
            ip: Some(pb::Ip {
                source_xlated: translation::source_xlated(record),
                ..ip(record.source.addr.ip(), record.destination.addr.ip())
            }),
            l4: l4(record),
            source: Some(endpoint(&record.source)),
            destination: Some(endpoint(&record.destination)),
            r#type: FlowType::L3L4.into(),
            node_name: self.name.clone(),
            node_labels: self.labels.get().to_vec(),
            source_service: record.source.service.as_deref().map(service),
            destination_service: record.destination.service.as_deref().map(service),
            traffic_direction: direction(record.direction).into(),
            is_reply: record.reply.map(Into::into),
            reply: record.reply.unwrap_or(false),
            event_type: Some(event_type(record)),
            source_names: names(record.source_names.as_deref()),
            destination_names: names(record.destination_names.as_deref()),
            tunnel: tunnel::of(record),
            interface: self.interface(record),
            summary: summary::of(record),
            ..Flow::default()
        };
        fill_event(&mut flow, record);
        fill_policies(&mut flow, record);
        flow.extensions = extensions(record);
        flow
    }

    fn interface(&self, record: &Record) -> Option<pb::NetworkInterface> {
        (record.interface != 0).then(|| pb::NetworkInterface {
            index: record.interface,
            name: self.interfaces.name(record.interface).unwrap_or_default(),
        })
    }

    /// A name for the flow that stays the same however often it is read: time stamps are unique on
    /// a node.
    pub fn uuid(&self, record: &Record) -> String {
        let high = record.time.0 ^ self.seed.rotate_left(17);
        let low = record.time.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.seed;
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
            .into_uuid()
            .to_string()
    }
}

/// Most names of an address that a flow shows: one of a large provider has many.
const NAMES_SHOWN: usize = 16;

/// The youngest names, oldest first.
fn names(known: Option<&DnsNames>) -> Vec<String> {
    let shown = known.map_or(&[] as &[_], shown_names);
    shown.iter().map(ToString::to_string).collect()
}

/// Those that are shown.
pub(crate) fn shown_names(names: &DnsNames) -> &[Arc<str>] {
    let older = names.0.len().saturating_sub(NAMES_SHOWN);
    names.0.get(older..).unwrap_or_default()
}

/// As protobuf has it.
pub(crate) fn timestamp(time: Timestamp) -> proto::Timestamp {
    let (seconds, nanos) = time.to_parts();
    proto::Timestamp { seconds, nanos }
}

/// Hubble's verdict.
pub(crate) fn verdict(verdict: Verdict) -> pb::Verdict {
    match verdict {
        Verdict::Forwarded => pb::Verdict::Forwarded,
        Verdict::Dropped => pb::Verdict::Dropped,
        Verdict::Error => pb::Verdict::Error,
        Verdict::Audit => pb::Verdict::Audit,
        Verdict::Redirected => pb::Verdict::Redirected,
    }
}

/// Hubble's direction.
pub(crate) fn direction(direction: Direction) -> pb::TrafficDirection {
    match direction {
        Direction::Unknown => pb::TrafficDirection::Unknown,
        Direction::Ingress => pb::TrafficDirection::Ingress,
        Direction::Egress => pb::TrafficDirection::Egress,
    }
}

/// Hubble's event type and sub-type.
pub(crate) fn event_type(record: &Record) -> CiliumEventType {
    let (kind, sub_type) = match &record.event {
        Event::Trace(trace) => (EVENT_TRACE, trace.point as i32),
        Event::End(end) => (EVENT_TRACE, end.point as i32),
        Event::Drop { reason, kernel } => (EVENT_DROP, drops::sub_type(*reason, kernel.as_deref())),
        Event::PolicyVerdict { .. } => (EVENT_POLICY_VERDICT, 0),
        // A connection that is not followed is a trace of where it was seen: the stock CLI then
        // prints the point and the summary. One that policy refused is a drop.
        Event::Opaque(opaque) => match opaque_reason(opaque) {
            Some(reason) => (EVENT_DROP, i32::from(reason.0)),
            None => (EVENT_TRACE, opaque_point(record.observer) as i32),
        },
        Event::Dns(_) | Event::Http(_) => (EVENT_L7, 0),
    };
    CiliumEventType {
        r#type: kind,
        sub_type,
    }
}

/// A connection that policy refused as a whole was dropped, like one that the kernel drops.
pub(crate) fn opaque_reason(opaque: &Opaque) -> Option<DropReason> {
    (opaque.outcome == Outcome::PolicyDenied).then_some(DropReason::POLICY_DENIED)
}

/// Where a connection that is not followed was seen. In a capture no proxy was there.
pub(crate) fn opaque_point(observer: Observer) -> TracePoint {
    match observer {
        Observer::Capture => TracePoint::FromNetwork,
        Observer::Kernel => TracePoint::ToEndpoint,
        Observer::Proxy => TracePoint::ToProxy,
    }
}

fn ip(source: IpAddr, destination: IpAddr) -> pb::Ip {
    pb::Ip {
        source: source.to_string(),
        destination: destination.to_string(),
        ip_version: if source.is_ipv4() {
            pb::IpVersion::IPv4
        } else {
            pb::IpVersion::IPv6
        }
        .into(),
        ..pb::Ip::default()
    }
}

fn l4(record: &Record) -> Option<Layer4> {
    let source_port = u32::from(record.source.addr.port());
    let destination_port = u32::from(record.destination.addr.port());
    let protocol = match record.l4 {
        L4::Tcp { flags } => layer4::Protocol::Tcp(pb::Tcp {
            source_port,
            destination_port,
            flags: (flags != 0).then(|| tcp_flags(flags)),
        }),
        L4::Udp => layer4::Protocol::Udp(pb::Udp {
            source_port,
            destination_port,
        }),
        L4::Sctp => layer4::Protocol::Sctp(pb::Sctp {
            source_port,
            destination_port,
            ..pb::Sctp::default()
        }),
        L4::Icmp4 { kind, code } => layer4::Protocol::IcmPv4(pb::IcmPv4 {
            r#type: kind.into(),
            code: code.into(),
        }),
        L4::Icmp6 { kind, code } => layer4::Protocol::IcmPv6(pb::IcmPv6 {
            r#type: kind.into(),
            code: code.into(),
        }),
        L4::Other(_) => return None,
    };
    Some(Layer4 {
        protocol: Some(protocol),
    })
}

fn tcp_flags(flags: u8) -> pb::TcpFlags {
    let has = |bit: u8| flags & bit != 0;
    pb::TcpFlags {
        fin: has(0x01),
        syn: has(0x02),
        rst: has(0x04),
        psh: has(0x08),
        ack: has(0x10),
        urg: has(0x20),
        ece: has(0x40),
        cwr: has(0x80),
        ns: false,
    }
}

fn endpoint(party: &Party) -> pb::Endpoint {
    let known = party.endpoint.as_deref();
    let workload = known.and_then(|known| known.workload.as_ref());
    pb::Endpoint {
        id: known.map_or(0, |known| known.id.0.into()),
        identity: party.identity.0,
        cluster_name: known.map(|known| known.cluster.clone()).unwrap_or_default(),
        namespace: party.namespace().to_owned(),
        labels: party.labels().to_vec(),
        pod_name: party.name().to_owned(),
        workloads: workload
            .map(|workload| pb::Workload {
                name: workload.name.clone(),
                kind: workload.kind.clone(),
            })
            .into_iter()
            .collect(),
    }
}

fn service(service: &Service) -> pb::Service {
    pb::Service {
        name: service.name.clone(),
        namespace: service.namespace.clone(),
    }
}

fn fill_event(flow: &mut Flow, record: &Record) {
    match &record.event {
        Event::Trace(trace) => {
            flow.trace_observation_point = observation_point(trace.point);
            flow.trace_reason = trace.state as i32;
        }
        Event::End(end) => {
            flow.trace_observation_point = observation_point(end.point);
            flow.trace_reason = ConnState::Established as i32;
        }
        Event::Drop { reason, .. } => fill_reason(flow, reason.0),
        Event::PolicyVerdict { match_type, reason } => {
            flow.policy_match_type = u32::from(*match_type);
            if let Some(reason) = reason {
                fill_reason(flow, reason.0);
            }
        }
        Event::Opaque(opaque) => match opaque_reason(opaque) {
            Some(reason) => fill_reason(flow, reason.0),
            None => flow.trace_observation_point = opaque_point(record.observer) as i32,
        },
        Event::Http(http) => {
            flow.r#type = FlowType::L7.into();
            flow.l7 = Some(layer7(record, http));
            flow.trace_context = http.trace.as_ref().map(trace_context);
        }
        Event::Dns(dns) => {
            flow.r#type = FlowType::L7.into();
            flow.l7 = Some(dns::layer7(record, dns));
        }
    }
}

/// 0 is "unknown" on the API, so the first point has a number of its own.
fn observation_point(point: TracePoint) -> i32 {
    match point {
        TracePoint::ToEndpoint => 101,
        other => other as i32,
    }
}

fn fill_reason(flow: &mut Flow, reason: u8) {
    flow.drop_reason = u32::from(reason);
    flow.drop_reason_desc = i32::from(reason);
}

fn layer7(record: &Record, http: &Http) -> Layer7 {
    let text = |span| String::from_utf8_lossy(record.text(span)).into_owned();
    Layer7 {
        r#type: match http.kind {
            HttpKind::Request => L7FlowType::Request,
            HttpKind::Response => L7FlowType::Response,
            HttpKind::Sample => L7FlowType::Sample,
        }
        .into(),
        latency_ns: http.latency_ns,
        record: Some(layer7::Record::Http(pb::Http {
            code: http.code.into(),
            method: text(http.method),
            url: text(http.url),
            protocol: protocol(http.version).to_owned(),
            headers: headers(record, http),
        })),
    }
}

fn trace_context(parent: &TraceParent) -> pb::TraceContext {
    pb::TraceContext {
        parent: Some(pb::TraceParent {
            trace_id: parent.trace_id(),
        }),
    }
}

/// `HTTP/1`, `HTTP/1.1`, `HTTP/2`.
pub(crate) fn protocol(version: u8) -> &'static str {
    match version {
        10 => "HTTP/1",
        20 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// Header fields, sorted, with names in the form that Go writes them.
pub(crate) fn headers(record: &Record, http: &Http) -> Vec<pb::HttpHeader> {
    let lines = record.text(http.headers).split(|byte| *byte == b'\n');
    let mut headers: Vec<pb::HttpHeader> = lines
        .filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            Some(pb::HttpHeader {
                key: canonical(name),
                value: String::from_utf8_lossy(value).into_owned(),
            })
        })
        .collect();
    headers.sort_by(|a, b| a.key.cmp(&b.key));
    headers
}

/// `user-agent` → `User-Agent`.
fn canonical(name: &[u8]) -> String {
    let mut is_start = true;
    name.iter()
        .map(|byte| {
            let byte = if is_start {
                byte.to_ascii_uppercase()
            } else {
                byte.to_ascii_lowercase()
            };
            is_start = byte == b'-';
            char::from(byte)
        })
        .collect()
}

fn fill_policies(flow: &mut Flow, record: &Record) {
    let policies: Vec<pb::Policy> = record.policies.iter().map(policy).collect();
    let is_denied = matches!(record.verdict, Verdict::Dropped | Verdict::Audit);
    let list = match (record.direction, is_denied) {
        (Direction::Egress, false) => &mut flow.egress_allowed_by,
        (Direction::Egress, true) => &mut flow.egress_denied_by,
        (Direction::Ingress | Direction::Unknown, false) => &mut flow.ingress_allowed_by,
        (Direction::Ingress | Direction::Unknown, true) => &mut flow.ingress_denied_by,
    };
    *list = policies;
    let logs = record
        .policies
        .iter()
        .filter_map(|policy| policy.log.clone());
    flow.policy_log = logs.collect();
}

fn policy(policy: &PolicyRef) -> pb::Policy {
    pb::Policy {
        name: policy.name.clone(),
        namespace: policy.namespace.clone(),
        labels: policy.labels.clone(),
        revision: policy.revision,
        kind: policy.kind.as_str().to_owned(),
    }
}

/// One line that says what a record tells.
pub fn summary(record: &Record) -> String {
    summary::of(record)
}

fn extensions(record: &Record) -> Option<Any> {
    let fields = extension_fields(record);
    (!fields.is_empty()).then(|| Any::of_texts(fields))
}

/// What Hubble has no fields for, by names that stay.
pub fn extension_fields(record: &Record) -> Vec<(&'static str, String)> {
    let mut fields: Vec<(&'static str, String)> = Vec::new();
    match &record.event {
        Event::Http(http) => {
            of_http(record, http, &mut fields);
            let is_answer = http.kind != HttpKind::Request;
            transport::of_message(&http.network, is_answer, http.outcome, &mut fields);
        }
        Event::Dns(dns) => {
            of_outcome(record, dns.outcome, dns.detail, &mut fields);
            transport::of_message(&dns.network, dns.is_response, dns.outcome, &mut fields);
        }
        Event::Trace(trace) => transport::of_trace(trace, &mut fields),
        Event::End(end) => transport::of_end(end, &mut fields),
        Event::Opaque(opaque) => {
            of_outcome(record, opaque.outcome, opaque.detail, &mut fields);
            transport::of_message(&opaque.network, true, opaque.outcome, &mut fields);
        }
        Event::Drop {
            kernel: Some(said), ..
        } => drops::extend(said, &mut fields),
        Event::Drop { kernel: None, .. } | Event::PolicyVerdict { .. } => {}
    }
    if record.late_us != 0 {
        fields.push(("late_us", record.late_us.to_string()));
    }
    if record.connection != 0 {
        fields.push(("connection", format!("{:x}", record.connection)));
    }
    translation::extend(record, &mut fields);
    tunnel::extend(record, &mut fields);
    if let Some(policy) = record
        .policies
        .first()
        .filter(|policy| !policy.rule.is_empty())
    {
        fields.push(("rule", policy.rule.clone()));
    }
    fields
}

fn of_outcome(record: &Record, outcome: Outcome, detail: Span, fields: &mut Vec<(&str, String)>) {
    if outcome != Outcome::Passed {
        fields.push(("outcome", outcome.as_str().to_owned()));
    }
    let detail = String::from_utf8_lossy(record.text(detail));
    if !detail.is_empty() {
        fields.push(("detail", detail.into_owned()));
    }
}

fn of_http(record: &Record, http: &Http, fields: &mut Vec<(&str, String)>) {
    let text = |span| String::from_utf8_lossy(record.text(span)).into_owned();
    of_outcome(record, http.outcome, http.detail, fields);
    let Some(grpc) = &http.grpc else { return };
    if let Some(status) = grpc.status {
        fields.push(("grpc_status", status.to_string()));
    }
    let message = text(grpc.message);
    if !message.is_empty() {
        fields.push(("grpc_message", message));
    }
    for (name, volume) in [("sent", grpc.sent), ("received", grpc.received)] {
        let told = format!("{} messages, {} bytes", volume.messages, volume.bytes);
        fields.push((name, told));
    }
}

/// Hubble's name of a drop reason.
pub fn drop_reason_name(reason: DropReason) -> &'static str {
    let reason = proto::flow::DropReason::try_from(i32::from(reason.0));
    reason.map_or("DROP_REASON_UNKNOWN", |reason| reason.as_str_name())
}

#[cfg(test)]
mod tests;
