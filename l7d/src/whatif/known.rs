//! Numbers for whoever was seen: identities, endpoints, addresses outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ahash::AHashMap;
use policy_l7::identity::Numbering;
use policy_l7::{Compiled, Identity, Inputs, Labels, Named, Policy, compile};

use super::ends::{EndId, Who};
use super::gather::Gather;
use crate::identity::reserved;
use crate::record::{Endpoint, EndpointId, IdentityNumber, Party};

/// An end, as the judge knows it.
pub(super) struct Parties {
    pub(super) party: Party,
    /// As it would be if it had every name that policies speak of.
    pub(super) if_named: Option<Party>,
    pub(super) has_address: bool,
    pub(super) is_host: bool,
}

/// Gives numbers to whoever was seen.
pub(super) struct Builder<'g> {
    gather: &'g Gather,
    identities: Vec<Identity>,
    /// Label sets of endpoints, with their identity and number.
    pub(super) pods: BTreeMap<Labels, (u32, u16)>,
    reserved: BTreeMap<Labels, u32>,
    named: BTreeMap<EndId, Named>,
    if_named: BTreeMap<EndId, Named>,
}

impl<'g> Builder<'g> {
    pub(super) fn new(gather: &'g Gather, policies: &[Policy]) -> Self {
        let mut numbering = Numbering::default();
        let mut identities = policy_l7::identity::reserved();
        let mut reserved: BTreeMap<Labels, u32> = identities
            .iter()
            .map(|identity| (identity.labels.clone(), identity.number))
            .collect();
        let mut pods = BTreeMap::new();
        let label_sets: BTreeSet<&Who> = gather.ends.iter().map(|(_, end)| &end.who).collect();
        for who in label_sets {
            let (Who::Pod(labels) | Who::Reserved(labels)) = who else {
                continue;
            };
            if reserved.contains_key(labels) {
                continue;
            }
            let number = numbering.number(labels);
            identities.push(Identity {
                number,
                labels: labels.clone(),
            });
            if matches!(who, Who::Pod(_)) {
                // No number left: an end that no policy is asked about would seem to be open.
                let next = u16::try_from(pods.len().saturating_add(1)).unwrap_or(0);
                pods.insert(labels.clone(), (number, next));
            } else {
                reserved.insert(labels.clone(), number);
            }
        }
        let mut builder = Self {
            gather,
            identities,
            pods,
            reserved,
            named: BTreeMap::new(),
            if_named: BTreeMap::new(),
        };
        builder.name(&compile(&Inputs {
            policies,
            ..Inputs::default()
        }));
        builder
    }

    /// What is known of addresses outside by their names.
    fn name(&mut self, policies: &Compiled) {
        if policies.name_selectors().is_empty() {
            return;
        }
        for (id, end) in self.gather.ends.iter() {
            let Who::Outside { address, names } = &end.who else {
                continue;
            };
            let address = address.unwrap_or(NOWHERE);
            let learnt = self.gather.names_of(address);
            let all: BTreeSet<&String> = names.iter().chain(learnt).collect();
            if all.is_empty() {
                self.if_named.insert(id, policies.named_by_all(address));
            } else if let Some(named) = policies.named(address, all.into_iter()) {
                self.named.insert(id, named);
            }
        }
    }

    pub(super) fn compile(
        &self,
        policies: &[Policy],
        named_ports: impl Fn(&Labels) -> Vec<(String, u16)>,
    ) -> Arc<Compiled> {
        let endpoints: Vec<policy_l7::Endpoint> = self
            .pods
            .iter()
            .filter(|(_, (_, id))| *id != 0)
            .map(|(labels, (identity, id))| policy_l7::Endpoint {
                id: *id,
                identity: *identity,
                labels: labels.clone(),
                named_ports: named_ports(labels),
            })
            .collect();
        let named = self
            .named
            .values()
            .chain(self.if_named.values())
            .cloned()
            .collect();
        Arc::new(compile(&Inputs {
            policies,
            identities: &self.identities,
            endpoints: &endpoints,
            named: &named,
            revision: 1,
            ..Inputs::default()
        }))
    }

    pub(super) fn parties(&self, compiled: &Compiled) -> AHashMap<EndId, Parties> {
        let ends = self.gather.ends.iter();
        ends.filter_map(|(id, _)| Some((id, self.party(id, compiled)?)))
            .collect()
    }

    fn party(&self, id: EndId, compiled: &Compiled) -> Option<Parties> {
        let (identity, endpoint, address) = match self.gather.ends.who(id) {
            Who::Pod(labels) => {
                let (identity, endpoint) = *self.pods.get(labels)?;
                if endpoint == 0 {
                    return None;
                }
                (identity, endpoint, Some(NOWHERE))
            }
            Who::Reserved(labels) => (*self.reserved.get(labels)?, 0, Some(NOWHERE)),
            Who::Outside { address, .. } => {
                let named = self.named.get(&id);
                (outside(compiled, named, *address), 0, *address)
            }
            Who::Numbered(_) | Who::Service | Who::Unknown => return None,
        };
        let party = |identity| Party {
            endpoint: Some(Arc::new(Endpoint {
                id: EndpointId(endpoint),
                ..reserved(IdentityNumber(identity), "")
            })),
            ..Party::unnamed(
                SocketAddr::new(address.unwrap_or(NOWHERE), 0),
                IdentityNumber(identity),
            )
        };
        let if_named = self.if_named.get(&id);
        Some(Parties {
            party: party(identity),
            if_named: if_named.map(|named| party(outside(compiled, Some(named), address))),
            has_address: address.is_some(),
            is_host: identity == IdentityNumber::HOST.0,
        })
    }
}

const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The identity of an address outside: by its names, else by the longest prefix, else the world's.
fn outside(compiled: &Compiled, named: Option<&Named>, address: Option<IpAddr>) -> u32 {
    if let Some(identity) = named.and_then(|named| compiled.identity_of(named)) {
        return identity.number;
    }
    let containing = compiled
        .prefixes()
        .iter()
        .filter(|(prefix, _)| address.is_some_and(|address| prefix.contains(&address)));
    let longest = containing.max_by_key(|(prefix, _)| prefix.prefix_len());
    longest.map_or(IdentityNumber::WORLD.0, |(_, identity)| identity.number)
}
