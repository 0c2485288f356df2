//! Peers of an element: at most one kind.

use super::selectors::{node_selector, selector};
use super::{cidrs, dns, services};
use crate::rule::Direction;
use crate::selector::{Entity, Peers};
use crate::yaml::{Cursor, Map, Reader};

/// Reads the list of one kind of peers.
type Read = fn(&mut Reader, &Cursor<'_>, Option<&str>) -> Peers;

const FROM: [(&str, Read); 5] = [
    ("fromEndpoints", endpoints),
    ("fromEntities", entities),
    ("fromCIDR", |reader, at, _| cidrs::cidrs(reader, at)),
    ("fromCIDRSet", |reader, at, _| cidrs::cidr_sets(reader, at)),
    ("fromNodes", nodes),
];

const TO: [(&str, Read); 7] = [
    ("toEndpoints", endpoints),
    ("toEntities", entities),
    ("toCIDR", |reader, at, _| cidrs::cidrs(reader, at)),
    ("toCIDRSet", |reader, at, _| cidrs::cidr_sets(reader, at)),
    ("toNodes", nodes),
    ("toServices", |reader, at, _| services::services(reader, at)),
    ("toFQDNs", |reader, at, _| {
        Peers::Fqdns(dns::fqdns(reader, at))
    }),
];

/// The peers of an element; `None` when it names none.
pub(super) fn peers(
    reader: &mut Reader,
    map: &mut Map<'_>,
    direction: Direction,
    within: Option<&str>,
) -> Option<Peers> {
    let kinds = match direction {
        Direction::Ingress => FROM.as_slice(),
        Direction::Egress => TO.as_slice(),
    };
    let mut found: Option<(&str, Peers)> = None;
    for (name, read) in kinds {
        let Some(at) = map.get(name) else { continue };
        let peers = read(reader, &at, within);
        if let Some((first, _)) = &found {
            let message = format!("`{first}` stands here too: an element has one kind of peers");
            reader.fault(&at, message);
        }
        found.get_or_insert((name, peers));
    }
    if direction == Direction::Ingress
        && let Some(at) = map.get("toFQDNs")
    {
        reader.fault(&at, "names stand for servers: `toFQDNs` is for egress only");
    }
    found.map(|(_, peers)| peers)
}

fn endpoints(reader: &mut Reader, at: &Cursor<'_>, within: Option<&str>) -> Peers {
    let items = reader.list(at);
    let selectors = items
        .iter()
        .map(|item| selector(reader, item).within(within));
    Peers::Endpoints(selectors.collect())
}

fn nodes(reader: &mut Reader, at: &Cursor<'_>, _within: Option<&str>) -> Peers {
    let items = reader.list(at);
    let selectors = items.iter().map(|item| node_selector(reader, item));
    Peers::Nodes(selectors.collect())
}

fn entities(reader: &mut Reader, at: &Cursor<'_>, _within: Option<&str>) -> Peers {
    let items = reader.list(at);
    let entities = items
        .iter()
        .filter_map(|item| reader.choice(item, &Entity::NAMES));
    Peers::Entities(entities.collect())
}
