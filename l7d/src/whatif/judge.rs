//! A policy set, compiled for whoever was seen, and what it says of what was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ahash::AHashMap;
use policy_l7::identity::Numbering;
use policy_l7::{Compiled, Identity, Inputs, Labels, Named, Needs, Policy, compile};

use super::ask::{Ask, Assumed, HttpAsk};
use super::ends::{EndId, Who};
use super::gather::{Asked, Gather};
use crate::identity::reserved;
use crate::policy::{Denial, Door, Live, Permit, Request};
use crate::record::{Direction, Endpoint, EndpointId, IdentityNumber, Party, PolicyRef, Verdict};

/// What policies say of something that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It passes.
    Allowed {
        /// The rules that allow it; none where nothing is denied by default.
        by: Vec<String>,
    },
    /// It does not.
    Denied {
        /// Whose policies: of who asked (egress), or of who was asked.
        side: Direction,
        /// The policies that would have had to allow it, or the deny rule.
        by: Vec<String>,
        /// The rule that came nearest and what differed; may be empty.
        detail: String,
    },
    /// The flow does not tell enough.
    Unsaid(Unsaid),
}

/// What a flow does not tell, and policies ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unsaid {
    /// The address outside.
    Address,
    /// The labels of who asked or was asked.
    Labels,
    /// Header fields, or their values.
    Headers,
    /// Which port is called by a name.
    NamedPorts,
    /// The DNS names of an address outside.
    Names,
    /// What was asked on the connection, which rules want to judge.
    Request,
    /// Who serves behind the address of a service.
    Service,
}

impl Unsaid {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "the flow has no address, and rules are about addresses",
            Self::Labels => "the labels of one side are not told",
            Self::Headers => "rules depend on headers that the flow does not tell",
            Self::NamedPorts => "rules name ports; --endpoints can say which they are",
            Self::Names => "no DNS name of the address is known, and rules are about names",
            Self::Request => "rules judge requests, and the flow tells none",
            Self::Service => "the address is a service's; who serves is not told",
        }
    }
}

/// Whose policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    /// Both ends'.
    Both,
    /// Only those of who asked.
    Source,
}

/// A policy set, compiled for whoever was seen.
pub struct World {
    live: Arc<Live>,
    /// The same, every named port being any port that was seen; where it is not told which they are.
    any_port: Option<Arc<Live>>,
    parties: AHashMap<EndId, Parties>,
    headers: Vec<String>,
    asks_addresses: bool,
}

/// An end, as the judge knows it.
struct Parties {
    party: Party,
    /// As it would be if it had every name that policies speak of.
    if_named: Option<Party>,
    has_address: bool,
    is_host: bool,
}

/// What is assumed of what a flow does not tell.
#[derive(Debug, Clone, Copy, Default)]
struct Assumptions {
    headers_fit: bool,
    names_fit: bool,
    ports_fit: bool,
}

/// What the judge says under some assumptions.
enum Judged {
    Allowed(Vec<String>),
    Denied(Direction, Vec<String>, String),
    /// It depends on the request, which is not told.
    Open,
}

impl Judged {
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl World {
    /// Compiles policies for the ends of what was asked.
    pub fn new(policies: &[Policy], gather: &Gather, asked: &[Asked]) -> Self {
        let needs = Needs::of(policies);
        let builder = Builder::new(gather, policies);
        let served = ports_of(asked);
        let told = |labels: &Labels| gather.ends.told().ports_of(labels);
        let has_untold =
            !needs.ports.is_empty() && builder.pods.keys().any(|labels| told(labels).is_none());
        let compiled = builder.compile(policies, |labels| {
            let is_asked = !needs.ports.is_empty();
            is_asked.then(|| told(labels)).flatten().unwrap_or_default()
        });
        let any_port = has_untold.then(|| {
            let all: Vec<(String, u16)> = needs
                .ports
                .iter()
                .flat_map(|name| served.iter().map(move |port| (name.clone(), *port)))
                .collect();
            let named_ports = |labels: &Labels| told(labels).unwrap_or_else(|| all.clone());
            Arc::new(Live::new(builder.compile(policies, named_ports)))
        });
        let parties = builder.parties(&compiled);
        Self {
            live: Arc::new(Live::new(compiled)),
            any_port,
            parties,
            headers: gather.headers().to_vec(),
            asks_addresses: needs.addresses,
        }
    }

    /// What the policies say. A connection whose requests are `told` elsewhere passes where they are
    /// judged.
    pub(super) fn outcome(
        &self,
        gather: &Gather,
        asked: &Asked,
        sides: Sides,
        is_told: bool,
    ) -> Outcome {
        for id in [asked.source, asked.destination] {
            match gather.ends.who(id) {
                Who::Numbered(_) | Who::Unknown => return Outcome::Unsaid(Unsaid::Labels),
                Who::Service => return Outcome::Unsaid(Unsaid::Service),
                Who::Outside { .. } | Who::Pod(_) | Who::Reserved(_) => {}
            }
        }
        let ends = self
            .parties
            .get(&asked.source)
            .zip(self.parties.get(&asked.destination));
        let Some((source, destination)) = ends else {
            return Outcome::Unsaid(Unsaid::Labels);
        };
        if self.asks_addresses && !(source.has_address && destination.has_address) {
            return Outcome::Unsaid(Unsaid::Address);
        }
        let judge = |assumptions| self.judge(asked, (source, destination), sides, assumptions);
        let judged = judge(Assumptions::default());
        for (unsaid, assumptions) in self.doubts(asked, destination) {
            if !judge(assumptions).is_like(&judged) {
                return Outcome::Unsaid(unsaid);
            }
        }
        match judged {
            Judged::Allowed(by) => Outcome::Allowed { by },
            Judged::Denied(side, by, detail) => Outcome::Denied { side, by, detail },
            Judged::Open if is_told => Outcome::Allowed { by: Vec::new() },
            Judged::Open => Outcome::Unsaid(Unsaid::Request),
        }
    }

    /// What is not told, with the other assumption about it; the last one has all of them.
    fn doubts(&self, asked: &Asked, destination: &Parties) -> Vec<(Unsaid, Assumptions)> {
        let none = Assumptions::default();
        let mut doubts = Vec::new();
        let mut all = none;
        if matches!(&asked.ask, Ask::Http(http) if http.hides(&self.headers)) {
            all.headers_fit = true;
            doubts.push((
                Unsaid::Headers,
                Assumptions {
                    headers_fit: true,
                    ..none
                },
            ));
        }
        if destination.if_named.is_some() {
            all.names_fit = true;
            doubts.push((
                Unsaid::Names,
                Assumptions {
                    names_fit: true,
                    ..none
                },
            ));
        }
        if self.any_port.is_some() {
            all.ports_fit = true;
            doubts.push((
                Unsaid::NamedPorts,
                Assumptions {
                    ports_fit: true,
                    ..none
                },
            ));
        }
        if let [(first, _), _, ..] = doubts.as_slice() {
            doubts.push((*first, all));
        }
        doubts
    }

    fn judge(
        &self,
        asked: &Asked,
        (source, destination): (&Parties, &Parties),
        sides: Sides,
        assumptions: Assumptions,
    ) -> Judged {
        let live = self
            .any_port
            .as_ref()
            .filter(|_| assumptions.ports_fit)
            .unwrap_or(&self.live);
        let of = |parties: &Parties| {
            let named = parties.if_named.as_ref().filter(|_| assumptions.names_fit);
            named.unwrap_or(&parties.party).clone()
        };
        let is_host = source.is_host;
        let (source, mut destination) = (of(source), of(destination));
        destination.addr.set_port(asked.port);
        if sides == Sides::Source {
            destination.endpoint = None;
        }
        let judged = live.judge_connection(&source, &destination, asked.protocol);
        if let Some(denied) = judged
            .as_ref()
            .filter(|judged| judged.verdict == Verdict::Dropped)
        {
            let detail = if denied.policies.iter().any(|policy| !policy.rule.is_empty()) {
                "a deny rule"
            } else {
                "no rule is about this peer and port"
            };
            if is_host && denied.direction == Direction::Ingress {
                // The kernel programs let a node's own processes reach its pods: probes depend on it.
                return Judged::Allowed(Vec::new());
            }
            return Judged::Denied(denied.direction, names(&denied.policies), detail.to_owned());
        }
        let Door::Enforce(judge) = live.door(&source, &destination, asked.protocol) else {
            let by = judged.map(|judged| names(&judged.policies));
            return Judged::Allowed(by.unwrap_or_default());
        };
        match &asked.ask {
            Ask::Connection => Judged::Open,
            Ask::Dns(name) => said(judge.judge_name(name.as_bytes())),
            Ask::Http(http) => {
                let fields = Assumed {
                    ask: http,
                    is_met: assumptions.headers_fit,
                };
                said(judge.judge_readings(&request(http, &fields)))
            }
        }
    }
}

fn request<'r>(http: &'r HttpAsk, fields: &'r Assumed<'r>) -> Request<'r> {
    Request {
        method: http.method.as_bytes(),
        path: http.path.as_bytes(),
        host: http.host.as_bytes(),
        headers: fields,
    }
}

fn said(judged: Result<Permit, Denial>) -> Judged {
    match judged {
        Ok(permit) => Judged::Allowed(names(permit.policies())),
        Err(denial) => Judged::Denied(denial.direction, names(&denial.policies), denial.detail),
    }
}

fn names(policies: &[PolicyRef]) -> Vec<String> {
    policies.iter().map(ToString::to_string).collect()
}

/// Ports that were asked for.
fn ports_of(asked: &[Asked]) -> BTreeSet<u16> {
    asked.iter().map(|asked| asked.port).collect()
}

/// Gives numbers to whoever was seen.
struct Builder<'g> {
    gather: &'g Gather,
    identities: Vec<Identity>,
    /// Label sets of endpoints, with their identity and number.
    pods: BTreeMap<Labels, (u32, u16)>,
    reserved: BTreeMap<Labels, u32>,
    named: BTreeMap<EndId, Named>,
    if_named: BTreeMap<EndId, Named>,
}

impl<'g> Builder<'g> {
    fn new(gather: &'g Gather, policies: &[Policy]) -> Self {
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

    fn compile(
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

    fn parties(&self, compiled: &Compiled) -> AHashMap<EndId, Parties> {
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
