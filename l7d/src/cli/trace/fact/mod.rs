//! A flow → what a story knows of it. Whoever made the flow, what Hubble has fields for is read from
//! them; the rest stands in the `extensions` of flows of l7d.

mod message;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proto::flow::layer4::Protocol;
use proto::flow::{self as pb, Endpoint, Flow, Policy, Service, TrafficDirection};

use message::message;

use crate::cli::matcher::connection::{number, time, transport};
use crate::clock::Timestamp;
use crate::print::drop_reason;
use crate::print::text::TRACE_POINTS;
use crate::record::{Direction, EndedBy, TcpHealth, Verdict};
use crate::story::{Ended, Fact, Judged, Packet, Peer, Total, Translated, What};

/// Numbers of `CiliumEventType.type`.
const DROP: i32 = 1;
const TRACE: i32 = 4;
const POLICY_VERDICT: i32 = 5;
const L7: i32 = 129;

/// The texts of a flow's extensions.
struct Texts(BTreeMap<String, String>);

impl Texts {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// 0 where it is absent, or no number.
    fn number<N: std::str::FromStr + Default>(&self, name: &str) -> N {
        self.get(name).parse().unwrap_or_default()
    }
}

/// What a flow says of a connection; none where it is about something else.
pub(super) fn of(flow: &Flow) -> Option<Fact> {
    let ip = flow.ip.as_ref()?;
    let l4 = flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref());
    let (protocol, source_port, destination_port) = transport(l4);
    let address = |text: &str, port: u32| {
        let ip: IpAddr = text.parse().ok()?;
        Some(SocketAddr::new(ip, u16::try_from(port).unwrap_or(0)))
    };
    let peer = |addr, end: Option<&Endpoint>, service, names: &[String]| Peer {
        addr,
        name: name(end, service, names).into(),
    };
    let extensions = flow.extensions.as_ref();
    let texts = Texts(extensions.map(proto::Any::texts).unwrap_or_default());
    // In a server's ring times rise, so that some flows are later there than what they tell.
    let late_us: u64 = texts.number("late_us");
    let mut fact = Fact {
        time: Timestamp(time(flow).0.saturating_sub(late_us.saturating_mul(1000))),
        node: Arc::from(flow.node_name.as_str()),
        number: number(flow).unwrap_or(0),
        protocol,
        source: peer(
            address(&ip.source, source_port)?,
            flow.source.as_ref(),
            flow.source_service.as_ref(),
            &flow.source_names,
        ),
        destination: peer(
            address(&ip.destination, destination_port)?,
            flow.destination.as_ref(),
            flow.destination_service.as_ref(),
            &flow.destination_names,
        ),
        translated: None,
        is_reply: flow.is_reply.as_ref().map(|reply| reply.value),
        what: what(flow, l4, &texts)?,
    };
    name_own_ends(&mut fact, &texts);
    Some(fact)
}

/// Where netfilter translates a connection's addresses, both its sides are of one story: by the client's
/// own address, and that of who serves.
fn name_own_ends(fact: &mut Fact, texts: &Texts) {
    let read = |name| texts.get(name).parse::<SocketAddr>().ok();
    let (backend, client) = (read("backend"), read("client"));
    let (service, xlated) = (read("service_address"), read("client_xlated"));
    if backend.or(service).or(xlated).is_none() {
        return;
    }
    let (from, to) = (fact.source.addr, fact.destination.addr);
    let (asking, serving) = if fact.is_reply == Some(true) {
        (&mut fact.destination, &mut fact.source)
    } else {
        (&mut fact.source, &mut fact.destination)
    };
    let service = service.or(backend.map(|_| serving.addr));
    if let Some(backend) = backend {
        *serving = Peer {
            addr: backend,
            name: name_or(texts.get("backend_pod"), &serving.name),
        };
    }
    if let Some(client) = client {
        *asking = Peer {
            addr: client,
            name: name_or(texts.get("client_pod"), &asking.name),
        };
    }
    fact.translated = Some(Box::new(Translated {
        seen: (from.min(to), from.max(to)),
        service,
        client: xlated,
    }));
}

fn name_or(name: &str, other: &Arc<str>) -> Arc<str> {
    if name.is_empty() {
        Arc::clone(other)
    } else {
        name.into()
    }
}

/// Pod, else service, else the youngest name of DNS.
fn name(end: Option<&Endpoint>, service: Option<&Service>, names: &[String]) -> String {
    let within = |namespace: &str, name: &str| match namespace {
        "" => name.to_owned(),
        namespace => format!("{namespace}/{name}"),
    };
    match (end, service) {
        (Some(end), _) if !end.pod_name.is_empty() => within(&end.namespace, &end.pod_name),
        (_, Some(service)) if !service.name.is_empty() => within(&service.namespace, &service.name),
        _ => names.last().cloned().unwrap_or_default(),
    }
}

fn what(flow: &Flow, l4: Option<&Protocol>, texts: &Texts) -> Option<What> {
    let event = flow.event_type.as_ref().map_or(0, |event| event.r#type);
    let (tcp_flags, has_flags) = match l4 {
        Some(Protocol::Tcp(tcp)) => (tcp.flags.as_ref().map_or(0, flag_bits), tcp.flags.is_some()),
        _ => (0, true),
    };
    let is_stream = !has_flags && texts.get("packets").is_empty();
    match event {
        _ if flow.l7.is_some() || event == L7 => {
            Some(What::Message(Box::new(message(flow, texts))))
        }
        TRACE if !texts.get("end").is_empty() => end(texts).map(What::End),
        TRACE | DROP if is_stream && !flow.summary.is_empty() => {
            Some(What::Stream(Box::new(message(flow, texts))))
        }
        TRACE => Some(What::Packet(packet(flow, tcp_flags, texts))),
        DROP => Some(What::Drop(judged(flow, tcp_flags, texts))),
        POLICY_VERDICT => Some(What::Verdict(judged(flow, tcp_flags, texts))),
        _ => None,
    }
}

fn flag_bits(flags: &pb::TcpFlags) -> u8 {
    let bits = [
        (flags.fin, 0x01),
        (flags.syn, 0x02),
        (flags.rst, 0x04),
        (flags.psh, 0x08),
        (flags.ack, 0x10),
        (flags.urg, 0x20),
        (flags.ece, 0x40),
        (flags.cwr, 0x80),
    ];
    bits.iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, bit)| bit)
        .sum()
}

fn packet(flow: &Flow, flags: u8, texts: &Texts) -> Packet {
    let sub_type = flow.event_type.as_ref().map_or(-1, |event| event.sub_type);
    let point = usize::try_from(sub_type)
        .ok()
        .and_then(|at| TRACE_POINTS.get(at));
    let event = texts.get("tcp_event");
    Packet {
        point: point.copied().unwrap_or(""),
        flags,
        summary: flow.summary.clone(),
        is_again: event == "syn_again",
        is_window_closed: event == "zero_window",
        packets: texts.number("packets"),
        bytes: texts.number("bytes"),
        health: health("", texts),
    }
}

/// What TCP measured of one direction; `prefix` says of which.
fn health(prefix: &str, texts: &Texts) -> TcpHealth {
    let number = |name: &str| texts.number(&format!("{prefix}{name}"));
    TcpHealth {
        handshake_us: texts.number("handshake_us"),
        srtt_us: number("rtt_us"),
        min_rtt_us: number("min_rtt_us"),
        retransmits: number("retransmits"),
        zero_windows: number("zero_windows"),
    }
}

fn judged(flow: &Flow, flags: u8, texts: &Texts) -> Judged {
    let detail = ["netfilter", "drop_meaning", "drop_reason", "drop_place"]
        .map(|name| texts.get(name))
        .into_iter()
        .filter(|text| !text.is_empty());
    let is_dropped = flow.verdict() == pb::Verdict::Dropped;
    Judged {
        verdict: verdict(flow),
        direction: direction(flow),
        reason: match i32::try_from(flow.drop_reason) {
            _ if !is_dropped => String::new(),
            Ok(0) | Err(_) => drop_reason(flow, flow.drop_reason_desc),
            Ok(reason) => drop_reason(flow, reason),
        },
        policies: policies(flow),
        detail: detail.collect::<Vec<_>>().join(", "),
        flags,
    }
}

fn verdict(flow: &Flow) -> Verdict {
    match flow.verdict() {
        pb::Verdict::Dropped => Verdict::Dropped,
        pb::Verdict::Error => Verdict::Error,
        pb::Verdict::Audit => Verdict::Audit,
        pb::Verdict::Redirected => Verdict::Redirected,
        pb::Verdict::Forwarded
        | pb::Verdict::Unknown
        | pb::Verdict::Traced
        | pb::Verdict::Translated => Verdict::Forwarded,
    }
}

fn direction(flow: &Flow) -> Direction {
    match flow.traffic_direction() {
        TrafficDirection::Ingress => Direction::Ingress,
        TrafficDirection::Egress => Direction::Egress,
        TrafficDirection::Unknown => Direction::Unknown,
    }
}

/// Those that decided.
fn policies(flow: &Flow) -> Vec<String> {
    let is_denied = matches!(flow.verdict(), pb::Verdict::Dropped | pb::Verdict::Audit);
    let lists = if is_denied {
        [&flow.egress_denied_by, &flow.ingress_denied_by]
    } else {
        [&flow.egress_allowed_by, &flow.ingress_allowed_by]
    };
    lists.into_iter().flatten().map(policy).collect()
}

fn policy(policy: &Policy) -> String {
    let name = match policy.namespace.as_str() {
        "" => policy.name.clone(),
        namespace => format!("{namespace}/{}", policy.name),
    };
    match policy.kind.as_str() {
        "" => name,
        kind => format!("{kind} {name}"),
    }
}

fn end(texts: &Texts) -> Option<Ended> {
    const ALL: [EndedBy; 7] = [
        EndedBy::Closed,
        EndedBy::ResetByClient,
        EndedBy::ResetByServer,
        EndedBy::Refused,
        EndedBy::NoAnswer,
        EndedBy::Idle,
        EndedBy::Replaced,
    ];
    let total = |prefix: &str| Total {
        packets: texts.number(&format!("{prefix}packets")),
        bytes: texts.number(&format!("{prefix}bytes")),
        health: health(prefix, texts),
    };
    Some(Ended {
        how: ALL
            .into_iter()
            .find(|how| how.as_str() == texts.get("end"))?,
        duration_us: texts.number("duration_us"),
        directions: [total("sent_"), total("received_")],
    })
}

#[cfg(test)]
mod tests;
