//! Who talks to whom, as people write it: a pod, a node, an address, a DNS name, the world, the host.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use policy_l7::{Compiled, Named};

use crate::cli::failure::Failure;
use crate::host::Inventory;
use crate::identity::Table;
use crate::record::{IdentityNumber, Party};

/// An end as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Address(IpAddr),
    /// In lower case with its last dot.
    Name(String),
    /// By its name.
    Node(String, IdentityNumber),
    /// `namespace/name`.
    Pod(String),
    /// The world, the host, other nodes and the like.
    Reserved(&'static str, IdentityNumber),
}

/// What has an identity of its own, whoever is there: as it is written, as it is shown.
const RESERVED: [(&str, &str, IdentityNumber); 7] = [
    ("host", "the host", IdentityNumber::HOST),
    ("world", "the world", IdentityNumber::WORLD),
    ("health", "the health check", IdentityNumber(4)),
    ("init", "a starting pod", IdentityNumber(5)),
    ("remote-node", "another node", IdentityNumber(6)),
    ("kube-apiserver", "the API server", IdentityNumber(7)),
    ("ingress", "the ingress", IdentityNumber(8)),
];

/// A text that nobody is meant by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Unknown {
    pub(super) message: String,
    /// What to write instead.
    pub(super) hint: String,
}

impl From<Unknown> for Failure {
    fn from(unknown: Unknown) -> Self {
        Self::usage(unknown.message).advise(unknown.hint)
    }
}

impl End {
    /// Finds out what is meant; a name that no pod and no node has is a DNS name where it has a dot.
    pub(super) fn parse(text: &str, table: &Table, inventory: &Inventory) -> Result<Self, Unknown> {
        if let Some((_, shown, number)) = RESERVED.iter().find(|(name, ..)| *name == text) {
            return Ok(Self::Reserved(shown, *number));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let known = known(table, inventory);
        let is_called =
            |full: &str| full == text || full.split_once('/').is_some_and(|(_, name)| name == text);
        let found: Vec<(&String, &Self)> =
            known.iter().filter(|(full, _)| is_called(full)).collect();
        match found.as_slice() {
            [(_, end)] => Ok((*end).clone()),
            [] if text.contains('.') && !text.contains('/') => Ok(Self::Name(format!(
                "{}.",
                text.trim_end_matches('.').to_ascii_lowercase()
            ))),
            [] => Err(Unknown {
                message: format!("no endpoint is called `{text}`"),
                hint: nearest(text, &known),
            }),
            several => {
                let all: Vec<&str> = several.iter().map(|(full, _)| full.as_str()).collect();
                Err(Unknown {
                    message: format!("several endpoints are called `{text}`"),
                    hint: format!("write one of {}", all.join(", ")),
                })
            }
        }
    }

    /// What policies know of it by its name.
    pub(super) fn named(&self, compiled: &Compiled) -> Option<Named> {
        let Self::Name(name) = self else { return None };
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        compiled.named(nowhere, std::iter::once(name.as_bytes()))
    }

    /// The party at that end.
    pub(super) fn party(&self, table: &Table, compiled: &Compiled, port: u16) -> Party {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        match self {
            Self::Address(address) => table.party(SocketAddr::new(*address, port)),
            Self::Node(_, number) | Self::Reserved(_, number) => Party::unnamed(nowhere, *number),
            Self::Name(_) => {
                let named = self.named(compiled);
                let identity = named.and_then(|named| compiled.identity_of(&named));
                let number = identity.map_or(IdentityNumber::WORLD, |identity| {
                    IdentityNumber(identity.number)
                });
                Party::unnamed(nowhere, number)
            }
            Self::Pod(pod) => {
                let is_it = |endpoint: &crate::record::Endpoint| {
                    format!("{}/{}", endpoint.namespace, endpoint.name) == *pod
                };
                let local = table.local().iter().find(|local| is_it(&local.endpoint));
                local.map_or_else(
                    || Party::unnamed(nowhere, IdentityNumber::UNKNOWN),
                    // It may have no address yet.
                    |local| match local.addresses.first() {
                        Some(address) => table.party(SocketAddr::new(*address, port)),
                        None => Party {
                            addr: nowhere,
                            identity: local.endpoint.identity,
                            endpoint: Some(Arc::clone(&local.endpoint)),
                            service: None,
                        },
                    },
                )
            }
        }
    }
}

/// Pods and nodes by their full names: `namespace/name`, `node/name`.
fn known(table: &Table, inventory: &Inventory) -> BTreeMap<String, End> {
    let pods = table.local().iter().map(|local| {
        let full = format!("{}/{}", local.endpoint.namespace, local.endpoint.name);
        (full.clone(), End::Pod(full))
    });
    let nodes = inventory.nodes().map(|(name, number)| {
        let full = format!("node/{name}");
        (full, End::Node(name.to_owned(), number))
    });
    nodes.chain(pods).collect()
}

/// What was perhaps meant.
fn nearest(text: &str, known: &BTreeMap<String, End>) -> String {
    let names = known.keys().flat_map(|full| {
        let (_, name) = full.split_once('/').unwrap_or_default();
        [full.as_str(), name]
    });
    policy_l7::nearest(text, names).map_or_else(
        || {
            let reserved = RESERVED.map(|(name, ..)| name).join(", ");
            format!(
                "write a pod as NAMESPACE/NAME, a node as node/NAME, an address, a DNS name, or one of {reserved}"
            )
        },
        |meant| format!("did you mean `{meant}`?"),
    )
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Reserved(shown, _) => f.write_str(shown),
            Self::Name(name) => f.write_str(name.trim_end_matches('.')),
            Self::Node(node, _) => write!(f, "node {node}"),
            Self::Pod(pod) => f.write_str(pod),
        }
    }
}
