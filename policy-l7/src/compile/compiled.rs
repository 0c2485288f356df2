//! What a policy set is compiled to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::prefixes::Prefix;
use crate::fqdn::{NameSelectors, Named};
use crate::identity::Identity;
use crate::names::DnsRules;
use crate::paths::HttpRules;
use crate::rule::{Direction, Provenance};

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
    pub(crate) l7: ScopeL7,
    pub(crate) rule: RuleId,
}

/// Matchers of requests, shared by all endpoints, and the number of each of their rules.
#[derive(Debug, Clone)]
pub(crate) enum ScopeL7 {
    /// Queries are judged.
    Dns {
        rules: Arc<DnsRules>,
        ids: Arc<[RuleId]>,
    },
    /// Requests are judged.
    Http {
        rules: Arc<HttpRules>,
        ids: Arc<[RuleId]>,
    },
    /// Every request is allowed.
    Nothing,
}

/// A compiled policy set.
#[derive(Debug)]
pub struct Compiled {
    pub(super) revision: u64,
    pub(super) endpoints: Vec<EndpointPolicy>,
    pub(super) prefixes: Vec<(IpNet, Identity)>,
    pub(super) selectors: NameSelectors,
    pub(super) named: BTreeMap<Named, Identity>,
    pub(super) rules: Vec<Provenance>,
}

impl Compiled {
    /// A set without any policy.
    pub fn empty() -> Self {
        Self {
            revision: 0,
            endpoints: Vec::new(),
            prefixes: Vec::new(),
            selectors: NameSelectors::default(),
            named: BTreeMap::new(),
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

    /// The names that `toFQDNs` speak of.
    pub fn name_selectors(&self) -> &NameSelectors {
        &self.selectors
    }

    /// The identity of addresses that are so named, if it was compiled in.
    pub fn identity_of(&self, named: &Named) -> Option<&Identity> {
        self.named.get(named)
    }

    /// What is known of an address that has these names: nothing where no policy speaks of any of
    /// them.
    pub fn named(
        &self,
        address: IpAddr,
        names: impl Iterator<Item = impl AsRef<[u8]>>,
    ) -> Option<Named> {
        let selectors = self.selectors.matching(names);
        let within = self.prefixes.iter().map(|(prefix, _)| *prefix);
        (!selectors.is_empty()).then(|| Named {
            selectors,
            within: within
                .filter(|prefix| prefix.contains(&address))
                .max_by_key(IpNet::prefix_len),
        })
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
