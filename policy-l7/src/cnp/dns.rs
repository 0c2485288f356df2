//! DNS rules, and names as peers.

use crate::names::{DnsRule, NamePattern};
use crate::yaml::{Cursor, Map, Reader};

/// `rules.dns`. A rule without a name matches nothing, as in Cilium.
pub(super) fn rules(reader: &mut Reader, at: &Cursor<'_>) -> Vec<DnsRule> {
    reader
        .list(at)
        .iter()
        .filter_map(|item| {
            let mut map = reader.map(item)?;
            let names = [name(reader, &mut map), pattern(reader, &mut map)];
            map.end(reader);
            Some(DnsRule {
                path_in_object: item.path().to_owned(),
                names: names.into_iter().flatten().collect(),
            })
        })
        .collect()
}

/// `toFQDNs`: of each element either the name or the pattern.
pub(super) fn fqdns(reader: &mut Reader, at: &Cursor<'_>) -> Vec<NamePattern> {
    let mut selectors = Vec::new();
    for item in reader.list(at) {
        let Some(mut map) = reader.map(&item) else {
            continue;
        };
        let has_one = map.has("matchName") != map.has("matchPattern");
        if !has_one {
            reader.fault(
                &item,
                "either `matchName` or `matchPattern` must stand here, and not both",
            );
        }
        selectors.extend(name(reader, &mut map));
        selectors.extend(pattern(reader, &mut map));
        map.end(reader);
    }
    selectors
}

fn name(reader: &mut Reader, map: &mut Map<'_>) -> Option<NamePattern> {
    read(reader, map, "matchName", NamePattern::name)
}

fn pattern(reader: &mut Reader, map: &mut Map<'_>) -> Option<NamePattern> {
    read(reader, map, "matchPattern", NamePattern::pattern)
}

fn read(
    reader: &mut Reader,
    map: &mut Map<'_>,
    field: &'static str,
    parse: fn(&str) -> Result<NamePattern, String>,
) -> Option<NamePattern> {
    let at = map.get(field)?;
    let text = reader.text(&at)?;
    if text.is_empty() {
        return None;
    }
    match parse(text) {
        Ok(pattern) => Some(pattern),
        Err(fault) => {
            reader.fault(&at, fault);
            None
        }
    }
}
