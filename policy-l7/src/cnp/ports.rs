//! Ports and ICMP types of an element.

use super::refused::{OF_PORTS, OF_RULES, refuse};
use super::{Subject, dns, http, tls};
use crate::rule::{Direction, L7, PortRange, Ports, Rule};
use crate::yaml::{Cursor, Map, Reader};

pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;
/// Most ports of one element, as the schema has it.
const PORTS_MAX: usize = 40;

/// How protocols are written.
pub(crate) struct Protocols {
    /// Their names; `None` is TCP, UDP and SCTP.
    pub(crate) names: &'static [(&'static str, Option<u8>)],
    /// What is meant where none is named.
    pub(crate) unnamed: Option<u8>,
    /// Whether `tcp` is TCP as well.
    pub(crate) has_any_case: bool,
}

/// Those behind SCTP have no ports.
const PROTOCOLS: Protocols = Protocols {
    names: &[
        ("ANY", None),
        ("TCP", Some(TCP)),
        ("UDP", Some(UDP)),
        ("SCTP", Some(132)),
        ("AH", Some(51)),
        ("ESP", Some(50)),
        ("GRE", Some(47)),
        ("IGMP", Some(2)),
        ("IPIP", Some(4)),
        ("IPV6", Some(41)),
        ("VRRP", Some(112)),
    ],
    unnamed: None,
    has_any_case: true,
};

/// One rule per element of `toPorts`.
pub(super) fn to_ports(
    reader: &mut Reader,
    at: &Cursor<'_>,
    base: &Rule,
    subject: Subject<'_>,
) -> Vec<Rule> {
    let elements = reader.list(at);
    let rules = elements.iter().filter_map(|element| {
        let mut map = reader.map(element)?;
        let listed = map.get("ports").map(|at| reader.list(&at));
        let listed = listed.unwrap_or_default();
        if listed.len() > PORTS_MAX {
            reader.fault(element, format!("more than {PORTS_MAX} `ports`"));
        }
        let read = |item| port(reader, item, &PROTOCOLS);
        let mut ports: Vec<Ports> = listed.iter().filter_map(read).collect();
        let l7 = l7(reader, &mut map, base, subject, &mut ports);
        map.end(reader);
        // A rule without ports means all of them: none that can be read must not become that.
        (listed.is_empty() || !ports.is_empty()).then(|| Rule {
            path: element.path().to_owned(),
            ports,
            l7,
            ..base.clone()
        })
    });
    rules.collect()
}

fn l7(
    reader: &mut Reader,
    map: &mut Map<'_>,
    base: &Rule,
    subject: Subject<'_>,
    ports: &mut [Ports],
) -> L7 {
    let element = map.at().clone();
    let rules = map.get("rules");
    let names = map.get("serverNames");
    refuse(reader, map, &OF_PORTS);
    let of_rules = rules.map_or(L7::Nothing, |at| {
        rules_of(reader, &at, &element, base, ports)
    });
    let Some(names) = names else {
        check_subject(reader, &element, subject, &of_rules);
        return of_rules;
    };
    let of_names = tls::server_names(reader, &names, ports);
    match (&of_rules, &of_names) {
        (_, L7::Nothing) => {}
        (L7::Nothing, _) if base.is_deny => {
            reader.fault(&names, "deny rules cannot have L7 rules");
        }
        (L7::Nothing, _) => {}
        _ => reader.fault(
            &names,
            "`serverNames` cannot stand beside `rules`: requests inside TLS are not seen",
        ),
    }
    check_subject(reader, &element, subject, &of_names);
    match of_names {
        L7::Nothing => of_rules,
        judged => judged,
    }
}

fn check_subject(reader: &mut Reader, at: &Cursor<'_>, subject: Subject<'_>, l7: &L7) {
    if !matches!(subject, Subject::Host) {
        return;
    }
    match l7 {
        L7::Http(_) | L7::Tls(_) => {
            reader.fault(at, "requests of a host are not judged: use ports alone");
        }
        L7::Dns(_) => reader.fault(
            at,
            "what a host looks up is not redirected, so `dns` rules cannot judge it: use ports alone",
        ),
        L7::Nothing => {}
    }
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
    refuse(reader, &mut map, &OF_RULES);
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

/// One port or range of a protocol.
pub(crate) fn port(reader: &mut Reader, at: &Cursor<'_>, protocols: &Protocols) -> Option<Ports> {
    let mut map = reader.map(at)?;
    let first = map.get("port");
    let last = map.get("endPort");
    let protocol = match map.get("protocol") {
        Some(at) => protocols.read(reader, &at),
        None => Some(("", protocols.unnamed)),
    };
    map.end(reader);
    let range = match (&first, &last) {
        (None, Some(at)) => {
            reader.fault(at, "`endPort` needs a `port` that the range begins with");
            None
        }
        (None, None) => Some(PortRange::Any),
        (Some(at), _) => range(reader, at, last.as_ref()),
    };
    let ((_, protocol), range) = (protocol?, range?);
    let has_ports = matches!(protocol, None | Some(TCP | UDP | 132));
    if !has_ports && range != PortRange::Any {
        let at = first.as_ref().unwrap_or(at);
        reader.fault(at, "this protocol has no ports: leave `port` out");
    }
    Some(Ports { protocol, range })
}

impl Protocols {
    /// One of them, with its name as it is listed.
    fn read(&self, reader: &mut Reader, at: &Cursor<'_>) -> Option<(&'static str, Option<u8>)> {
        let text = reader.text(at)?;
        let found = self.names.iter().find(|(name, _)| {
            *name == text || self.has_any_case && name.eq_ignore_ascii_case(text)
        });
        if found.is_none() {
            reader.choice(at, self.names);
        }
        found.copied()
    }
}

fn range(reader: &mut Reader, at: &Cursor<'_>, last: Option<&Cursor<'_>>) -> Option<PortRange> {
    let text = reader.text(at)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        if let Some(last) = last {
            reader.fault(
                last,
                "a range has no names: write the number of the first port",
            );
        }
        return name(reader, at, text);
    }
    let first: u16 = reader.parse(at, "a port from 0 to 65535")?;
    let last = match last {
        Some(at) => Some((at, reader.parse::<u16>(at, "a port from 0 to 65535")?)),
        None => None,
    };
    match (first, last) {
        (_, None | Some((_, 0))) if first == 0 => Some(PortRange::Any),
        (0, Some((at, _))) => {
            reader.fault(at, "port 0 is every port: no range begins with it");
            None
        }
        (first, Some((_, last))) if last > first => Some(PortRange::Between(first, last)),
        (first, Some((at, last))) if last != 0 && last < first => {
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
