//! What a flow says: who asked whom, what for, and what became of it.
//!
//! Whoever made the flow, what Hubble has fields for is read from them; the rest stands in the
//! `extensions` of flows of l7d.

mod message;

use std::collections::BTreeMap;

use parsers::template::Templates;
use proto::flow::layer4::Protocol as L4;
use proto::flow::{self as pb, Flow, TraceReason, TrafficDirection};

use super::edge::Side;
use super::node::{By, End, plain};
use super::{Fault, Protocol, Reason, Sighting, What};
use crate::clock::Timestamp;
use crate::print::drop_reason;

/// Numbers of `CiliumEventType.type`.
const DROP: i32 = 1;
const TRACE: i32 = 4;
const POLICY_VERDICT: i32 = 5;
const L7: i32 = 129;

/// Longest reason that is kept; what a server says may be of any length.
const REASON_CHARS: usize = 160;

/// Reads flows.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    by: By,
    templates: Templates,
}

/// The texts of a flow's extensions.
struct Texts(BTreeMap<String, String>);

impl Texts {
    fn of(flow: &Flow) -> Self {
        let extensions = flow.extensions.as_ref();
        Self(extensions.map(proto::Any::texts).unwrap_or_default())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or_default()
    }
}

impl Reader {
    /// One whose nodes are of that kind, and whose paths are folded by these templates first.
    pub fn new(by: By, templates: Templates) -> Self {
        Self { by, templates }
    }

    /// What a flow says for the map; none where it is about nothing between two ends.
    pub fn read(&self, flow: &Flow) -> Option<Sighting> {
        let texts = Texts::of(flow);
        let ip = flow.ip.as_ref()?;
        let (protocol, from, to) = transport(flow);
        let is_reply = match &flow.is_reply {
            Some(reply) => reply.value,
            // Nobody says: servers have the lower ports.
            None => protocol != Protocol::Icmp && from < to && from < 32_768 && from != 0,
        };
        let source = End {
            endpoint: flow.source.as_ref(),
            service: flow.source_service.as_ref(),
            names: &flow.source_names,
            ip: &ip.source,
            hidden_pod: "",
        };
        let destination = End {
            endpoint: flow.destination.as_ref(),
            service: flow.destination_service.as_ref(),
            names: &flow.destination_names,
            ip: &ip.destination,
            hidden_pod: "",
        };
        let (mut client, mut server, port) = if is_reply {
            (destination, source, from)
        } else {
            (source, destination, to)
        };
        client.hidden_pod = texts.get("client_pod");
        server.hidden_pod = texts.get("backend_pod");
        let is_alone = !client.is_known() && !server.is_known();
        let what = self.what(flow, is_reply, &texts)?;
        Some(Sighting {
            time: time(flow, &texts),
            client: client.node(self.by, is_alone),
            server: server.node(self.by, is_alone),
            pods: (client.pod(), server.pod()),
            protocol: message::protocol(flow, &texts).unwrap_or(protocol),
            port: if protocol == Protocol::Icmp { 0 } else { port },
            side: side(flow),
            what,
            audited: audited(flow),
            allowed_by: allowed_by(flow),
        })
    }

    fn what(&self, flow: &Flow, is_reply: bool, texts: &Texts) -> Option<What> {
        let event = flow.event_type.as_ref().map_or(0, |event| event.r#type);
        let is_denied = flow.verdict() == pb::Verdict::Dropped;
        match event {
            _ if flow.l7.is_some() => message::what(self, flow, texts),
            L7 => None,
            TRACE if !texts.get("end").is_empty() => Some(end(texts)),
            DROP => Some(What::Dropped {
                reason: dropped(flow, texts),
                is_verdict: false,
            }),
            POLICY_VERDICT if is_denied => Some(What::Dropped {
                reason: dropped(flow, texts),
                is_verdict: true,
            }),
            _ if is_denied => Some(What::Dropped {
                reason: dropped(flow, texts),
                is_verdict: false,
            }),
            TRACE | POLICY_VERDICT => Some(passed(flow, event, is_reply, texts)),
            _ => None,
        }
    }

    fn template(&self, path: &str) -> String {
        self.templates.fold(path).into_owned()
    }
}

/// In a server's ring times rise, so that some flows are later there than what they tell.
fn time(flow: &Flow, texts: &Texts) -> Timestamp {
    let time = flow.time.unwrap_or_default();
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    let nanos = u64::try_from(time.nanos).unwrap_or(0);
    let late = texts.number("late_us").saturating_mul(1000);
    let time = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    Timestamp(time.saturating_sub(late))
}

/// What it is sent by, and from and to which ports.
pub(crate) fn transport(flow: &Flow) -> (Protocol, u16, u16) {
    let ports = |from: u32, to: u32| {
        let port = |port| u16::try_from(port).unwrap_or(0);
        (port(from), port(to))
    };
    let l4 = flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref());
    let (protocol, (from, to)) = match l4 {
        Some(L4::Tcp(l4)) => (Protocol::Tcp, ports(l4.source_port, l4.destination_port)),
        Some(L4::Udp(l4)) => (Protocol::Udp, ports(l4.source_port, l4.destination_port)),
        Some(L4::Sctp(l4)) => (Protocol::Sctp, ports(l4.source_port, l4.destination_port)),
        Some(L4::IcmPv4(_) | L4::IcmPv6(_)) => (Protocol::Icmp, (0, 0)),
        Some(_) | None => (Protocol::Other, (0, 0)),
    };
    (protocol, from, to)
}

/// Hubble tells the direction of the connection, of replies as well.
fn side(flow: &Flow) -> Side {
    match flow.traffic_direction() {
        TrafficDirection::Egress => Side::Egress,
        TrafficDirection::Ingress => Side::Ingress,
        TrafficDirection::Unknown => Side::Unknown,
    }
}

fn dropped(flow: &Flow, texts: &Texts) -> Reason {
    const POLICY: [i32; 2] = [133, 181];
    let sub_type = flow.event_type.as_ref().map_or(0, |event| event.sub_type);
    let reason = match flow.drop_reason_desc {
        0 => i32::try_from(flow.drop_reason).unwrap_or(0),
        reason => reason,
    };
    let reason = if reason == 0 { sub_type } else { reason };
    let policies = policies([&flow.egress_denied_by, &flow.ingress_denied_by]);
    let is_denied = POLICY.contains(&reason) || !policies.is_empty();
    let (fault, by) = match texts.get("netfilter") {
        "" if is_denied => (Fault::Denied, policies.join(", ")),
        "" => (Fault::Dropped, texts.get("drop_place").to_owned()),
        rule => (Fault::Dropped, rule.to_owned()),
    };
    let text = drop_reason(flow, reason);
    Reason {
        fault,
        text: if text == "Success" {
            "dropped".to_owned()
        } else {
            short(&text)
        },
        by,
    }
}

/// Those that would have denied it, were they in force.
fn audited(flow: &Flow) -> Option<Reason> {
    (flow.verdict() == pb::Verdict::Audit).then(|| Reason {
        fault: Fault::Audited,
        text: "an audited policy would deny it".to_owned(),
        by: policies([&flow.egress_denied_by, &flow.ingress_denied_by]).join(", "),
    })
}

fn allowed_by(flow: &Flow) -> Vec<String> {
    policies([&flow.egress_allowed_by, &flow.ingress_allowed_by])
}

/// `namespace/name`, with the kind where it is told.
pub(crate) fn policies(lists: [&Vec<pb::Policy>; 2]) -> Vec<String> {
    let shown = |policy: &pb::Policy| {
        let name = match policy.namespace.as_str() {
            "" => policy.name.clone(),
            namespace => format!("{namespace}/{}", policy.name),
        };
        match policy.kind.as_str() {
            "" => name,
            kind => format!("{kind} {name}"),
        }
    };
    lists
        .into_iter()
        .flatten()
        .map(|policy| plain(&shown(policy)))
        .collect()
}

fn passed(flow: &Flow, event: i32, is_reply: bool, texts: &Texts) -> What {
    let flags = match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(L4::Tcp(tcp)) => tcp.flags.as_ref(),
        _ => None,
    };
    let sub_type = flow.event_type.as_ref().map_or(0, |event| event.sub_type);
    let is_again = texts.get("tcp_event") == "syn_again";
    let point = usize::try_from(sub_type).unwrap_or(usize::MAX);
    What::Passed {
        point,
        // A verdict on the first packet is told beside the packet.
        is_open: event == TRACE
            && !is_reply
            && !is_again
            && flags.map_or(flow.trace_reason() == TraceReason::New, |flags| {
                flags.syn && !flags.ack
            }),
        retransmits: texts.number("retransmits"),
    }
}

fn end(texts: &Texts) -> What {
    let failed = match texts.get("end") {
        "refused" => Some("connection refused"),
        "no_answer" => Some("no answer to the SYN"),
        "reset_by_server" => Some("reset by the server"),
        _ => None,
    };
    What::Ended {
        failed: failed.map(|text| Reason {
            fault: Fault::Unanswered,
            text: text.to_owned(),
            by: String::new(),
        }),
        sent: texts.number("sent_bytes"),
        received: texts.number("received_bytes"),
    }
}

/// One line of bounded length.
fn short(text: &str) -> String {
    let cut: String = text.chars().take(REASON_CHARS).collect();
    plain(&cut)
}

#[cfg(test)]
mod tests;
