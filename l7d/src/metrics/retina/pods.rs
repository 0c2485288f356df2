//! What pods send, receive, lose and look up.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{View, What, direction_name, drop_reason};
use crate::config::{RetinaKind, RetinaLabel, RetinaMetric};
use crate::metrics::Budget;
use crate::metrics::count::Growing;
use crate::metrics::family::{AnyFamily, Family, Label, Moment, Shape};
use crate::metrics::histogram::{Histogram, RETINA_LATENCY};
use crate::metrics::key::Key;
use crate::record::{End, EndedBy, Event, L4, Party, Record, Trace, Verdict};

/// Flags by their names.
const FLAGS: [(u8, &str); 8] = [
    (0x01, "FIN"),
    (0x02, "SYN"),
    (0x04, "RST"),
    (0x08, "PSH"),
    (0x10, "ACK"),
    (0x20, "URG"),
    (0x40, "ECE"),
    (0x80, "CWR"),
];
/// Connections whose retransmissions were counted before their end.
const AHEAD_MAX: usize = 65_536;
/// Who serves the API of the cluster.
const API_SERVER: &str = "reserved:kube-apiserver";

/// A metric of pods.
#[derive(Debug)]
pub(super) struct Metric {
    wanted: RetinaMetric,
    has_remote_context: bool,
    counts: Counts,
    /// What was counted of connections that go on, by their directions.
    ahead: Mutex<HashMap<(u64, bool), u32, ahash::RandomState>>,
}

#[derive(Debug)]
enum Counts {
    Growing(Family<Growing>),
    Times(Family<Histogram>),
}

impl Metric {
    pub(super) fn new(
        wanted: &RetinaMetric,
        has_remote_context: bool,
        budget: &Arc<Budget>,
    ) -> Self {
        let (name, help, own) = told(wanted.kind);
        let mut labels = own;
        if has_remote_context {
            labels.extend(names(&wanted.source, SOURCE));
            labels.extend(names(&wanted.destination, DESTINATION));
        } else {
            labels.extend(names(&wanted.source, LOCAL));
        }
        labels.extend(wanted.has_is_reply.then_some(Label::few("is_reply")));
        let shape = Shape {
            name,
            help,
            unit: None,
            labels,
        };
        let counts = match wanted.kind {
            RetinaKind::NodeApiserverHandshakeLatency | RetinaKind::NodeApiserverLatency => {
                let make = || Histogram::new(&RETINA_LATENCY);
                Counts::Times(Family::new(shape, budget, RETINA_LATENCY.lines(), make))
            }
            _ => Counts::Growing(Family::new(shape, budget, 1, Growing::default)),
        };
        Self {
            wanted: wanted.clone(),
            has_remote_context,
            counts,
            ahead: Mutex::default(),
        }
    }

    pub(super) fn each(&self, visit: &mut dyn FnMut(&dyn AnyFamily)) {
        match &self.counts {
            Counts::Growing(family) => visit(family),
            Counts::Times(family) => visit(family),
        }
    }

    pub(super) fn note(&self, view: &View<'_>, moment: &Moment) {
        let record = view.record;
        let by_direction = |key: &mut Key| key.push(direction_name(view.direction));
        match (self.wanted.kind, &view.what) {
            (RetinaKind::ForwardCount, What::Forwarded { packets, .. }) if is_passed(record) => {
                self.add(view, moment, by_direction, *packets);
            }
            (RetinaKind::ForwardBytes, What::Forwarded { bytes, .. }) if is_passed(record) => {
                self.add(view, moment, by_direction, *bytes);
            }
            (RetinaKind::DropCount | RetinaKind::DropBytes, What::Dropped(said)) => {
                let bytes = said.map_or(0, |said| said.bytes.into());
                let is_count = self.wanted.kind == RetinaKind::DropCount;
                let write = |key: &mut Key| {
                    key.push(drop_reason(record, *said));
                    key.push(direction_name(view.direction));
                };
                self.add(view, moment, write, if is_count { 1 } else { bytes });
            }
            (RetinaKind::TcpFlagGauges, What::Forwarded { .. }) => self.note_flags(view, moment),
            (RetinaKind::TcpRetransmissionCount, What::Forwarded { .. } | What::Other) => {
                self.note_retransmits(view, moment);
            }
            (RetinaKind::DnsRequestCount | RetinaKind::DnsResponseCount, What::Other) => {
                self.note_lookup(view, moment);
            }
            (
                RetinaKind::NodeApiserverLatency
                | RetinaKind::NodeApiserverHandshakeLatency
                | RetinaKind::NodeApiserverNoResponse,
                What::Other,
            ) => self.note_api_server(view, moment),
            _ => {}
        }
    }

    /// Writes the labels of the ends behind others, and adds.
    fn add(&self, view: &View<'_>, moment: &Moment, write: impl FnOnce(&mut Key), more: u64) {
        let Counts::Growing(family) = &self.counts else {
            return;
        };
        if more == 0 {
            return;
        }
        let write = |key: &mut Key| {
            write(key);
            self.write_ends(view, key);
        };
        family.with(moment, write, |count| count.add(more));
    }

    fn write_ends(&self, view: &View<'_>, key: &mut Key) {
        let record = view.record;
        if self.has_remote_context {
            write_end(&self.wanted.source, &record.source, key);
            write_end(&self.wanted.destination, &record.destination, key);
        } else {
            let pod = view.pod.unwrap_or(&record.source);
            write_end(&self.wanted.source, pod, key);
        }
        if self.wanted.has_is_reply {
            key.push(match record.reply {
                Some(true) => "true",
                Some(false) => "false",
                None => "",
            });
        }
    }

    fn note_flags(&self, view: &View<'_>, moment: &Moment) {
        let (L4::Tcp { flags }, Event::Trace(_)) = (view.record.l4, &view.record.event) else {
            return;
        };
        for (bit, name) in FLAGS {
            if flags & bit != 0 {
                self.add(view, moment, |key| key.push(name), 1);
            }
        }
    }

    /// What was sent again since that was last counted.
    fn note_retransmits(&self, view: &View<'_>, moment: &Moment) {
        let connection = view.record.connection;
        let fresh = match &view.record.event {
            Event::Trace(Trace { health, .. }) => {
                let is_reply = view.record.reply == Some(true);
                self.fresh((connection, is_reply), health.retransmits)
            }
            Event::End(End { sent, received, .. }) if matches!(view.what, What::Other) => {
                let mut ahead = self.ahead.lock();
                let rest = [(false, sent), (true, received)].map(|(is_reply, direct)| {
                    let told = ahead.remove(&(connection, is_reply)).unwrap_or_default();
                    direct.health.retransmits.saturating_sub(told)
                });
                rest.iter().sum()
            }
            _ => 0,
        };
        self.add(view, moment, |_| {}, fresh.into());
    }

    fn fresh(&self, direction: (u64, bool), retransmits: u32) -> u32 {
        if retransmits == 0 {
            return 0;
        }
        let mut ahead = self.ahead.lock();
        if ahead.len() >= AHEAD_MAX && !ahead.contains_key(&direction) {
            // Counted at its end, all at once.
            return 0;
        }
        let told = ahead.entry(direction).or_default();
        retransmits.saturating_sub(std::mem::replace(told, retransmits))
    }

    fn note_lookup(&self, view: &View<'_>, moment: &Moment) {
        let record = view.record;
        let is_wanted = self.wanted.kind == RetinaKind::DnsResponseCount;
        let Some(dns) = record.dns().filter(|dns| dns.is_response == is_wanted) else {
            return;
        };
        let write = |key: &mut Key| {
            if dns.is_response {
                key.push(return_code(dns.rcode));
            }
            push_joined(record.text(dns.query_types), key);
            key.push_bytes(record.text(dns.query));
            if dns.is_response {
                push_joined(record.text(dns.addresses), key);
                let addresses = record.text(dns.addresses).split(|byte| *byte == b'\n');
                key.push_shown(addresses.filter(|line| !line.is_empty()).count());
            }
        };
        self.add(view, moment, write, 1);
    }

    /// Connections to the API server, at their end.
    fn note_api_server(&self, view: &View<'_>, moment: &Moment) {
        let record = view.record;
        let labels = record.destination.labels();
        let Event::End(end) = &record.event else {
            return;
        };
        if !labels.iter().any(|label| label == API_SERVER) {
            return;
        }
        let (time_us, is_unanswered) = match self.wanted.kind {
            RetinaKind::NodeApiserverLatency => (end.sent.health.srtt_us, false),
            RetinaKind::NodeApiserverHandshakeLatency => (end.sent.health.handshake_us, false),
            _ => (0, end.how == EndedBy::NoAnswer),
        };
        if is_unanswered {
            self.add(view, moment, |key| key.push("no_response"), 1);
        }
        if let Counts::Times(family) = &self.counts
            && time_us > 0
        {
            let write = |key: &mut Key| self.write_ends(view, key);
            family.with(moment, write, |times| times.observe(time_us.into()));
        }
    }
}

fn is_passed(record: &Record) -> bool {
    matches!(record.verdict, Verdict::Forwarded | Verdict::Redirected)
}

/// Name, help and own labels.
fn told(kind: RetinaKind) -> (&'static str, &'static str, Vec<Label>) {
    let few = |names: &[&'static str]| names.iter().copied().map(Label::few).collect();
    let open = |names: &[&'static str]| names.iter().copied().map(Label::open).collect();
    match kind {
        RetinaKind::DnsRequestCount => (
            "networkobservability_adv_dns_request_count",
            "DNS queries",
            open(&["query_type", "query"]),
        ),
        RetinaKind::DnsResponseCount => (
            "networkobservability_adv_dns_response_count",
            "DNS answers",
            open(&[
                "return_code",
                "query_type",
                "query",
                "response",
                "num_response",
            ]),
        ),
        RetinaKind::DropBytes => (
            "networkobservability_adv_drop_bytes",
            "Bytes of dropped packets, where they are known",
            few(&["reason", "direction"]),
        ),
        RetinaKind::DropCount => (
            "networkobservability_adv_drop_count",
            "Dropped packets",
            few(&["reason", "direction"]),
        ),
        RetinaKind::ForwardBytes => (
            "networkobservability_adv_forward_bytes",
            "Bytes that passed",
            few(&["direction"]),
        ),
        RetinaKind::ForwardCount => (
            "networkobservability_adv_forward_count",
            "Packets that passed",
            few(&["direction"]),
        ),
        RetinaKind::NodeApiserverHandshakeLatency => (
            "networkobservability_adv_node_apiserver_tcp_handshake_latency",
            "Time of TCP handshakes with the API server, in milliseconds",
            Vec::new(),
        ),
        RetinaKind::NodeApiserverLatency => (
            "networkobservability_adv_node_apiserver_latency",
            "Smoothed round trips to the API server, in milliseconds",
            Vec::new(),
        ),
        RetinaKind::NodeApiserverNoResponse => (
            "networkobservability_adv_node_apiserver_no_response",
            "Connections that the API server did not answer",
            few(&["no_response"]),
        ),
        RetinaKind::TcpFlagGauges => (
            "networkobservability_adv_tcpflags_count",
            "Flags of TCP in packets that have a record",
            few(&["flag"]),
        ),
        RetinaKind::TcpRetransmissionCount => (
            "networkobservability_adv_tcpretrans_count",
            "Segments that were sent again",
            Vec::new(),
        ),
    }
}

/// Names of labels of an end, in the order of what they say.
type Names = [&'static str; 7];
const LOCAL: Names = [
    "ip",
    "namespace",
    "podname",
    "port",
    "service",
    "workload_kind",
    "workload_name",
];
const SOURCE: Names = [
    "source_ip",
    "source_namespace",
    "source_podname",
    "source_port",
    "source_service",
    "source_workload_kind",
    "source_workload_name",
];
const DESTINATION: Names = [
    "destination_ip",
    "destination_namespace",
    "destination_podname",
    "destination_port",
    "destination_service",
    "destination_workload_kind",
    "destination_workload_name",
];

fn names(wanted: &[RetinaLabel], names: Names) -> Vec<Label> {
    let [ip, namespace, podname, port, service, kind, name] = names;
    let mut labels = Vec::new();
    for label in wanted {
        let (label, more) = match label {
            RetinaLabel::Ip => (ip, None),
            RetinaLabel::Namespace => (namespace, None),
            RetinaLabel::Podname => (podname, None),
            RetinaLabel::Port => (port, None),
            RetinaLabel::Service => (service, None),
            RetinaLabel::Workload => (kind, Some(name)),
        };
        labels.push(Label::open(label));
        labels.extend(more.map(Label::open));
    }
    labels
}

fn write_end(labels: &[RetinaLabel], party: &Party, key: &mut Key) {
    let owner = party
        .endpoint
        .as_deref()
        .and_then(|endpoint| endpoint.workload.as_ref());
    for label in labels {
        match label {
            RetinaLabel::Ip => key.push_shown(party.addr.ip()),
            RetinaLabel::Namespace => key.push(party.namespace()),
            RetinaLabel::Podname => key.push(party.name()),
            RetinaLabel::Port => key.push_shown(party.addr.port()),
            RetinaLabel::Service => {
                key.push(party.service.as_deref().map_or("", |service| &service.name));
            }
            RetinaLabel::Workload => {
                key.push(owner.map_or("", |owner| &owner.kind));
                key.push(owner.map_or("", |owner| &owner.name));
            }
        }
    }
}

/// Lines, joined by commas.
fn push_joined(lines: &[u8], key: &mut Key) {
    let text = std::str::from_utf8(lines).unwrap_or_default();
    key.push_with(|joined| {
        for (at, line) in text.lines().enumerate() {
            if at > 0 {
                joined.push(',');
            }
            joined.push_str(line);
        }
    });
}

/// What Retina calls a code of RFC 1035 §4.1.1.
fn return_code(code: u16) -> &'static str {
    match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => "UNKNOWN",
    }
}
