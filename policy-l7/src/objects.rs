//! Files of policies → policy objects, of every kind that is honoured.
//!
//! What is not honoured is refused by name at its line, never ignored.

use crate::error::Error;
use crate::rule::{Policy, PolicyKind, Provenance};
use crate::yaml::{self, Cursor, Reader};
use crate::{cnp, knp};

/// Reads all policies of a file.
///
/// # Errors
/// Everything that is wrong in it, in the order of the file.
pub fn read_policies(file: &str, text: &str) -> Result<Vec<Policy>, Vec<Error>> {
    let nodes = yaml::parse(file, text).map_err(|error| vec![error])?;
    let mut reader = Reader::new(file);
    let mut policies = Vec::new();
    for node in &nodes {
        policies.extend(read_object(&mut reader, &node.root()));
    }
    if reader.has_errors() {
        Err(reader.into_errors())
    } else {
        Ok(policies)
    }
}

const KINDS: [(&str, PolicyKind); 3] = [
    ("CiliumNetworkPolicy", PolicyKind::CiliumNetworkPolicy),
    (
        "CiliumClusterwideNetworkPolicy",
        PolicyKind::CiliumClusterwideNetworkPolicy,
    ),
    ("NetworkPolicy", PolicyKind::NetworkPolicy),
];

fn read_object(reader: &mut Reader, at: &Cursor<'_>) -> Option<Policy> {
    let mut object = reader.map(at)?;
    let version = object.need(reader, "apiVersion");
    let kind = object
        .need(reader, "kind")
        .and_then(|kind| reader.choice(&kind, &KINDS))?;
    if let Some(version) = version {
        let group = match kind {
            PolicyKind::NetworkPolicy => "networking.k8s.io/v1",
            PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy => {
                "cilium.io/v2"
            }
        };
        reader.choice(&version, &[(group, ())]);
    }
    let (namespace, name) = object
        .need(reader, "metadata")
        .and_then(|at| metadata(reader, &at, kind))?;
    let specs = match kind {
        PolicyKind::CiliumNetworkPolicy => {
            cnp::read_specs(reader, at, &mut object, Some(&namespace))
        }
        PolicyKind::CiliumClusterwideNetworkPolicy => {
            cnp::read_specs(reader, at, &mut object, None)
        }
        PolicyKind::NetworkPolicy => {
            let spec = object.need(reader, "spec");
            let spec = spec.and_then(|spec| knp::read_spec(reader, &spec, &namespace));
            spec.into_iter().collect()
        }
    };
    object.get("status");
    object.end(reader);
    Some(Policy {
        provenance: provenance(kind, &namespace, &name),
        at: at.place(),
        is_audited: false,
        specs,
    })
}

fn metadata(reader: &mut Reader, at: &Cursor<'_>, kind: PolicyKind) -> Option<(String, String)> {
    let mut metadata = reader.map(at)?;
    let name = metadata
        .need(reader, "name")
        .and_then(|name| reader.text(&name))?;
    let namespace = match kind {
        PolicyKind::CiliumNetworkPolicy | PolicyKind::NetworkPolicy => metadata
            .get("namespace")
            .and_then(|namespace| reader.text(&namespace))
            .unwrap_or("default"),
        PolicyKind::CiliumClusterwideNetworkPolicy => "",
    };
    // The rest of metadata is Kubernetes' own and not ours to check.
    Some((namespace.to_owned(), name.to_owned()))
}

fn provenance(kind: PolicyKind, namespace: &str, name: &str) -> Provenance {
    let mut labels = vec![
        format!("k8s:io.cilium.k8s.policy.derived-from={}", kind.as_str()),
        format!("k8s:io.cilium.k8s.policy.name={name}"),
    ];
    if !namespace.is_empty() {
        labels.push(format!("k8s:io.cilium.k8s.policy.namespace={namespace}"));
    }
    Provenance {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels,
        rule: String::new(),
    }
}
