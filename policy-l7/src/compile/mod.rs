//! Policies × identities × endpoints → kernel entries and L7 matchers.

mod entries;
mod prefixes;

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;

use crate::identity::{Identity, Numbering};
use crate::labels::Labels;
use crate::paths::HttpRules;
use crate::rule::{Direction, Policy, Provenance, Rule};
use crate::selector::cidr_labels;
use entries::entries;
pub(crate) use prefixes::Prefix;
use prefixes::prefixes;

/// An endpoint of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Number on this node.
    pub id: u16,
    /// Identity number.
    pub identity: u32,
    /// Labels.
    pub labels: Labels,
    /// Named ports of its containers.
    pub named_ports: Vec<(String, u16)>,
}

/// What a compilation starts from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// All policies.
    pub policies: &'a [Policy],
    /// All known identities, the reserved ones included.
    pub identities: &'a [Identity],
    /// Endpoints of this node.
    pub endpoints: &'a [Endpoint],
    /// Number of this version of the policy set.
    pub revision: u64,
}

/// Number of a rule in a compiled set; 0 is no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// What an entry says; where two match, the greater one decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Pass.
    Allow,
    /// Judge its requests.
    Redirect,
    /// Drop.
    Deny,
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Direction from the endpoint's view.
    pub direction: Direction,
    /// Identity of the other end, 0 for any.
    pub identity: u32,
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Port of the receiver; bits beyond `port_bits` are 0.
    pub port: u16,
    /// Leading bits of the port that count.
    pub port_bits: u8,
}

/// One entry of the kernel's policy map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub key: Key,
    /// What it says.
    pub action: Action,
    /// Which rule made it.
    pub rule: RuleId,
    /// Hubble's match type: 1 L3-only, 2 L3-L4, 3 L4-only, 4 all.
    pub match_type: u8,
}

/// What happens to what no entry matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideMode {
    /// Dropped.
    DefaultDeny,
    /// Passed.
    Open,
}

/// The policy of one endpoint.
#[derive(Debug, Clone)]
pub struct EndpointPolicy {
    /// Number of the endpoint.
    pub id: u16,
    /// On the way in.
    pub ingress: SideMode,
    /// On the way out.
    pub egress: SideMode,
    /// Entries, sorted by key. The kernel looks up two keys (the identity, and 0), the longest
    /// (protocol, port) prefix of each, and takes the greater action.
    pub entries: Vec<Entry>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) defaults: Vec<(Direction, Provenance)>,
}

/// A rule as it applies to one endpoint, for judging requests.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) direction: Direction,
    /// Sorted; `None` is anybody.
    pub(crate) peers: Option<Vec<u32>>,
    pub(crate) prefixes: Vec<Prefix>,
    pub(crate) is_deny: bool,
    /// `None` allows every request.
    pub(crate) http: Option<Arc<HttpRules>>,
    pub(crate) rule: RuleId,
    /// Of each HTTP rule.
    pub(crate) http_ids: Arc<[RuleId]>,
}

/// A compiled policy set.
#[derive(Debug)]
pub struct Compiled {
    revision: u64,
    endpoints: Vec<EndpointPolicy>,
    prefixes: Vec<(IpNet, Identity)>,
    rules: Vec<Provenance>,
}

impl Compiled {
    /// A set without any policy.
    pub fn empty() -> Self {
        Self {
            revision: 0,
            endpoints: Vec::new(),
            prefixes: Vec::new(),
            rules: Vec::new(),
        }
    }

    /// Number of this version.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Policies of endpoints, sorted by number; endpoints without any policy are left out.
    pub fn endpoints(&self) -> &[EndpointPolicy] {
        &self.endpoints
    }

    /// Identities of prefixes that policies name.
    pub fn prefixes(&self) -> &[(IpNet, Identity)] {
        &self.prefixes
    }

    /// Which object and rule a number stands for.
    pub fn rule(&self, id: RuleId) -> Option<&Provenance> {
        self.rules.get(usize::try_from(id.0).ok()?.checked_sub(1)?)
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &Provenance)> {
        (1..).map(RuleId).zip(&self.rules)
    }

    /// The policy of an endpoint, if any policy is for it.
    pub fn endpoint(&self, id: u16) -> Option<&EndpointPolicy> {
        let index = self
            .endpoints
            .binary_search_by_key(&id, |endpoint| endpoint.id)
            .ok()?;
        self.endpoints.get(index)
    }
}

/// Compiles a policy set. The result depends on the inputs alone: same inputs, same entries, in the
/// same order.
pub fn compile(inputs: &Inputs<'_>) -> Compiled {
    let prefixes = prefix_identities(inputs.policies);
    let mut compiler = Compiler {
        inputs,
        prefixes: &prefixes,
        rules: Vec::new(),
    };
    let numbered = compiler.number_rules();
    let endpoints = inputs
        .endpoints
        .iter()
        .filter_map(|endpoint| compiler.endpoint(endpoint, &numbered))
        .collect::<Vec<_>>();
    let rules = compiler.rules;
    let mut endpoints = endpoints;
    endpoints.sort_by_key(|endpoint| endpoint.id);
    Compiled {
        revision: inputs.revision,
        endpoints,
        prefixes,
        rules,
    }
}

/// Every prefix that a policy names, exceptions included, with an identity of its own.
fn prefix_identities(policies: &[Policy]) -> Vec<(IpNet, Identity)> {
    let rules = policies
        .iter()
        .flat_map(|policy| &policy.specs)
        .flat_map(|spec| &spec.rules);
    let prefixes: BTreeSet<IpNet> = rules.flat_map(|rule| rule.peers.prefixes()).collect();
    let mut numbering = Numbering::default();
    prefixes
        .into_iter()
        .map(|prefix| {
            let labels = cidr_labels(prefix);
            (
                prefix,
                Identity {
                    number: numbering.cidr_number(&labels),
                    labels,
                },
            )
        })
        .collect()
}

struct Compiler<'a> {
    inputs: &'a Inputs<'a>,
    prefixes: &'a [(IpNet, Identity)],
    rules: Vec<Provenance>,
}

/// A rule with its numbers, and the matchers that all endpoints share.
struct Numbered<'a> {
    policy: &'a Policy,
    spec: usize,
    rule: &'a Rule,
    id: RuleId,
    http: Option<Arc<HttpRules>>,
    http_ids: Arc<[RuleId]>,
}

impl<'a> Compiler<'a> {
    fn number_rules(&mut self) -> Vec<Numbered<'a>> {
        let mut numbered = Vec::new();
        for policy in self.inputs.policies {
            for (index, spec) in policy.specs.iter().enumerate() {
                for rule in &spec.rules {
                    let id = self.number(policy, &rule.path);
                    let http = rule.http.as_deref().unwrap_or_default();
                    let http_ids = http
                        .iter()
                        .map(|http| self.number(policy, &http.path_in_object))
                        .collect();
                    let http = rule.http.clone().map(|http| Arc::new(HttpRules::new(http)));
                    numbered.push(Numbered {
                        policy,
                        spec: index,
                        rule,
                        id,
                        http,
                        http_ids,
                    });
                }
            }
        }
        numbered
    }

    fn number(&mut self, policy: &Policy, path: &str) -> RuleId {
        self.rules.push(Provenance {
            rule: path.to_owned(),
            ..policy.provenance.clone()
        });
        RuleId(u32::try_from(self.rules.len()).unwrap_or(u32::MAX))
    }

    fn endpoint(&self, endpoint: &Endpoint, numbered: &[Numbered<'a>]) -> Option<EndpointPolicy> {
        let mut policy = EndpointPolicy {
            id: endpoint.id,
            ingress: SideMode::Open,
            egress: SideMode::Open,
            entries: Vec::new(),
            scopes: Vec::new(),
            defaults: Vec::new(),
        };
        let mut is_selected = false;
        for object in self.inputs.policies {
            for spec in object
                .specs
                .iter()
                .filter(|spec| spec.subject.matches(&endpoint.labels))
            {
                is_selected = true;
                if spec.ingress_default_deny {
                    policy.ingress = SideMode::DefaultDeny;
                    policy
                        .defaults
                        .push((Direction::Ingress, object.provenance.clone()));
                }
                if spec.egress_default_deny {
                    policy.egress = SideMode::DefaultDeny;
                    policy
                        .defaults
                        .push((Direction::Egress, object.provenance.clone()));
                }
            }
        }
        if !is_selected {
            return None;
        }
        let applies = |rule: &&Numbered<'_>| {
            let spec = rule.policy.specs.get(rule.spec);
            spec.is_some_and(|spec| spec.subject.matches(&endpoint.labels))
        };
        policy.scopes = numbered
            .iter()
            .filter(applies)
            .map(|rule| self.scope(endpoint, rule))
            .collect();
        policy.entries = entries(&policy.scopes);
        Some(policy)
    }

    fn scope(&self, endpoint: &Endpoint, numbered: &Numbered<'_>) -> Scope {
        let rule = numbered.rule;
        let named = |name: &str| match rule.direction {
            Direction::Ingress => ports_named(std::slice::from_ref(endpoint), name),
            // The name is resolved by the endpoints that are reached.
            Direction::Egress => ports_named(self.inputs.endpoints, name),
        };
        let mut prefixes: Vec<Prefix> = rule
            .ports
            .iter()
            .flat_map(|ports| prefixes(ports, &named))
            .collect();
        if rule.ports.is_empty() {
            prefixes.push(Prefix {
                protocol: 0,
                port: 0,
                bits: 0,
            });
        }
        prefixes.sort_unstable();
        prefixes.dedup();
        Scope {
            direction: rule.direction,
            peers: self.peers(rule),
            prefixes,
            is_deny: rule.is_deny,
            http: numbered.http.clone(),
            rule: numbered.id,
            http_ids: Arc::clone(&numbered.http_ids),
        }
    }

    fn peers(&self, rule: &Rule) -> Option<Vec<u32>> {
        if rule.peers.is_anybody() {
            return None;
        }
        let inside = self
            .inputs
            .identities
            .iter()
            .map(|identity| (identity, None));
        let outside = self
            .prefixes
            .iter()
            .map(|(prefix, identity)| (identity, Some(prefix)));
        let mut numbers: Vec<u32> = inside
            .chain(outside)
            .filter(|(identity, prefix)| rule.peers.matches(identity, *prefix))
            .map(|(identity, _)| identity.number)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        Some(numbers)
    }
}

fn ports_named(endpoints: &[Endpoint], name: &str) -> Vec<u16> {
    let ports = endpoints.iter().flat_map(|endpoint| &endpoint.named_ports);
    ports
        .filter(|(have, _)| have == name)
        .map(|(_, port)| *port)
        .collect()
}
