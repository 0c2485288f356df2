//! ICMP types, by number or by the names that the field has for them.

use crate::rule::{PortRange, Ports, Rule};
use crate::yaml::{Cursor, Reader};

/// Most fields of one element, as the schema has it.
const FIELDS_MAX: usize = 40;

/// ICMP types stand where ports do.
pub(super) fn icmps(reader: &mut Reader, at: &Cursor<'_>, base: &Rule) -> Vec<Rule> {
    let mut rules = Vec::new();
    for element in reader.list(at) {
        let Some(mut map) = reader.map(&element) else {
            continue;
        };
        let listed = map.get("fields").map(|at| reader.list(&at));
        let listed = listed.unwrap_or_default();
        map.end(reader);
        if listed.len() > FIELDS_MAX {
            reader.fault(&element, format!("more than {FIELDS_MAX} `fields`"));
        }
        let ports: Vec<Ports> = listed.iter().filter_map(|at| field(reader, at)).collect();
        // A rule without ports means all of them: no type at all must not become that.
        if listed.is_empty() {
            reader.fault(&element, "`fields` names no ICMP type");
        }
        if !ports.is_empty() {
            rules.push(Rule {
                path: element.path().to_owned(),
                ports,
                ..base.clone()
            });
        }
    }
    rules
}

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

const FAMILIES: [(&str, Family); 2] = [("IPv4", Family::V4), ("IPv6", Family::V6)];

impl Family {
    /// IP protocol.
    fn protocol(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 58,
        }
    }

    fn types(self) -> &'static [(&'static str, u8)] {
        match self {
            Self::V4 => &OF_V4,
            Self::V6 => &OF_V6,
        }
    }
}

/// Types of ICMP for IPv4 (RFC 792, RFC 1256, RFC 2521, RFC 8335).
const OF_V4: [(&str, u8); 14] = [
    ("EchoReply", 0),
    ("DestinationUnreachable", 3),
    ("Redirect", 5),
    ("Echo", 8),
    ("EchoRequest", 8),
    ("RouterAdvertisement", 9),
    ("RouterSelection", 10),
    ("TimeExceeded", 11),
    ("ParameterProblem", 12),
    ("Timestamp", 13),
    ("TimestampReply", 14),
    ("Photuris", 40),
    ("ExtendedEchoRequest", 42),
    ("ExtendedEchoReply", 43),
];

/// Types of ICMP for IPv6 (RFC 4443 §2.1 and the registry that it began).
const OF_V6: [(&str, u8); 27] = [
    ("DestinationUnreachable", 1),
    ("PacketTooBig", 2),
    ("TimeExceeded", 3),
    ("ParameterProblem", 4),
    ("EchoRequest", 128),
    ("EchoReply", 129),
    ("MulticastListenerQuery", 130),
    ("MulticastListenerReport", 131),
    ("MulticastListenerDone", 132),
    ("RouterSolicitation", 133),
    ("RouterAdvertisement", 134),
    ("NeighborSolicitation", 135),
    ("NeighborAdvertisement", 136),
    ("RedirectMessage", 137),
    ("RouterRenumbering", 138),
    ("ICMPNodeInformationQuery", 139),
    ("ICMPNodeInformationResponse", 140),
    ("InverseNeighborDiscoverySolicitation", 141),
    ("InverseNeighborDiscoveryAdvertisement", 142),
    ("HomeAgentAddressDiscoveryRequest", 144),
    ("HomeAgentAddressDiscoveryReply", 145),
    ("MobilePrefixSolicitation", 146),
    ("MobilePrefixAdvertisement", 147),
    ("DuplicateAddressRequestCodeSuffix", 157),
    ("DuplicateAddressConfirmationCodeSuffix", 158),
    ("ExtendedEchoRequest", 160),
    ("ExtendedEchoReply", 161),
];

fn field(reader: &mut Reader, at: &Cursor<'_>) -> Option<Ports> {
    let mut map = reader.map(at)?;
    let family = match map.get("family") {
        Some(at) => reader.choice(&at, &FAMILIES)?,
        None => Family::V4,
    };
    let at = map.need(reader, "type");
    map.end(reader);
    let at = at?;
    let text = reader.text(&at)?;
    let kind = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        reader.parse::<u8>(&at, "an ICMP type from 0 to 255")?
    } else {
        reader.choice(&at, family.types())?
    };
    Some(Ports {
        protocol: Some(family.protocol()),
        range: PortRange::Between(u16::from(kind), u16::from(kind)),
    })
}
