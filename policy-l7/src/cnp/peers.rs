//! Peers of an element, and label selectors.

use ipnet::IpNet;

use super::dns;
use crate::labels::split_source;
use crate::rule::Direction;
use crate::selector::{CidrRule, Entity, Operator, Peers, Requirement, Selector};
use crate::yaml::{Cursor, Map, Reader};

/// The peers of an element; `None` when it names none.
pub(super) fn peers(
    reader: &mut Reader,
    map: &mut Map<'_>,
    direction: Direction,
    within: Option<&str>,
) -> Option<Peers> {
    let [endpoints, entities, cidr, cidr_set] = match direction {
        Direction::Ingress => ["fromEndpoints", "fromEntities", "fromCIDR", "fromCIDRSet"],
        Direction::Egress => ["toEndpoints", "toEntities", "toCIDR", "toCIDRSet"],
    };
    let mut found: Vec<Peers> = Vec::new();
    if let Some(at) = map.get(endpoints) {
        let items = reader.list(&at);
        let selectors = items
            .iter()
            .map(|item| selector(reader, item).within(within));
        found.push(Peers::Endpoints(selectors.collect()));
    }
    if let Some(at) = map.get(entities) {
        let items = reader.list(&at);
        let entities = items
            .iter()
            .filter_map(|item| reader.choice(item, &Entity::NAMES));
        found.push(Peers::Entities(entities.collect()));
    }
    let mut rules = Vec::new();
    let has_cidr = map.has(cidr) || map.has(cidr_set);
    for item in map.get(cidr).map(|at| reader.list(&at)).unwrap_or_default() {
        rules.extend(prefix(reader, &item).map(|prefix| CidrRule {
            prefix,
            except: Vec::new(),
        }));
    }
    for item in map
        .get(cidr_set)
        .map(|at| reader.list(&at))
        .unwrap_or_default()
    {
        rules.extend(cidr_rule(reader, &item));
    }
    if has_cidr {
        found.push(Peers::Cidrs(rules));
    }
    if let Some(at) = map.get("toFQDNs") {
        if direction == Direction::Ingress {
            reader.fault(&at, "names stand for servers: `toFQDNs` is for egress only");
        }
        found.push(Peers::Fqdns(dns::fqdns(reader, &at)));
    }
    if found.len() > 1 {
        reader.fault(map.at(), "only one kind of peers can stand in an element");
    }
    found.into_iter().next()
}

/// A prefix, or an address as the prefix that has nothing else in it.
pub(crate) fn prefix(reader: &mut Reader, at: &Cursor<'_>) -> Option<IpNet> {
    let text = reader.text(at)?;
    let bare = text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    let prefix: Option<IpNet> = bare.or_else(|| text.parse().ok());
    if prefix.is_none() {
        reader.fault(
            at,
            format!("`{text}` is not an address or a prefix such as 10.0.0.0/8"),
        );
    }
    prefix.map(|prefix| prefix.trunc())
}

fn cidr_rule(reader: &mut Reader, at: &Cursor<'_>) -> Option<CidrRule> {
    let mut map = reader.map(at)?;
    for name in ["cidrGroupRef", "cidrGroupSelector"] {
        if let Some(at) = map.get(name) {
            reader.fault(&at, "CIDR groups are not supported yet");
        }
    }
    block(reader, map)
}

/// A `cidr` without the prefixes of its `except`.
pub(crate) fn block(reader: &mut Reader, mut map: Map<'_>) -> Option<CidrRule> {
    let whole = map.need(reader, "cidr").and_then(|at| prefix(reader, &at));
    let mut except = Vec::new();
    for item in map
        .get("except")
        .map(|at| reader.list(&at))
        .unwrap_or_default()
    {
        match (prefix(reader, &item), whole) {
            (Some(part), Some(whole)) if !whole.contains(&part) => {
                reader.fault(&item, format!("{part} is not inside {whole}"));
            }
            (Some(part), _) => except.push(part),
            (None, _) => {}
        }
    }
    map.end(reader);
    whole.map(|prefix| CidrRule { prefix, except })
}

/// A label selector.
pub(crate) fn selector(reader: &mut Reader, at: &Cursor<'_>) -> Selector {
    let mut requirements = Vec::new();
    let Some(mut map) = reader.map(at) else {
        return Selector::default();
    };
    if let Some(labels) = map.get("matchLabels").and_then(|at| reader.map(&at)) {
        for (name, at) in labels.entries() {
            // `reserved:host: ""` is a label without a value.
            let value = reader.text(&at).unwrap_or_default();
            requirements.push(requirement(name, Operator::In(vec![value.to_owned()])));
        }
    }
    for item in map
        .get("matchExpressions")
        .map(|at| reader.list(&at))
        .unwrap_or_default()
    {
        requirements.extend(expression(reader, &item));
    }
    map.end(reader);
    Selector(requirements)
}

/// A key without a source is looked for in every source.
fn requirement(name: &str, operator: Operator) -> Requirement {
    let (source, key) = split_source(name).unwrap_or(("any", name));
    Requirement {
        source: source.to_owned(),
        key: key.to_owned(),
        operator,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Comparison {
    In,
    NotIn,
    Exists,
    Absent,
}

const COMPARISONS: [(&str, Comparison); 4] = [
    ("In", Comparison::In),
    ("NotIn", Comparison::NotIn),
    ("Exists", Comparison::Exists),
    ("DoesNotExist", Comparison::Absent),
];

fn expression(reader: &mut Reader, at: &Cursor<'_>) -> Option<Requirement> {
    let mut map = reader.map(at)?;
    let key = map.need(reader, "key").and_then(|at| reader.text(&at));
    let operator = map
        .need(reader, "operator")
        .and_then(|at| reader.choice(&at, &COMPARISONS));
    let items = map
        .get("values")
        .map(|at| reader.list(&at))
        .unwrap_or_default();
    let values: Vec<String> = items
        .iter()
        .filter_map(|item| reader.text(item))
        .map(str::to_owned)
        .collect();
    map.end(reader);
    let operator = operator?;
    let wants_values = matches!(operator, Comparison::In | Comparison::NotIn);
    if wants_values == values.is_empty() {
        let message = if wants_values {
            "In and NotIn need `values`"
        } else {
            "Exists and DoesNotExist take no `values`"
        };
        reader.fault(at, message);
    }
    let operator = match operator {
        Comparison::In => Operator::In(values),
        Comparison::NotIn => Operator::NotIn(values),
        Comparison::Exists => Operator::Exists,
        Comparison::Absent => Operator::Absent,
    };
    Some(requirement(key?, operator))
}
