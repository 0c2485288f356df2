//! Address blocks: written out, or by the groups that they stand in.

use ipnet::IpNet;

use super::selectors::selector;
use crate::selector::{CidrRule, CidrSet, CidrSource, Peers};
use crate::yaml::{Cursor, Map, Reader};

/// A prefix, or an address as the prefix that has nothing else in it.
pub(crate) fn address_or_prefix(reader: &mut Reader, at: &Cursor<'_>) -> Option<IpNet> {
    let text = reader.text(at)?;
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => parse(reader, at, text, "an address or a prefix"),
    }
}

fn prefix(reader: &mut Reader, at: &Cursor<'_>) -> Option<IpNet> {
    let text = reader.text(at)?;
    parse(reader, at, text, "a prefix")
}

fn parse(reader: &mut Reader, at: &Cursor<'_>, text: &str, expected: &str) -> Option<IpNet> {
    let prefix = text.parse::<IpNet>().ok();
    if prefix.is_none() {
        reader.fault(at, format!("`{text}` is not {expected} such as 10.0.0.0/8"));
    }
    prefix.map(|prefix| prefix.trunc())
}

/// A `cidr` without the prefixes of its `except`.
pub(crate) fn block(reader: &mut Reader, mut map: Map<'_>) -> Option<CidrRule> {
    let whole = map.need(reader, "cidr").and_then(|at| prefix(reader, &at));
    let except = except(reader, &mut map, whole);
    map.end(reader);
    whole.map(|prefix| CidrRule { prefix, except })
}

fn except(reader: &mut Reader, map: &mut Map<'_>, whole: Option<IpNet>) -> Vec<IpNet> {
    let mut except = Vec::new();
    let items = map.get("except").map(|at| reader.list(&at));
    for item in items.unwrap_or_default() {
        match (prefix(reader, &item), whole) {
            (Some(part), Some(whole)) if !whole.contains(&part) => {
                reader.fault(&item, format!("{part} is not inside {whole}"));
            }
            (Some(part), _) => except.push(part),
            (None, _) => {}
        }
    }
    except
}

/// `fromCIDR` and `toCIDR`.
pub(super) fn cidrs(reader: &mut Reader, at: &Cursor<'_>) -> Peers {
    let items = reader.list(at);
    let rules = items.iter().filter_map(|item| {
        Some(CidrRule {
            prefix: address_or_prefix(reader, item)?,
            except: Vec::new(),
        })
    });
    Peers::Cidrs(rules.collect())
}

/// `fromCIDRSet` and `toCIDRSet`.
pub(super) fn cidr_sets(reader: &mut Reader, at: &Cursor<'_>) -> Peers {
    let items = reader.list(at);
    let sets: Vec<CidrSet> = items.iter().filter_map(|item| set(reader, item)).collect();
    let plain = sets.iter().map(|set| match set.of {
        CidrSource::Prefix(prefix) => Some(CidrRule {
            prefix,
            except: set.except.clone(),
        }),
        CidrSource::Group(_) | CidrSource::Groups(_) => None,
    });
    match plain.collect() {
        Some(rules) => Peers::Cidrs(rules),
        None => Peers::CidrSets(sets),
    }
}

fn set(reader: &mut Reader, at: &Cursor<'_>) -> Option<CidrSet> {
    let mut map = reader.map(at)?;
    let written = ["cidr", "cidrGroupRef", "cidrGroupSelector"].map(|name| map.has(name));
    if written.iter().filter(|is_written| **is_written).count() != 1 {
        let message = "exactly one of `cidr`, `cidrGroupRef` and `cidrGroupSelector` stands here";
        reader.fault(at, message);
    }
    let cidr = map.get("cidr").and_then(|at| prefix(reader, &at));
    let group = map.get("cidrGroupRef").and_then(|at| reader.text(&at));
    let groups = map.get("cidrGroupSelector").map(|at| selector(reader, &at));
    let except = except(reader, &mut map, cidr);
    map.end(reader);
    let of = cidr
        .map(CidrSource::Prefix)
        .or_else(|| group.map(|name| CidrSource::Group(name.to_owned())))
        .or_else(|| groups.map(CidrSource::Groups))?;
    Some(CidrSet { of, except })
}
