//! Files of policies → policy objects, of every kind that is honoured.
//!
//! What is not honoured is refused by name at its line, never ignored.

use std::collections::BTreeMap;

use crate::error::{Error, nearest};
use crate::labels::Labels;
use crate::resolve::{CidrGroup, object_labels};
use crate::rule::{Policy, PolicyKind, Provenance};
use crate::yaml::{self, Cursor, Map, Reader};
use crate::{cnp, knp};

/// What stands in a file.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// Policies of every kind.
    pub policies: Vec<Policy>,
    /// Groups of prefixes that policies refer to.
    pub cidr_groups: Vec<CidrGroup>,
    /// Objects of other kinds, by kind; only where these may stand there.
    pub others: BTreeMap<String, usize>,
}

/// Reads all objects of a file.
///
/// # Errors
/// Everything that is wrong in it, in the order of the file.
pub fn read_objects(file: &str, text: &str) -> Result<Objects, Vec<Error>> {
    read(file, text, Others::Refused)
}

/// Reads the policies and groups of a file in which anything else may stand as well; a kind that is
/// nearly one of these is a fault all the same.
///
/// # Errors
/// Everything that is wrong in it, in the order of the file.
pub fn read_objects_among_others(file: &str, text: &str) -> Result<Objects, Vec<Error>> {
    read(file, text, Others::Counted)
}

/// What becomes of objects of other kinds.
#[derive(Clone, Copy, PartialEq)]
enum Others {
    Counted,
    Refused,
}

fn read(file: &str, text: &str, others: Others) -> Result<Objects, Vec<Error>> {
    let nodes = yaml::parse(file, text).map_err(|error| vec![error])?;
    let mut reader = Reader::new(file);
    let mut objects = Objects::default();
    for node in &nodes {
        read_object(&mut reader, &node.root(), &mut objects, others);
    }
    if reader.has_errors() {
        Err(reader.into_errors())
    } else {
        Ok(objects)
    }
}

/// Kinds of objects that are read.
#[derive(Clone, Copy)]
enum Kind {
    CidrGroup,
    Policy(PolicyKind),
}

const KINDS: [(&str, Kind); 4] = [
    (
        "CiliumNetworkPolicy",
        Kind::Policy(PolicyKind::CiliumNetworkPolicy),
    ),
    (
        "CiliumClusterwideNetworkPolicy",
        Kind::Policy(PolicyKind::CiliumClusterwideNetworkPolicy),
    ),
    ("NetworkPolicy", Kind::Policy(PolicyKind::NetworkPolicy)),
    ("CiliumCIDRGroup", Kind::CidrGroup),
];

impl Kind {
    /// Values of `apiVersion`.
    fn versions(self) -> &'static [(&'static str, ())] {
        match self {
            Self::CidrGroup => &[("cilium.io/v2", ()), ("cilium.io/v2alpha1", ())],
            Self::Policy(PolicyKind::NetworkPolicy) => &[("networking.k8s.io/v1", ())],
            Self::Policy(
                PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy,
            ) => &[("cilium.io/v2", ())],
        }
    }

    fn is_namespaced(self) -> bool {
        match self {
            Self::CidrGroup | Self::Policy(PolicyKind::CiliumClusterwideNetworkPolicy) => false,
            Self::Policy(PolicyKind::CiliumNetworkPolicy | PolicyKind::NetworkPolicy) => true,
        }
    }
}

fn read_object(reader: &mut Reader, at: &Cursor<'_>, into: &mut Objects, others: Others) {
    let Some(mut object) = reader.map(at) else {
        return;
    };
    let version = object.need(reader, "apiVersion");
    let Some(kind) = object.need(reader, "kind") else {
        return;
    };
    if let (Others::Counted, Some(name)) = (others, reader.text(&kind))
        && is_other(name)
    {
        *into.others.entry(name.to_owned()).or_default() += 1;
        return;
    }
    if is_list(&mut object, reader.text(&kind).unwrap_or_default()) {
        for item in object
            .get("items")
            .map(|at| reader.list(&at))
            .unwrap_or_default()
        {
            read_object(reader, &item.as_root(), into, others);
        }
        return;
    }
    let Some(kind) = reader.choice(&kind, &KINDS) else {
        return;
    };
    if let Some(version) = version {
        reader.choice(&version, kind.versions());
    }
    let Some(metadata) = object
        .need(reader, "metadata")
        .and_then(|at| Metadata::read(reader, &at, kind))
    else {
        return;
    };
    match kind {
        Kind::CidrGroup => into
            .cidr_groups
            .extend(cidr_group(reader, &mut object, metadata)),
        Kind::Policy(kind) => into
            .policies
            .push(policy(reader, at, &mut object, kind, &metadata)),
    }
    object.get("status");
    object.end(reader);
}

/// Whether a kind is none of ours, and not a misspelt one either.
fn is_other(kind: &str) -> bool {
    let of = kind.strip_suffix("List").unwrap_or(kind);
    !of.is_empty() && nearest(of, KINDS.iter().map(|(name, _)| *name)).is_none()
}

/// As `kubectl get -o yaml` prints several objects, or all of a kind.
fn is_list(object: &mut Map<'_>, kind: &str) -> bool {
    kind == "List" || (kind.ends_with("List") && object.has("items"))
}

fn policy(
    reader: &mut Reader,
    at: &Cursor<'_>,
    object: &mut Map<'_>,
    kind: PolicyKind,
    metadata: &Metadata,
) -> Policy {
    let specs = match kind {
        PolicyKind::CiliumNetworkPolicy => {
            cnp::read_specs(reader, at, object, Some(&metadata.namespace))
        }
        PolicyKind::CiliumClusterwideNetworkPolicy => cnp::read_specs(reader, at, object, None),
        PolicyKind::NetworkPolicy => {
            let spec = object.need(reader, "spec");
            let spec = spec.and_then(|spec| knp::read_spec(reader, &spec, &metadata.namespace));
            spec.into_iter().collect()
        }
    };
    Policy {
        provenance: metadata.provenance(kind),
        is_audited: metadata.is_audited,
        at: at.place(),
        specs,
    }
}

/// Reads a `CiliumCIDRGroup` that stands among other objects.
pub fn read_cidr_group(reader: &mut Reader, at: &Cursor<'_>) -> Option<CidrGroup> {
    let mut object = reader.map(at)?;
    let metadata = object.need(reader, "metadata")?;
    let metadata = Metadata::read(reader, &metadata, Kind::CidrGroup)?;
    cidr_group(reader, &mut object, metadata)
}

fn cidr_group(reader: &mut Reader, object: &mut Map<'_>, metadata: Metadata) -> Option<CidrGroup> {
    let mut spec = object.need(reader, "spec").and_then(|at| reader.map(&at))?;
    let listed = spec
        .need(reader, "externalCIDRs")
        .map(|at| reader.list(&at))
        .unwrap_or_default();
    spec.end(reader);
    let prefixes = listed
        .iter()
        .filter_map(|at| cnp::cidrs::address_or_prefix(reader, at));
    Some(CidrGroup {
        name: metadata.name,
        labels: metadata.labels,
        prefixes: prefixes.collect(),
    })
}

/// What of an object's metadata counts; the rest is Kubernetes' own and not ours to check.
struct Metadata {
    /// Empty for objects without one.
    namespace: String,
    name: String,
    uid: Option<String>,
    labels: Labels,
    is_audited: bool,
}

/// Annotation: what the policy denies is dropped, or passes and is told.
const MODE: &str = "policy.l7d.io/mode";
const MODES: [(&str, bool); 2] = [("audit", true), ("enforce", false)];

impl Metadata {
    fn read(reader: &mut Reader, at: &Cursor<'_>, kind: Kind) -> Option<Self> {
        let mut map = reader.map(at)?;
        let name = map.need(reader, "name").and_then(|at| reader.text(&at))?;
        let namespace = match map.get("namespace").filter(|_| kind.is_namespaced()) {
            Some(at) => reader.text(&at)?,
            None if kind.is_namespaced() => "default",
            None => "",
        };
        let uid = map.get("uid").and_then(|at| reader.text(&at));
        let labels = map.get("labels").and_then(|at| reader.map(&at));
        let labels: Vec<(&str, &str)> = labels
            .iter()
            .flat_map(Map::entries)
            .filter_map(|(key, at)| Some((key, reader.text(&at)?)))
            .collect();
        let annotations = map.get("annotations").and_then(|at| reader.map(&at));
        let mode = annotations.and_then(|mut annotations| annotations.get(MODE));
        let is_audited = mode.and_then(|at| reader.choice(&at, &MODES));
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.map(str::to_owned),
            labels: object_labels(labels.into_iter()),
            is_audited: is_audited.unwrap_or(false),
        })
    }

    fn provenance(&self, kind: PolicyKind) -> Provenance {
        let of_policy = |key: &str, value: &str| format!("k8s:io.cilium.k8s.policy.{key}={value}");
        let mut labels = vec![
            of_policy("derived-from", kind.as_str()),
            of_policy("name", &self.name),
        ];
        if !self.namespace.is_empty() {
            labels.push(of_policy("namespace", &self.namespace));
        }
        labels.extend(self.uid.as_deref().map(|uid| of_policy("uid", uid)));
        Provenance {
            kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            labels,
            log: None,
            rule: String::new(),
        }
    }
}
