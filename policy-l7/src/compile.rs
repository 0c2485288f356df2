//! Policies × identities × endpoints → kernel entries and L7 matchers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::identity::{Identity, Numbering};
use crate::labels::Labels;
use crate::paths::HttpRules;
use crate::rule::{Direction, Policy, PortRange, Ports, Provenance, Rule};
use crate::selector::cidr_labels;

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

/// Protocol and a power-of-two block of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Prefix {
    pub(crate) protocol: u8,
    pub(crate) port: u16,
    pub(crate) bits: u8,
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

fn prefixes(ports: &Ports, named: &impl Fn(&str) -> Vec<u16>) -> Vec<Prefix> {
    let blocks = match &ports.range {
        PortRange::Any => vec![(0, 0)],
        PortRange::Between(first, last) => blocks(*first, *last),
        PortRange::Named(name) => named(name).into_iter().map(|port| (port, 16)).collect(),
    };
    let protocols: &[u8] = match &ports.protocol {
        Some(protocol) => std::slice::from_ref(protocol),
        None if ports.range == PortRange::Any => &[0],
        None => &[6, 17, 132],
    };
    let pairs = protocols.iter().flat_map(|protocol| {
        blocks.iter().map(move |(port, bits)| Prefix {
            protocol: *protocol,
            port: *port,
            bits: *bits,
        })
    });
    pairs.collect()
}

/// A range as the fewest blocks of 2^n aligned ports: at most thirty.
fn blocks(first: u16, last: u16) -> Vec<(u16, u8)> {
    let (mut next, last) = (u32::from(first), u32::from(last));
    let mut blocks = Vec::new();
    while next <= last {
        let mut size = 1_u32;
        let mut bits = 16_u8;
        while bits > 0 && next % (size * 2) == 0 && next + size * 2 - 1 <= last {
            size *= 2;
            bits -= 1;
        }
        blocks.push((u16::try_from(next).unwrap_or(u16::MAX), bits));
        next += size;
    }
    blocks
}

impl Prefix {
    /// Whether everything in `other` is in this one.
    pub(crate) fn covers(self, other: Self) -> bool {
        if self.protocol == 0 {
            return true;
        }
        let mask = u16::MAX.checked_shl(16 - u32::from(self.bits)).unwrap_or(0);
        self.protocol == other.protocol
            && self.bits <= other.bits
            && self.port & mask == other.port & mask
    }
}

/// What a rule says about a block of ports of one peer.
struct Said {
    prefix: Prefix,
    action: Action,
    rule: RuleId,
}

/// Entries for the kernel. A look-up finds the longest prefix only, so each entry says the
/// strictest of everything that covers it.
fn entries(scopes: &[Scope]) -> Vec<Entry> {
    let mut raw: BTreeMap<(Direction, u32), Vec<Said>> = BTreeMap::new();
    for scope in scopes {
        let action = match (scope.is_deny, &scope.http) {
            (true, _) => Action::Deny,
            (false, Some(_)) => Action::Redirect,
            (false, None) => Action::Allow,
        };
        for identity in scope.peers.as_deref().unwrap_or(&[0]) {
            let list = raw.entry((scope.direction, *identity)).or_default();
            list.extend(scope.prefixes.iter().map(|prefix| Said {
                prefix: *prefix,
                action,
                rule: scope.rule,
            }));
        }
    }
    raw.into_iter()
        .flat_map(|((direction, identity), list)| merge(direction, identity, &list))
        .collect()
}

fn merge(direction: Direction, identity: u32, list: &[Said]) -> Vec<Entry> {
    let distinct: BTreeSet<Prefix> = list.iter().map(|said| said.prefix).collect();
    let strictest = |prefix: Prefix| {
        list.iter()
            .filter(|said| said.prefix.covers(prefix))
            .map(|said| (said.action, std::cmp::Reverse(said.rule)))
            .max()
    };
    distinct
        .into_iter()
        .filter_map(|prefix| {
            let (action, std::cmp::Reverse(rule)) = strictest(prefix)?;
            let Prefix {
                protocol,
                port,
                bits,
            } = prefix;
            let key = Key {
                direction,
                identity,
                protocol,
                port,
                port_bits: bits,
            };
            let match_type = match (identity != 0, protocol != 0) {
                (true, false) => 1,
                (true, true) => 2,
                (false, true) => 3,
                (false, false) => 4,
            };
            Some(Entry {
                key,
                action,
                rule,
                match_type,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_becomes_few_blocks() {
        assert_eq!(blocks(80, 80), [(80, 16)]);
        assert_eq!(
            blocks(1024, 65535),
            [
                (1024, 6),
                (2048, 5),
                (4096, 4),
                (8192, 3),
                (16384, 2),
                (32768, 1)
            ]
        );
        assert_eq!(blocks(0, 65535), [(0, 0)]);
        let blocks = blocks(1, 65534);
        assert_eq!(blocks.len(), 30);
        let covered: u32 = blocks.iter().map(|(_, bits)| 1_u32 << (16 - bits)).sum();
        assert_eq!(covered, 65534);
    }

    #[test]
    fn a_prefix_covers_what_it_holds() {
        let at = |protocol, port, bits| Prefix {
            protocol,
            port,
            bits,
        };
        assert!(at(0, 0, 0).covers(at(6, 80, 16)));
        assert!(at(6, 0, 0).covers(at(6, 80, 16)));
        assert!(!at(6, 0, 0).covers(at(17, 80, 16)));
        assert!(at(6, 1024, 6).covers(at(6, 1500, 16)));
        assert!(!at(6, 1024, 6).covers(at(6, 2048, 16)));
    }
}
