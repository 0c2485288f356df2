//! What is known, what changed, and what depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compiled::{Compiled, EndpointPolicy};
use super::endpoint::{HeldEndpoint, HeldRule, HeldSpec, SetKey};
use super::http_lists::HttpLists;
use super::outside::Outside;
use super::peers::{Change, PeerSets};
use super::rulebook::Rulebook;
use super::set::{PolicySet, ScopeL7};
use super::{AuditScope, Endpoint, Enforcement, PortName};
use crate::identity::{Identity, Numbering};
use crate::resolve::{CidrGroup, Service, Surroundings, resolve};
use crate::rule::{Policy, PolicyKind, Provenance, Rule};

/// So many versions back it is known which identities came and went.
const HISTORY: usize = 16;

/// Number of a `spec`: a changed policy has new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SpecId(u64);

/// Which object; two files may hold objects of one name, which are told apart by their order.
type PolicyKey = (PolicyKind, String, String, usize);

struct HeldPolicy {
    /// As it was given.
    policy: Arc<Policy>,
    specs: Vec<SpecId>,
}

/// Policies, identities and endpoints, and how far they are compiled.
#[derive(Default)]
pub struct Compiler {
    pub(super) numbering: Numbering,
    pub(super) enforcement: Enforcement,
    pub(super) audit: AuditScope,
    cidr_groups: Vec<CidrGroup>,
    services: Vec<Service>,
    policies: BTreeMap<PolicyKey, HeldPolicy>,
    pub(super) specs: BTreeMap<SpecId, HeldSpec>,
    last_spec: u64,
    pub(super) last_set: u32,
    rules: Arc<Rulebook>,
    pub(super) peers: PeerSets,
    identities: BTreeSet<u32>,
    endpoints: BTreeMap<u16, HeldEndpoint>,
    /// What the ports of all endpoints are called.
    pub(super) port_names: BTreeSet<PortName>,
    /// Of pods of other nodes.
    port_names_elsewhere: BTreeSet<PortName>,
    pub(super) sets: BTreeMap<SetKey, Arc<PolicySet>>,
    pub(super) http_lists: HttpLists,
    pub(super) outside: Arc<Outside>,
    touched: Vec<(u64, Arc<[u32]>)>,
    revision: u64,
    version: u64,
}

impl Compiler {
    /// Without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces all policies; those that have stayed the same keep what was made of them.
    pub fn set_policies(&mut self, policies: impl IntoIterator<Item = Arc<Policy>>) {
        let mut wanted: BTreeMap<PolicyKey, Arc<Policy>> = BTreeMap::new();
        for policy in policies {
            let mut key = key_of(&policy);
            while wanted.contains_key(&key) {
                key.3 += 1;
            }
            wanted.insert(key, policy);
        }
        let stays = |(key, held): (&PolicyKey, &HeldPolicy)| {
            let same = wanted.get(key).is_some_and(|policy| {
                Arc::ptr_eq(policy, &held.policy) || **policy == *held.policy
            });
            (!same).then(|| key.clone())
        };
        let gone: Vec<PolicyKey> = self.policies.iter().filter_map(stays).collect();
        wanted.retain(|key, _| gone.contains(key) || !self.policies.contains_key(key));
        if gone.is_empty() && wanted.is_empty() {
            return;
        }
        Arc::make_mut(&mut self.rules).turn();
        for key in gone {
            self.remove_policy(&key);
        }
        for (key, policy) in wanted {
            self.add_policy(key, policy);
        }
        self.name_outside();
        self.revision += 1;
    }

    fn remove_policy(&mut self, key: &PolicyKey) {
        let Some(held) = self.policies.remove(key) else {
            return;
        };
        for id in held.specs {
            let Some(spec) = self.specs.remove(&id) else {
                continue;
            };
            for endpoint in self.endpoints.values_mut() {
                endpoint.is_stale |= endpoint.specs.remove(&id);
            }
            for rule in spec.rules {
                if let Some(peers) = rule.peers {
                    self.peers.release(peers);
                }
                let book = Arc::make_mut(&mut self.rules);
                book.remove(rule.id);
                rule.l7.ids().iter().for_each(|id| book.remove(*id));
            }
        }
    }

    fn add_policy(&mut self, key: PolicyKey, policy: Arc<Policy>) {
        let mut specs = Vec::new();
        let surroundings = Surroundings {
            cidr_groups: &self.cidr_groups,
            services: &self.services,
        };
        let resolved = if policy.has_references() {
            Arc::new(resolve(&policy, &surroundings))
        } else {
            Arc::clone(&policy)
        };
        for spec in &resolved.specs {
            self.last_spec += 1;
            let id = SpecId(self.last_spec);
            let provenance = Arc::new(policy.provenance_of(spec));
            let rules = spec.rules.iter().map(|rule| self.hold(&provenance, rule));
            let held = HeldSpec {
                rules: rules.collect(),
                provenance,
                is_audited: policy.is_audited,
                subject: spec.subject.clone(),
                ingress_default_deny: spec.ingress_default_deny,
                egress_default_deny: spec.egress_default_deny,
            };
            for endpoint in self.endpoints.values_mut() {
                if held.subject.matches(&endpoint.endpoint.labels) {
                    endpoint.specs.insert(id);
                    endpoint.is_stale = true;
                }
            }
            self.specs.insert(id, held);
            specs.push(id);
        }
        self.policies.insert(key, HeldPolicy { policy, specs });
    }

    fn hold(&mut self, provenance: &Provenance, rule: &Rule) -> HeldRule {
        let book = Arc::make_mut(&mut self.rules);
        let id = book.add(provenance, &rule.path);
        let l7 = ScopeL7::new(&rule.l7, |path| book.add(provenance, path));
        HeldRule {
            direction: rule.direction,
            is_deny: rule.is_deny,
            peers: (!rule.peers.is_anybody()).then(|| self.peers.acquire(&rule.peers)),
            ports: rule.ports.clone(),
            l7,
            id,
        }
    }

    /// Replaces what policies refer to by name; those that do are made anew.
    pub fn set_surroundings(&mut self, surroundings: Surroundings<'_>) {
        let is_same = *self.cidr_groups == *surroundings.cidr_groups
            && *self.services == *surroundings.services;
        if is_same {
            return;
        }
        self.cidr_groups = surroundings.cidr_groups.to_vec();
        self.services = surroundings.services.to_vec();
        let referring = self.policies.iter();
        let referring = referring.filter(|(_, held)| held.policy.has_references());
        let referring: Vec<(PolicyKey, Arc<Policy>)> = referring
            .map(|(key, held)| (key.clone(), Arc::clone(&held.policy)))
            .collect();
        if referring.is_empty() {
            return;
        }
        Arc::make_mut(&mut self.rules).turn();
        for (key, policy) in referring {
            self.remove_policy(&key);
            self.add_policy(key, policy);
        }
        self.name_outside();
        self.revision += 1;
    }

    /// Replaces all identities but those of prefixes and names, which are made here.
    pub fn set_identities(&mut self, identities: &[Identity]) {
        let wanted: BTreeSet<u32> = identities.iter().map(|identity| identity.number).collect();
        let gone = self.identities.difference(&wanted);
        let mut changes: Vec<Change> = gone.map(|number| Change::Gone(*number)).collect();
        let come = identities
            .iter()
            .filter(|identity| !self.peers.knows(identity));
        changes.extend(come.map(|identity| Change::Come(identity.clone(), None)));
        self.peers.change(changes);
        self.identities = wanted;
    }

    /// An identity comes, or has changed.
    pub fn insert_identity(&mut self, identity: Identity) {
        if !self.peers.knows(&identity) {
            self.identities.insert(identity.number);
            self.peers.change(vec![Change::Come(identity, None)]);
        }
    }

    /// An identity has gone.
    pub fn remove_identity(&mut self, number: u32) {
        if self.identities.remove(&number) {
            self.peers.change(vec![Change::Gone(number)]);
        }
    }

    /// Replaces all endpoints.
    pub fn set_endpoints(&mut self, endpoints: &[Endpoint]) {
        let wanted: BTreeSet<u16> = endpoints.iter().map(|endpoint| endpoint.id).collect();
        let gone = |id: &u16| !wanted.contains(id);
        let gone: Vec<u16> = self.endpoints.keys().copied().filter(gone).collect();
        for id in gone {
            self.remove_endpoint(id);
        }
        for endpoint in endpoints {
            self.insert_endpoint(endpoint.clone());
        }
    }

    /// An endpoint comes, or has changed.
    pub fn insert_endpoint(&mut self, endpoint: Endpoint) {
        let former = self.endpoints.get(&endpoint.id);
        if former.is_some_and(|held| held.endpoint == endpoint) {
            return;
        }
        let names_ports = !endpoint.named_ports.is_empty()
            || former.is_some_and(|held| !held.endpoint.named_ports.is_empty());
        let selecting = self.specs.iter();
        let specs = selecting
            .filter(|(_, spec)| spec.subject.matches(&endpoint.labels))
            .map(|(id, _)| *id);
        let held = HeldEndpoint {
            specs: specs.collect(),
            policy: None,
            is_stale: true,
            endpoint,
        };
        self.endpoints.insert(held.endpoint.id, held);
        if names_ports {
            self.name_ports();
        }
    }

    /// An endpoint has gone.
    pub fn remove_endpoint(&mut self, id: u16) {
        let gone = self.endpoints.remove(&id);
        if gone.is_some_and(|held| !held.endpoint.named_ports.is_empty()) {
            self.name_ports();
        }
    }

    /// Replaces what ports are called by pods of other nodes.
    pub fn set_port_names(&mut self, names: impl IntoIterator<Item = PortName>) {
        self.port_names_elsewhere = names.into_iter().collect();
        self.name_ports();
    }

    fn name_ports(&mut self) {
        let here = self.endpoints.values().flat_map(|held| {
            let names = held.endpoint.named_ports.iter();
            names.map(|(name, port)| PortName {
                identity: held.endpoint.identity,
                name: name.clone(),
                port: *port,
            })
        });
        let names = self.port_names_elsewhere.iter().cloned().chain(here);
        let names = names.collect();
        if names != self.port_names {
            self.port_names = names;
            self.all_stale();
        }
    }

    /// A port name in an egress rule means what the pods call so that the rule's peers are: who these
    /// are may have changed.
    fn refresh_port_names(&mut self) {
        let specs = &self.specs;
        for held in self.endpoints.values_mut() {
            let mut selecting = held.specs.iter().filter_map(|id| specs.get(id));
            held.is_stale |= selecting.any(HeldSpec::names_ports_of_peers);
        }
    }

    /// For which endpoints policy is enforced, and whose policies only tell.
    pub fn set_enforcement(&mut self, enforcement: Enforcement, audit: AuditScope) {
        if (self.enforcement, &self.audit) != (enforcement, &audit) {
            self.enforcement = enforcement;
            self.audit = audit;
            self.revision += 1;
            self.all_stale();
        }
    }

    fn all_stale(&mut self) {
        for endpoint in self.endpoints.values_mut() {
            endpoint.is_stale = true;
        }
    }

    /// Compiles what has changed.
    pub fn commit(&mut self) -> Arc<Compiled> {
        let touched: Arc<[u32]> = self.peers.take_touched().into();
        if !touched.is_empty() {
            self.refresh_port_names();
        }
        let mut endpoints = std::mem::take(&mut self.endpoints);
        for held in endpoints.values_mut().filter(|held| held.is_stale) {
            held.policy = self.policy_of(held);
            held.is_stale = false;
        }
        let policies = endpoints.values().filter_map(|held| held.policy.clone());
        let policies: Arc<[EndpointPolicy]> = policies.collect();
        self.endpoints = endpoints;
        // One is held here; whoever else holds a set has it from an endpoint or a former version.
        let used: BTreeSet<u32> = policies
            .iter()
            .flat_map(|policy| {
                let audited = policy.audited.iter().map(|set| set.number);
                std::iter::once(policy.in_force.number).chain(audited)
            })
            .collect();
        self.sets.retain(|_, set| used.contains(&set.number));
        self.http_lists.retain_used();
        self.version += 1;
        self.touched.push((self.version, touched));
        let surplus = self.touched.len().saturating_sub(HISTORY);
        self.touched.drain(..surplus);
        Arc::new(Compiled {
            revision: self.revision,
            version: self.version,
            endpoints: policies,
            members: self.peers.members().clone(),
            touched: self.touched.clone(),
            outside: Arc::clone(&self.outside),
            rules: Arc::clone(&self.rules),
        })
    }
}

fn key_of(policy: &Policy) -> PolicyKey {
    let provenance = &policy.provenance;
    let (namespace, name) = (provenance.namespace.clone(), provenance.name.clone());
    (provenance.kind, namespace, name, 0)
}
