//! One line that says what a flow was; clients print it as it is.

use super::{icmp, protocol};
use crate::record::{End, EndedBy, Event, Http, HttpKind, L4, Opaque, Outcome, Record, Verdict};

/// The summary of a record.
pub(super) fn of(record: &Record) -> String {
    match &record.event {
        Event::Http(http) => of_http(record, http),
        Event::Dns(dns) => super::dns::summary(record, dns),
        Event::Opaque(opaque) => of_opaque(record, opaque),
        Event::End(end) => of_end(record, end),
        Event::Drop {
            kernel: Some(said), ..
        } => super::drops::summary(said, &of_packet(record)),
        Event::Drop {
            reason,
            kernel: None,
        }
        | Event::PolicyVerdict {
            reason: Some(reason),
            ..
        } => super::drops::by_us(record, *reason, of_packet(record)),
        Event::Trace(_) | Event::PolicyVerdict { reason: None, .. } => of_packet(record),
    }
}

fn of_http(record: &Record, http: &Http) -> String {
    let text = |span| String::from_utf8_lossy(record.text(span)).into_owned();
    let (method, url) = (text(http.method), text(http.url));
    let protocol = protocol(http.version);
    let millis = http.latency_ns / 1_000_000;
    match (http.kind, http.outcome) {
        (HttpKind::Sample, _) => format!("{protocol} running for {millis}ms ({method} {url})"),
        (HttpKind::Request, Outcome::Passed | Outcome::PolicyDenied) => {
            format!("{protocol} {method} {url}")
        }
        (HttpKind::Request, _) => {
            format!("{protocol} {method} {url} refused: {}", text(http.detail))
        }
        (HttpKind::Response, _) if http.code == 0 => {
            let why = http.outcome.as_str().replace('_', " ");
            format!("{protocol} {why} after {millis}ms ({method} {url})")
        }
        (HttpKind::Response, _) => {
            format!("{protocol} {} {millis}ms ({method} {url})", http.code)
        }
    }
}

fn of_opaque(record: &Record, opaque: &Opaque) -> String {
    let text = |span| String::from_utf8_lossy(record.text(span)).into_owned();
    let note = text(opaque.note);
    if record.verdict == Verdict::Dropped && opaque.sent == 0 {
        let why = text(opaque.detail);
        let before = if why.is_empty() { "" } else { ": " };
        return format!("{note} refused{before}{why}");
    }
    let Opaque { sent, received, .. } = opaque;
    let millis = opaque.duration_ns / 1_000_000;
    format!("{note} {sent} bytes sent, {received} received in {millis}ms")
}

fn of_end(record: &Record, end: &End) -> String {
    let how = match end.how {
        EndedBy::Closed => "closed",
        EndedBy::ResetByClient => "reset by the client",
        EndedBy::ResetByServer => "reset by the server",
        EndedBy::Refused => "refused",
        EndedBy::NoAnswer => "no answer",
        EndedBy::Idle => "idle",
        EndedBy::Replaced => "begun anew",
    };
    let (sent, received) = (end.sent.bytes, end.received.bytes);
    let millis = end.duration_ns / 1_000_000;
    let protocol = protocol_name(record);
    format!("{protocol} {how}: {sent} bytes sent, {received} received in {millis}ms")
}

fn protocol_name(record: &Record) -> &'static str {
    match record.l4 {
        L4::Tcp { .. } => "TCP",
        L4::Udp => "UDP",
        L4::Sctp => "SCTP",
        L4::Icmp4 { .. } => "ICMPv4",
        L4::Icmp6 { .. } => "ICMPv6",
        L4::Other(_) if record.source.addr.is_ipv4() => "IPv4",
        L4::Other(_) => "IPv6",
    }
}

fn of_packet(record: &Record) -> String {
    match record.l4 {
        L4::Tcp { flags } => of_tcp(flags),
        L4::Udp | L4::Sctp | L4::Other(_) => protocol_name(record).to_owned(),
        L4::Icmp4 { kind, code } => format!("ICMPv4 {}", icmp::v4(kind, code)),
        L4::Icmp6 { kind, code } => format!("ICMPv6 {}", icmp::v6(kind, code)),
    }
}

fn of_tcp(flags: u8) -> String {
    const NAMES: [(u8, &str); 8] = [
        (0x02, "SYN"),
        (0x10, "ACK"),
        (0x04, "RST"),
        (0x01, "FIN"),
        (0x08, "PSH"),
        (0x20, "URG"),
        (0x40, "ECE"),
        (0x80, "CWR"),
    ];
    let set: Vec<&str> = NAMES
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    format!("TCP Flags: {}", set.join(", "))
}
