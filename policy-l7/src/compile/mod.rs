//! Policies × identities × endpoints → kernel entries and L7 matchers.

mod compiled;
mod entries;
mod prefixes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::fqdn::{NameSelectors, Named};
use crate::identity::{Identity, Numbering};
use crate::labels::Labels;
use crate::names::DnsRules;
use crate::paths::HttpRules;
use crate::rule::{Direction, L7, Policy, Provenance, Rule};
use crate::selector::cidr_labels;
pub use compiled::{Action, Compiled, EndpointPolicy, Entry, Key, RuleId, SideMode};
pub(crate) use compiled::{Scope, ScopeL7};
use entries::entries;
pub(crate) use prefixes::Prefix;
use prefixes::prefixes;

const SCTP: u8 = 132;

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
    /// What is known of addresses by their DNS names.
    pub named: &'a BTreeSet<Named>,
    /// Number of this version of the policy set.
    pub revision: u64,
}

/// Compiles a policy set. The result depends on the inputs alone: same inputs, same entries, in the
/// same order.
pub fn compile(inputs: &Inputs<'_>) -> Compiled {
    let mut numbering = Numbering::default();
    let prefixes = prefix_identities(inputs.policies, &mut numbering);
    let named: BTreeMap<Named, Identity> = inputs
        .named
        .iter()
        .map(|named| (named.clone(), named.identity(&mut numbering)))
        .collect();
    let mut compiler = Compiler {
        inputs,
        prefixes: &prefixes,
        named: &named,
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
        selectors: NameSelectors::of(inputs.policies),
        named,
        rules,
    }
}

/// Every prefix that a policy names, exceptions included, with an identity of its own.
fn prefix_identities(policies: &[Policy], numbering: &mut Numbering) -> Vec<(IpNet, Identity)> {
    let rules = policies
        .iter()
        .flat_map(|policy| &policy.specs)
        .flat_map(|spec| &spec.rules);
    let prefixes: BTreeSet<IpNet> = rules.flat_map(|rule| rule.peers.prefixes()).collect();
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
    named: &'a BTreeMap<Named, Identity>,
    rules: Vec<Provenance>,
}

/// A rule with its numbers, and the matchers that all endpoints share.
struct Numbered<'a> {
    policy: &'a Policy,
    spec: usize,
    rule: &'a Rule,
    id: RuleId,
    l7: ScopeL7,
}

impl<'a> Compiler<'a> {
    fn number_rules(&mut self) -> Vec<Numbered<'a>> {
        let mut numbered = Vec::new();
        for policy in self.inputs.policies {
            for (index, spec) in policy.specs.iter().enumerate() {
                for rule in &spec.rules {
                    let id = self.number(policy, &rule.path);
                    let l7 = self.l7(policy, &rule.l7);
                    numbered.push(Numbered {
                        policy,
                        spec: index,
                        rule,
                        id,
                        l7,
                    });
                }
            }
        }
        numbered
    }

    fn l7(&mut self, policy: &Policy, l7: &L7) -> ScopeL7 {
        match l7 {
            L7::Dns(rules) => {
                let paths = rules.iter().map(|rule| &rule.path_in_object);
                let ids = paths.map(|path| self.number(policy, path)).collect();
                let rules = Arc::new(DnsRules::new(rules.clone()));
                ScopeL7::Dns { rules, ids }
            }
            L7::Http(rules) => {
                let paths = rules.iter().map(|rule| &rule.path_in_object);
                let ids = paths.map(|path| self.number(policy, path)).collect();
                let rules = Arc::new(HttpRules::new(rules.clone()));
                ScopeL7::Http { rules, ids }
            }
            L7::Nothing => ScopeL7::Nothing,
        }
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
        if matches!(numbered.l7, ScopeL7::Dns { .. }) {
            // `protocol: ANY` is SCTP as well, which DNS does not use and the proxy does not read.
            prefixes.retain(|prefix| prefix.protocol != SCTP);
        }
        prefixes.sort_unstable();
        prefixes.dedup();
        Scope {
            direction: rule.direction,
            peers: self.peers(rule),
            prefixes,
            is_deny: rule.is_deny,
            l7: numbered.l7.clone(),
            rule: numbered.id,
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
        let by_name = self
            .named
            .iter()
            .map(|(named, identity)| (identity, named.within.as_ref()));
        let mut numbers: Vec<u32> = inside
            .chain(outside)
            .chain(by_name)
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
