//! Values of the fields of a section.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use policy_l7::yaml::{Cursor, Map, Reader};

pub(super) fn section<'n>(
    reader: &mut Reader,
    map: &mut Map<'n>,
    name: &'static str,
    read: impl FnOnce(&mut Reader, &mut Map<'n>),
) {
    let Some(mut inner) = map.get(name).and_then(|at| reader.map(&at)) else {
        return;
    };
    read(reader, &mut inner);
    inner.end(reader);
}

pub(super) fn items<'n>(
    reader: &mut Reader,
    map: &mut Map<'n>,
    name: &'static str,
) -> Vec<Cursor<'n>> {
    map.get(name).map(|at| reader.list(&at)).unwrap_or_default()
}

pub(super) fn text(reader: &mut Reader, map: &mut Map<'_>, name: &'static str, into: &mut String) {
    if let Some(value) = map.get(name).and_then(|at| reader.text(&at)) {
        value.clone_into(into);
    }
}

pub(super) fn path(reader: &mut Reader, map: &mut Map<'_>, name: &'static str, into: &mut PathBuf) {
    if let Some(value) = map.get(name).and_then(|at| reader.text(&at)) {
        *into = PathBuf::from(value);
    }
}

pub(super) fn paths(reader: &mut Reader, map: &mut Map<'_>, name: &'static str) -> Vec<PathBuf> {
    let items = items(reader, map, name);
    items
        .iter()
        .filter_map(|item| reader.text(item))
        .map(PathBuf::from)
        .collect()
}

pub(super) fn texts(
    reader: &mut Reader,
    map: &mut Map<'_>,
    name: &'static str,
) -> Option<Vec<String>> {
    let items = map.get(name).map(|at| reader.list(&at))?;
    Some(
        items
            .iter()
            .filter_map(|item| reader.text(item))
            .map(str::to_owned)
            .collect(),
    )
}

pub(super) fn parsed<T>(
    reader: &mut Reader,
    map: &mut Map<'_>,
    name: &'static str,
    expected: &str,
    into: &mut T,
) where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    if let Some(value) = map.get(name).and_then(|at| reader.parse(&at, expected)) {
        *into = value;
    }
}

/// A number between two bounds.
pub(super) fn bounded<T>(
    reader: &mut Reader,
    map: &mut Map<'_>,
    name: &'static str,
    bounds: std::ops::RangeInclusive<T>,
    into: &mut T,
) where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
    T::Err: std::fmt::Display,
{
    let Some(at) = map.get(name) else { return };
    match reader.parse(&at, "a number") {
        Some(value) if bounds.contains(&value) => *into = value,
        Some(value) => {
            let (low, high) = (bounds.start(), bounds.end());
            reader.fault(&at, format!("{value} is not between {low} and {high}"));
        }
        None => {}
    }
}

/// The size of a ring buffer: a power of two.
pub(super) fn power_of_two(
    reader: &mut Reader,
    map: &mut Map<'_>,
    name: &'static str,
    into: &mut u32,
) {
    let Some(at) = map.get(name) else { return };
    match reader.parse::<u32>(&at, "a number of bytes") {
        Some(bytes) if bytes.is_power_of_two() && bytes >= 4096 => *into = bytes,
        Some(bytes) => reader.fault(&at, format!("{bytes} is not a power of two from 4096")),
        None => {}
    }
}

/// A duration in whole seconds, of at least so many.
pub(super) fn seconds(
    reader: &mut Reader,
    map: &mut Map<'_>,
    key: &'static str,
    least: u64,
    value: &mut Duration,
) {
    let Some(at) = map.get(key) else { return };
    let Some(text) = reader.text(&at) else { return };
    match text.strip_suffix('s').map(str::parse::<u64>) {
        Some(Ok(seconds)) if seconds >= least => *value = Duration::from_secs(seconds),
        Some(Ok(_) | Err(_)) | None => {
            reader.fault(
                &at,
                format!("`{text}` is not a duration in seconds such as 30s"),
            );
        }
    }
}

/// A mapping of labels.
pub(super) fn free_labels(
    reader: &mut Reader,
    map: &mut Map<'_>,
    name: &'static str,
) -> BTreeMap<String, String> {
    free_entries(reader, map, name)
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), reader.text(&value)?.to_owned())))
        .collect()
}

/// A list of addresses.
pub(super) fn addresses(reader: &mut Reader, map: &mut Map<'_>, name: &'static str) -> Vec<IpAddr> {
    let items = items(reader, map, name);
    let addresses = items.iter();
    addresses
        .filter_map(|item| reader.parse(item, "an IP address"))
        .collect()
}

/// The entries of a mapping with free keys.
pub(super) fn free_entries<'n>(
    reader: &mut Reader,
    map: &mut Map<'n>,
    name: &'static str,
) -> Vec<(&'n str, Cursor<'n>)> {
    let inner = map.get(name).and_then(|at| reader.map(&at));
    inner
        .map(|inner| inner.entries().collect())
        .unwrap_or_default()
}
