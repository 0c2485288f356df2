//! Who is there, as `kubectl get pods,namespaces,services,nodes -A -o yaml` (or `-o json`) tells it.
//!
//! Lists, single objects and several documents are read alike. Kinds that say nothing about who is
//! there are counted and passed over, and so are the large parts of objects that nobody needs.

mod json;
mod nodes;
mod pods;
mod services;
mod single;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use policy_l7::yaml::{self, Cursor, Extent, Map, Reader};

use super::values::free_labels;
use super::{ConfigError, read_config};
use crate::config::{Config, Endpoint};

pub use single::{SingleError, read_namespace, read_node, read_pod, read_service};

/// A cluster of some ten thousand pods; the parts that are kept are a small share of it.
const BYTES_MAX: usize = 512 << 20;

/// Large parts of objects that say nothing about who is there. Labels are single values and stay,
/// whatever their names.
const SKIPPED: [&str; 30] = [
    "affinity",
    "allocatable",
    "annotations",
    "args",
    "capacity",
    "command",
    "conditions",
    "containerStatuses",
    "data",
    "env",
    "envFrom",
    "ephemeralContainerStatuses",
    "finalizers",
    "images",
    "imagePullSecrets",
    "initContainerStatuses",
    "lifecycle",
    "livenessProbe",
    "managedFields",
    "nodeInfo",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "template",
    "tolerations",
    "topologySpreadConstraints",
    "volumeDevices",
    "volumeMounts",
    "volumes",
];

/// Everybody that files tell of.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Endpoints, namespaces and services; everything else has its default.
    pub config: Config,
    /// Objects that were passed over, by their kinds.
    pub skipped: BTreeMap<String, usize>,
    /// Where each endpoint was told of, by namespace and name.
    seen: HashMap<(String, String), String>,
}

/// Reads who is there from files, each in the form of the agent's configuration or as objects of
/// Kubernetes, and from all `.yaml`, `.yml` and `.json` files of folders.
///
/// # Errors
/// A file that cannot be read, or everything that is wrong in one.
pub fn read_inventory(paths: &[PathBuf]) -> Result<Told, ConfigError> {
    let mut told = Told::default();
    for path in paths {
        for file in files_of(path)? {
            let unreadable = |cause| ConfigError::Read {
                path: file.clone(),
                cause,
            };
            let text = std::fs::read_to_string(&file).map_err(unreadable)?;
            told.read(&file.display().to_string(), &text)?;
        }
    }
    Ok(told)
}

/// A file itself, or the files of a folder in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |cause| ConfigError::Read {
        path: path.to_owned(),
        cause,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_meant = file
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|fit| extension == *fit));
        if is_meant && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

impl Told {
    /// Reads one file more; `file` is its name in messages.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn read(&mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        let extent = Extent {
            bytes_max: BYTES_MAX,
            skipped: &SKIPPED,
        };
        let nodes =
            yaml::parse_within(file, text, extent).map_err(|fault| ConfigError::Faults {
                faults: vec![fault],
            })?;
        let mut reader = Reader::new(file);
        if nodes
            .iter()
            .any(|node| is_object(&mut reader, &node.root()))
        {
            for node in &nodes {
                self.object(&mut reader, file, &node.root(), None);
            }
        } else {
            let config = read_config(file, text)?;
            for (endpoint, node) in config.endpoints.into_iter().zip(nodes.iter().cycle()) {
                self.endpoint(&mut reader, file, &node.root(), endpoint);
            }
            self.config.namespaces.extend(config.namespaces);
            self.config.services.extend(config.services);
            self.config.nodes.extend(config.nodes);
            self.config.policies.enforcement = config.policies.enforcement;
            self.config.policies.audit = config.policies.audit;
            let usual = Config::default();
            if config.cluster != usual.cluster {
                self.config.cluster = config.cluster;
            }
            if config.node != usual.node {
                self.config.node = config.node;
            }
        }
        if reader.has_errors() {
            return Err(ConfigError::Faults {
                faults: reader.into_errors(),
            });
        }
        Ok(())
    }

    /// Reads an object; items of a typed list (`PodList`) leave out their kind.
    fn object(&mut self, reader: &mut Reader, file: &str, at: &Cursor<'_>, usual: Option<&str>) {
        let Some(mut map) = reader.map(at) else {
            return;
        };
        let kind = match usual {
            Some(usual) if !map.has("kind") => usual,
            Some(_) | None => {
                let written = map.need(reader, "kind");
                let Some(kind) = written.and_then(|at| reader.text(&at)) else {
                    return;
                };
                kind
            }
        };
        match kind {
            "Pod" => {
                if let Some(pod) = pods::pod(reader, at, &mut map) {
                    self.endpoint(reader, file, at, pod);
                }
            }
            "Namespace" => {
                let labelled = namespace(reader, &mut map);
                self.config.namespaces.extend(labelled);
            }
            "Node" => {
                let node = nodes::node(reader, &mut map);
                self.config.nodes.extend(node);
            }
            "CiliumCIDRGroup" => {
                let group = policy_l7::read_cidr_group(reader, at);
                self.config.cidr_groups.extend(group);
            }
            "Service" => {
                let service = services::service(reader, &mut map);
                self.config.services.extend(service);
            }
            _ => match kind.strip_suffix("List") {
                Some(of) => {
                    let of = (!of.is_empty()).then_some(of);
                    for item in super::items(reader, &mut map, "items") {
                        self.object(reader, file, &item, of);
                    }
                }
                None => *self.skipped.entry(kind.to_owned()).or_default() += 1,
            },
        }
    }

    fn endpoint(&mut self, reader: &mut Reader, file: &str, at: &Cursor<'_>, endpoint: Endpoint) {
        let name = (endpoint.namespace.clone(), endpoint.name.clone());
        let place = format!("{file}:{}", endpoint.line);
        match self.seen.entry(name) {
            Entry::Vacant(free) => {
                free.insert(place);
                self.config.endpoints.push(endpoint);
            }
            Entry::Occupied(taken) => {
                let (
                    Endpoint {
                        namespace, name, ..
                    },
                    place,
                ) = (endpoint, taken.get());
                reader.fault(at, format!("{namespace}/{name} stands in {place} already"));
            }
        }
    }
}

/// Whether a document is an object of Kubernetes.
fn is_object(reader: &mut Reader, at: &Cursor<'_>) -> bool {
    !at.is_scalar()
        && reader
            .map(at)
            .is_some_and(|mut map| map.has("kind") && map.has("apiVersion"))
}

/// What `metadata` says of an object's name.
struct Metadata<'n> {
    name: &'n str,
    namespace: &'n str,
    labels: BTreeMap<String, String>,
    map: Map<'n>,
}

fn metadata<'n>(reader: &mut Reader, object: &mut Map<'n>) -> Option<Metadata<'n>> {
    let at = object.need(reader, "metadata")?;
    let mut map = reader.map(&at)?;
    let name = map.need(reader, "name").and_then(|at| reader.text(&at))?;
    let namespace = map.get("namespace").and_then(|at| reader.text(&at));
    Some(Metadata {
        name,
        namespace: namespace.unwrap_or("default"),
        labels: free_labels(reader, &mut map, "labels"),
        map,
    })
}

fn namespace(
    reader: &mut Reader,
    object: &mut Map<'_>,
) -> Option<(String, BTreeMap<String, String>)> {
    let metadata = metadata(reader, object)?;
    Some((metadata.name.to_owned(), metadata.labels))
}

/// Addresses in a list of texts, or of mappings that have them under `key`.
fn addresses(reader: &mut Reader, items: &[Cursor<'_>], key: Option<&'static str>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for item in items {
        let at = match key {
            None => Some(item.clone()),
            Some(key) => reader.map(item).and_then(|mut map| map.get(key)),
        };
        found.extend(at.and_then(|at| reader.parse::<IpAddr>(&at, "an IP address")));
    }
    found
}

#[cfg(test)]
mod tests;
