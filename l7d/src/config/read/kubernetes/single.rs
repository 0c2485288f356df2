//! Single objects, as an API server tells them in JSON: the same readers as for files.

use std::collections::BTreeMap;

use policy_l7::yaml::{Cursor, Map, Reader};

use super::{json, namespace, nodes, pods, services};
use crate::config::{Endpoint, Node, Service};

/// Why an object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SingleError {
    /// It is no JSON.
    #[error("not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Its fields make no sense: each with its path.
    #[error("{}", .0.join("; "))]
    Faults(Vec<String>),
}

/// A pod; none for one that has ended, or that has its node's addresses.
///
/// # Errors
/// What is wrong with it.
pub fn read_pod(json: &str) -> Result<Option<Endpoint>, SingleError> {
    read(json, |reader, at, map| Some(pods::pod(reader, at, map)))
}

/// A namespace's name and labels.
///
/// # Errors
/// What is wrong with it.
pub fn read_namespace(json: &str) -> Result<(String, BTreeMap<String, String>), SingleError> {
    read(json, |reader, _, map| namespace(reader, map))
}

/// A node.
///
/// # Errors
/// What is wrong with it.
pub fn read_node(json: &str) -> Result<Node, SingleError> {
    read(json, |reader, _, map| nodes::node(reader, map))
}

/// A service, without its backends.
///
/// # Errors
/// What is wrong with it.
pub fn read_service(json: &str) -> Result<Service, SingleError> {
    read(json, |reader, _, map| services::service(reader, map))
}

fn read<T>(
    json: &str,
    reading: impl FnOnce(&mut Reader, &Cursor<'_>, &mut Map<'_>) -> Option<T>,
) -> Result<T, SingleError> {
    let node = json::parse(json)?;
    let mut reader = Reader::new("");
    let at = node.root();
    let made = reader
        .map(&at)
        .and_then(|mut map| reading(&mut reader, &at, &mut map));
    match made {
        Some(made) if !reader.has_errors() => Ok(made),
        Some(_) | None => {
            let faults = reader.into_errors();
            let faults = faults.iter().map(policy_l7::Error::without_place);
            Err(SingleError::Faults(faults.collect()))
        }
    }
}
