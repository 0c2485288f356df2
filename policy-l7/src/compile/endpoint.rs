//! The policy of an endpoint, of the rules that are for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compiled::EndpointPolicy;
use super::compiler::{Compiler, SpecId};
use super::peers::PeersId;
use super::prefixes::{Prefix, prefixes};
use super::set::{PolicySet, Scope, ScopeL7, Side, SideMode};
use super::{Endpoint, Enforcement, RuleId};
use crate::identity::{self, reserved_label};
use crate::names::DnsRules;
use crate::paths::HttpRules;
use crate::rule::{Direction, L7, Ports, Provenance};
use crate::selector::{NAMESPACE_LABEL, Selector};

const SCTP: u8 = 132;

/// A `spec` with its numbers, and what all endpoints share of it.
pub(super) struct HeldSpec {
    pub(super) provenance: Arc<Provenance>,
    pub(super) is_audited: bool,
    pub(super) subject: Selector,
    pub(super) ingress_default_deny: bool,
    pub(super) egress_default_deny: bool,
    pub(super) rules: Vec<HeldRule>,
}

pub(super) struct HeldRule {
    pub(super) direction: Direction,
    pub(super) is_deny: bool,
    pub(super) peers: Option<PeersId>,
    pub(super) ports: Vec<Ports>,
    pub(super) l7: ScopeL7,
    pub(super) id: RuleId,
}

pub(super) struct HeldEndpoint {
    pub(super) endpoint: Endpoint,
    /// Of the policies that select it.
    pub(super) specs: BTreeSet<SpecId>,
    pub(super) policy: Option<EndpointPolicy>,
    pub(super) is_stale: bool,
}

/// What the policy of an endpoint depends on: those for whom it is the same share a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SetKey {
    specs: BTreeSet<SpecId>,
    denies_always: bool,
    ports: PortMeanings,
}

/// What port names mean: on the way in, to the endpoint; on the way out, to the peers of the rule.
type PortMeanings = BTreeMap<(Direction, Option<PeersId>, String), Vec<u16>>;

impl HeldSpec {
    /// Whether what it says depends on what its peers call their ports.
    pub(super) fn names_ports_of_peers(&self) -> bool {
        self.rules.iter().any(|rule| {
            let mut names = rule.ports.iter().filter_map(Ports::name);
            rule.direction == Direction::Egress && names.next().is_some()
        })
    }
}

impl Endpoint {
    /// The endpoint that stands for pods which nobody knows yet.
    pub fn init(id: u16) -> Self {
        Self {
            id,
            identity: identity::INIT,
            labels: [reserved_label("init")].into_iter().collect(),
            named_ports: Vec::new(),
        }
    }
}

impl Compiler {
    /// The policy of an endpoint, if any is for it.
    pub(super) fn policy_of(&mut self, held: &HeldEndpoint) -> Option<EndpointPolicy> {
        if self.enforcement == Enforcement::Never {
            return None;
        }
        // Nothing that nobody knows is open because no policy selects it, as Cilium has it.
        let denies_always =
            self.enforcement == Enforcement::Always || held.endpoint.identity == identity::INIT;
        if held.specs.is_empty() && !denies_always {
            return None;
        }
        let is_audited = self.is_audited(&held.endpoint);
        let audits = |id: &SpecId| self.specs.get(id).is_some_and(|spec| spec.is_audited);
        let in_force: BTreeSet<SpecId> = if is_audited {
            BTreeSet::new()
        } else {
            let specs = held.specs.iter().copied();
            specs.filter(|id| !audits(id)).collect()
        };
        let audited = (in_force != held.specs || (is_audited && denies_always))
            .then(|| self.set(&held.endpoint, held.specs.clone(), denies_always));
        let denies_always = denies_always && !is_audited;
        Some(EndpointPolicy {
            id: held.endpoint.id,
            in_force: self.set(&held.endpoint, in_force, denies_always),
            audited,
        })
    }

    fn is_audited(&self, endpoint: &Endpoint) -> bool {
        let mut namespaces = endpoint.labels.values("k8s", NAMESPACE_LABEL);
        self.audit.node || namespaces.any(|name| self.audit.namespaces.contains(name))
    }

    /// The set of these policies for an endpoint: one that there is already, where it is the same.
    fn set(
        &mut self,
        endpoint: &Endpoint,
        specs: BTreeSet<SpecId>,
        denies_always: bool,
    ) -> Arc<PolicySet> {
        let key = SetKey {
            ports: self.port_meanings(endpoint, &specs),
            specs,
            denies_always,
        };
        if let Some(set) = self.sets.get(&key) {
            return Arc::clone(set);
        }
        self.last_set = self.last_set.wrapping_add(1);
        let set = Arc::new(PolicySet {
            number: self.last_set,
            ingress: self.side(&key, Direction::Ingress),
            egress: self.side(&key, Direction::Egress),
        });
        self.sets.insert(key, Arc::clone(&set));
        set
    }

    fn port_meanings(&self, endpoint: &Endpoint, specs: &BTreeSet<SpecId>) -> PortMeanings {
        let specs = specs.iter().filter_map(|id| self.specs.get(id));
        let rules = specs.flat_map(|spec| &spec.rules);
        let mut meanings = PortMeanings::new();
        for rule in rules {
            for name in rule.ports.iter().filter_map(Ports::name) {
                let ports: BTreeSet<u16> = match rule.direction {
                    Direction::Ingress => {
                        let own = endpoint.named_ports.iter();
                        own.filter(|(have, _)| have == name)
                            .map(|(_, port)| *port)
                            .collect()
                    }
                    Direction::Egress => self.ports_of_peers(rule.peers, name),
                };
                let of = (rule.direction, rule.peers, name.to_owned());
                meanings.insert(of, ports.into_iter().collect());
            }
        }
        meanings
    }

    /// What those call so that a rule lets one reach.
    fn ports_of_peers(&self, peers: Option<PeersId>, name: &str) -> BTreeSet<u16> {
        let names = self.port_names.iter().filter(|known| known.name == name);
        let reached = names.filter(|known| {
            peers.is_none_or(|peers| self.peers.members().has(peers, known.identity))
        });
        reached.map(|known| known.port).collect()
    }

    fn side(&mut self, key: &SetKey, direction: Direction) -> Side {
        let mut side = Side {
            mode: if key.denies_always {
                SideMode::DefaultDeny
            } else {
                SideMode::Open
            },
            scopes: Vec::new(),
            defaults: Vec::new(),
        };
        for spec in self.in_order(&key.specs) {
            let denies = match direction {
                Direction::Egress => spec.egress_default_deny,
                Direction::Ingress => spec.ingress_default_deny,
            };
            if denies {
                side.mode = SideMode::DefaultDeny;
                side.defaults.push(Arc::clone(&spec.provenance));
            }
            let rules = spec.rules.iter();
            let rules = rules.filter(|rule| rule.direction == direction);
            side.scopes.extend(rules.map(|rule| rule.scope(key)));
        }
        side.scopes = self.http_lists.merged(std::mem::take(&mut side.scopes));
        side
    }

    /// By the names of their policies, whenever these came: who decides is always the same.
    fn in_order(&self, specs: &BTreeSet<SpecId>) -> Vec<&HeldSpec> {
        let mut held: Vec<&HeldSpec> = specs.iter().filter_map(|id| self.specs.get(id)).collect();
        held.sort_by_key(|spec| {
            let by = &spec.provenance;
            (by.kind, &by.namespace, &by.name)
        });
        held
    }
}

impl HeldRule {
    fn scope(&self, key: &SetKey) -> Scope {
        let named = |name: &str| {
            let meaning = key
                .ports
                .get(&(self.direction, self.peers, name.to_owned()));
            meaning.cloned().unwrap_or_default()
        };
        let blocks = self.ports.iter().flat_map(|ports| prefixes(ports, &named));
        let mut blocks: Vec<Prefix> = blocks.collect();
        if self.ports.is_empty() {
            blocks.push(Prefix::EVERYTHING);
        }
        if matches!(self.l7, ScopeL7::Dns { .. }) {
            // `protocol: ANY` is SCTP as well, which DNS does not use and the proxy does not read.
            blocks.retain(|prefix| prefix.protocol != SCTP);
        }
        blocks.sort_unstable();
        blocks.dedup();
        Scope {
            peers: self.peers,
            prefixes: blocks.into(),
            is_deny: self.is_deny,
            l7: self.l7.clone(),
            rule: self.id,
        }
    }
}

impl ScopeL7 {
    /// The matchers of a rule; `number` gives each of its rules a number.
    pub(super) fn new(l7: &L7, number: impl FnMut(&str) -> RuleId) -> Self {
        match l7 {
            L7::Dns(rules) => {
                let paths = rules.iter().map(|rule| rule.path_in_object.as_str());
                Self::Dns {
                    ids: paths.map(number).collect(),
                    rules: Arc::new(DnsRules::new(rules.clone())),
                }
            }
            L7::Http(rules) => {
                let paths = rules.iter().map(|rule| rule.path_in_object.as_str());
                Self::Http {
                    ids: paths.map(number).collect(),
                    rules: Arc::new(HttpRules::new(rules.clone())),
                }
            }
            L7::Nothing => Self::Nothing,
            L7::Tls(names) => {
                let paths = names.iter().map(|name| name.path_in_object.as_str());
                Self::Tls {
                    ids: paths.map(number).collect(),
                    names: names.clone().into(),
                }
            }
        }
    }

    pub(super) fn ids(&self) -> &[RuleId] {
        match self {
            Self::Dns { ids, .. } | Self::Http { ids, .. } | Self::Tls { ids, .. } => ids,
            Self::Nothing => &[],
        }
    }
}
