//! Who talks to whom, as people write it: a pod, an address, a DNS name, the world, the host.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use policy_l7::{Compiled, Named};

use crate::cli::failure::Failure;
use crate::identity::Table;
use crate::record::{IdentityNumber, Party};

/// An end as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Address(IpAddr),
    Host,
    /// In lower case with its last dot.
    Name(String),
    /// `namespace/name`.
    Pod(String),
    World,
}

impl End {
    /// Finds out what is meant; a name that no pod has is a DNS name where it has a dot.
    pub(super) fn parse(text: &str, table: &Table) -> Result<Self, Failure> {
        match text {
            "world" => return Ok(Self::World),
            "host" => return Ok(Self::Host),
            _ => {}
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let pods: BTreeSet<String> = table
            .local()
            .iter()
            .map(|local| format!("{}/{}", local.endpoint.namespace, local.endpoint.name))
            .collect();
        let same_name = |pod: &&String| {
            pod.as_str() == text || pod.split_once('/').is_some_and(|(_, name)| name == text)
        };
        let found: Vec<&String> = pods.iter().filter(same_name).collect();
        match found.as_slice() {
            [pod] => Ok(Self::Pod((*pod).clone())),
            [] if text.contains('.') && !text.contains('/') => Ok(Self::Name(format!(
                "{}.",
                text.trim_end_matches('.').to_ascii_lowercase()
            ))),
            [] => {
                let names = pods.iter().flat_map(|pod| {
                    let (_, name) = pod.split_once('/').unwrap_or_default();
                    [pod.as_str(), name]
                });
                let nothing = Failure::usage(format!("no endpoint is called `{text}`"));
                Err(match policy_l7::nearest(text, names) {
                    Some(meant) => nothing.advise(format!("did you mean `{meant}`?")),
                    None => nothing.advise(
                        "write a pod as NAMESPACE/NAME, an address, a DNS name, `world` or `host`",
                    ),
                })
            }
            several => {
                let all: Vec<&str> = several.iter().map(|pod| pod.as_str()).collect();
                Err(
                    Failure::usage(format!("several endpoints are called `{text}`"))
                        .advise(format!("write one of {}", all.join(", "))),
                )
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
            Self::Host => Party::unnamed(nowhere, IdentityNumber::HOST),
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
                let address = local.and_then(|local| local.addresses.first());
                address.map_or_else(
                    || Party::unnamed(nowhere, IdentityNumber::UNKNOWN),
                    |address| table.party(SocketAddr::new(*address, port)),
                )
            }
            Self::World => Party::unnamed(nowhere, IdentityNumber::WORLD),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host => f.write_str("the host"),
            Self::Name(name) => f.write_str(name.trim_end_matches('.')),
            Self::Pod(pod) => f.write_str(pod),
            Self::World => f.write_str("the world"),
        }
    }
}
