//! One line that says what a flow was; clients print it as it is.

use super::protocol;
use crate::record::{Event, Http, HttpKind, L4, Opaque, Outcome, Record, Verdict};

/// The summary of a record.
pub(super) fn of(record: &Record) -> String {
    match &record.event {
        Event::Http(http) => of_http(record, http),
        Event::Dns(dns) => super::dns::summary(record, dns),
        Event::Opaque(opaque) => of_opaque(record, opaque),
        Event::Trace { .. } | Event::Drop { .. } | Event::PolicyVerdict { .. } => of_packet(record),
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

fn of_packet(record: &Record) -> String {
    match record.l4 {
        L4::Tcp { flags } => of_tcp(flags),
        L4::Udp => "UDP".to_owned(),
        L4::Sctp => "SCTP".to_owned(),
        L4::Icmp4 { kind, code } => format!("ICMPv4 {}", icmp4(kind, code)),
        L4::Icmp6 { kind, code } => format!("ICMPv6 {}", icmp6(kind, code)),
        L4::Other(_) if record.source.addr.is_ipv4() => "IPv4".to_owned(),
        L4::Other(_) => "IPv6".to_owned(),
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

fn icmp4(kind: u8, code: u8) -> String {
    match kind {
        0 => "EchoReply".to_owned(),
        3 => "DestinationUnreachable".to_owned(),
        8 => "EchoRequest".to_owned(),
        11 => "TimeExceeded".to_owned(),
        other => format!("{other}({code})"),
    }
}

fn icmp6(kind: u8, code: u8) -> String {
    match kind {
        1 => "DestinationUnreachable".to_owned(),
        2 => "PacketTooBig".to_owned(),
        3 => "TimeExceeded".to_owned(),
        128 => "EchoRequest".to_owned(),
        129 => "EchoReply".to_owned(),
        133 => "RouterSolicitation".to_owned(),
        134 => "RouterAdvertisement".to_owned(),
        135 => "NeighborSolicitation".to_owned(),
        136 => "NeighborAdvertisement".to_owned(),
        other => format!("{other}({code})"),
    }
}
