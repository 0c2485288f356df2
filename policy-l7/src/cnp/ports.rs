//! Ports and ICMP types of an element.

use super::{dns, http};
use crate::rule::{Direction, L7, PortRange, Ports, Rule};
use crate::yaml::{Cursor, Map, Reader};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// `None` is TCP, UDP and SCTP.
const PROTOCOLS: [(&str, Option<u8>); 7] = [
    ("ANY", None),
    ("TCP", Some(TCP)),
    ("UDP", Some(UDP)),
    ("SCTP", Some(132)),
    ("tcp", Some(TCP)),
    ("udp", Some(UDP)),
    ("sctp", Some(132)),
];

/// One rule per element of `toPorts`.
pub(super) fn to_ports(reader: &mut Reader, at: &Cursor<'_>, base: &Rule) -> Vec<Rule> {
    let mut rules = Vec::new();
    for element in reader.list(at) {
        let Some(mut map) = reader.map(&element) else {
            continue;
        };
        let mut ports = Vec::new();
        for item in map
            .get("ports")
            .map(|at| reader.list(&at))
            .unwrap_or_default()
        {
            ports.extend(port(reader, &item, &PROTOCOLS, None));
        }
        let l7 = map.get("rules");
        for name in [
            "terminatingTLS",
            "originatingTLS",
            "serverNames",
            "listener",
        ] {
            if let Some(at) = map.get(name) {
                reader.fault(
                    &at,
                    "not supported yet; the policy is refused, not half applied",
                );
            }
        }
        let l7 = match l7 {
            Some(at) => rules_of(reader, &at, &element, base, &ports),
            None => L7::Nothing,
        };
        map.end(reader);
        let path = element.path().to_owned();
        rules.push(Rule {
            path,
            ports,
            l7,
            ..base.clone()
        });
    }
    rules
}

fn rules_of(
    reader: &mut Reader,
    at: &Cursor<'_>,
    element: &Cursor<'_>,
    base: &Rule,
    ports: &[Ports],
) -> L7 {
    let Some(mut map) = reader.map(at) else {
        return L7::Nothing;
    };
    let (http, dns) = (map.get("http"), map.get("dns"));
    for name in ["kafka", "l7proto", "l7"] {
        if let Some(at) = map.get(name) {
            reader.fault(&at, "only `http` and `dns` rules are supported");
        }
    }
    map.end(reader);
    if let Some(at) = http.as_ref().or(dns.as_ref()).filter(|_| base.is_deny) {
        reader.fault(at, "deny rules cannot have L7 rules");
    }
    match (http, dns) {
        (Some(_), Some(dns)) => {
            reader.fault(&dns, "`http` and `dns` cannot stand in one rule");
            L7::Nothing
        }
        (Some(at), None) => http_rules(reader, &at, element, ports),
        (None, Some(at)) => dns_rules(reader, &at, element, base, ports),
        (None, None) => L7::Nothing,
    }
}

/// An empty list is no L7 rule at all.
fn http_rules(reader: &mut Reader, at: &Cursor<'_>, element: &Cursor<'_>, ports: &[Ports]) -> L7 {
    let is_fit = |port: &Ports| port.protocol == Some(TCP) && port.range != PortRange::Any;
    if ports.is_empty() || !ports.iter().all(is_fit) {
        reader.fault(
            element,
            "HTTP rules need ports, each with `protocol: TCP` written out and not 0",
        );
    }
    let rules = http::rules(reader, at);
    if rules.is_empty() {
        L7::Nothing
    } else {
        L7::Http(rules)
    }
}

/// An empty list is no L7 rule at all.
fn dns_rules(
    reader: &mut Reader,
    at: &Cursor<'_>,
    element: &Cursor<'_>,
    base: &Rule,
    ports: &[Ports],
) -> L7 {
    if base.direction == Direction::Ingress {
        reader.fault(
            at,
            "DNS rules are for egress only: they judge what a pod asks",
        );
    }
    let is_fit = |port: &Ports| {
        let is_one = match port.range {
            PortRange::Any => false,
            PortRange::Between(first, last) => first == last,
            PortRange::Named(_) => true,
        };
        is_one && matches!(port.protocol, None | Some(TCP | UDP))
    };
    if ports.is_empty() || !ports.iter().all(is_fit) {
        reader.fault(
            element,
            "DNS rules need ports, such as 53, each a single one of UDP, TCP or ANY",
        );
    }
    let rules = dns::rules(reader, at);
    if rules.is_empty() {
        L7::Nothing
    } else {
        L7::Dns(rules)
    }
}

/// One port or range, of a protocol by one of these names, or of `unnamed` where it names none.
pub(crate) fn port(
    reader: &mut Reader,
    at: &Cursor<'_>,
    protocols: &'static [(&'static str, Option<u8>)],
    unnamed: Option<u8>,
) -> Option<Ports> {
    let mut map = reader.map(at)?;
    let first = map.get("port");
    let last = map
        .get("endPort")
        .and_then(|at| reader.parse::<u16>(&at, "a port"));
    let protocol = match map.get("protocol") {
        Some(at) => reader.choice(&at, protocols)?,
        None => unnamed,
    };
    map.end(reader);
    let range = match first {
        None => PortRange::Any,
        Some(at) => range(reader, &at, last)?,
    };
    Some(Ports { protocol, range })
}

fn range(reader: &mut Reader, at: &Cursor<'_>, last: Option<u16>) -> Option<PortRange> {
    let text = reader.text(at)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return name(reader, at, text);
    }
    let first: u16 = reader.parse(at, "a port from 0 to 65535")?;
    match (first, last) {
        (0, _) => Some(PortRange::Any),
        (first, Some(last)) if last > first => Some(PortRange::Between(first, last)),
        (first, Some(last)) if last != 0 && last < first => {
            reader.fault(at, format!("endPort {last} is below port {first}"));
            None
        }
        (first, Some(_) | None) => Some(PortRange::Between(first, first)),
    }
}

/// IANA service names (RFC 6335 §5.1).
fn name(reader: &mut Reader, at: &Cursor<'_>, text: &str) -> Option<PortRange> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=15).contains(&text.len()) && text.bytes().all(is_fit) {
        return Some(PortRange::Named(text.to_ascii_lowercase()));
    }
    reader.fault(
        at,
        format!("`{text}` is neither a port number nor a port name"),
    );
    None
}

/// ICMP types stand where ports do.
pub(super) fn icmps(reader: &mut Reader, at: &Cursor<'_>, base: &Rule) -> Vec<Rule> {
    let mut rules = Vec::new();
    for element in reader.list(at) {
        let Some(mut map) = reader.map(&element) else {
            continue;
        };
        let mut ports = Vec::new();
        for item in map
            .get("fields")
            .map(|at| reader.list(&at))
            .unwrap_or_default()
        {
            if let Some(fields) = reader.map(&item) {
                ports.extend(icmp(reader, fields));
            }
        }
        map.end(reader);
        // A rule without ports means all of them: no type at all must not become that.
        if ports.is_empty() {
            reader.fault(&element, "`fields` names no ICMP type");
            continue;
        }
        rules.push(Rule {
            path: element.path().to_owned(),
            ports,
            ..base.clone()
        });
    }
    rules
}

const ICMP_NAMES: [(&str, u8, u8); 4] = [
    ("EchoReply", 0, 129),
    ("EchoRequest", 8, 128),
    ("DestinationUnreachable", 3, 1),
    ("TimeExceeded", 11, 3),
];

fn icmp(reader: &mut Reader, mut map: Map<'_>) -> Option<Ports> {
    let is_v6 = match map.get("family") {
        Some(at) => reader.choice(&at, &[("IPv4", false), ("IPv6", true)])?,
        None => false,
    };
    let at = map.need(reader, "type")?;
    map.end(reader);
    let text = reader.text(&at)?;
    let named = ICMP_NAMES.iter().find(|(name, _, _)| *name == text);
    let kind = match named {
        Some((_, v4, v6)) => {
            if is_v6 {
                *v6
            } else {
                *v4
            }
        }
        None => reader.parse::<u8>(&at, "an ICMP type, by number or name")?,
    };
    let protocol = Some(if is_v6 { 58 } else { 1 });
    Some(Ports {
        protocol,
        range: PortRange::Between(u16::from(kind), u16::from(kind)),
    })
}
