//! What a policy set is compiled to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::outside::Outside;
use super::peers::Members;
use super::rulebook::Rulebook;
use super::set::PolicySet;
use super::{RuleId, Scope};
use crate::fqdn::{NameSelectors, Named};
use crate::identity::Identity;
use crate::rule::Provenance;

/// The policy of one endpoint.
#[derive(Debug, Clone)]
pub struct EndpointPolicy {
    /// Number of the endpoint.
    pub id: u16,
    /// What holds.
    pub in_force: Arc<PolicySet>,
    /// What would hold if nothing were only audited; none where that is the same.
    pub audited: Option<Arc<PolicySet>>,
}

/// A compiled policy set: all that can be asked of it, and that never changes.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    pub(super) revision: u64,
    pub(super) version: u64,
    pub(super) endpoints: Arc<[EndpointPolicy]>,
    pub(super) members: Members,
    /// Of the latest versions, the identities that came or went with each.
    pub(super) touched: Vec<(u64, Arc<[u32]>)>,
    pub(super) outside: Arc<Outside>,
    pub(super) rules: Arc<Rulebook>,
}

impl Compiled {
    /// A set without any policy.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Number of this version of the policies: the same while only identities, endpoints and names
    /// come and go.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn with_revision(&self, revision: u64) -> Self {
        Self {
            revision,
            ..self.clone()
        }
    }

    /// Number of this version of everything.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Policies of endpoints, sorted by number; endpoints without any policy are left out.
    pub fn endpoints(&self) -> &[EndpointPolicy] {
        &self.endpoints
    }

    /// All sets that endpoints have, each once, sorted by number.
    pub fn sets(&self) -> Vec<Arc<PolicySet>> {
        let endpoints = self.endpoints.iter();
        let each = endpoints.flat_map(|endpoint| {
            let audited = endpoint.audited.as_ref();
            std::iter::once(&endpoint.in_force).chain(audited)
        });
        let by_number: BTreeMap<u32, &Arc<PolicySet>> =
            each.map(|set| (set.number(), set)).collect();
        by_number.into_values().cloned().collect()
    }

    /// Identities that have come or gone since a former version; nothing where that is not known
    /// any more, and everything has to be compared.
    pub fn touched_since(&self, version: u64) -> Option<BTreeSet<u32>> {
        if version == self.version {
            return Some(BTreeSet::new());
        }
        let oldest = self.touched.first().map(|(version, _)| *version)?;
        if version > self.version || version + 1 < oldest {
            return None;
        }
        let since = self.touched.iter().filter(|(of, _)| *of > version);
        Some(
            since
                .flat_map(|(_, touched)| touched.iter().copied())
                .collect(),
        )
    }

    /// Identities of prefixes that policies name.
    pub fn prefixes(&self) -> &[(IpNet, Identity)] {
        &self.outside.prefixes
    }

    /// The names that `toFQDNs` speak of.
    pub fn name_selectors(&self) -> &NameSelectors {
        &self.outside.selectors
    }

    /// The identity of addresses that are so named, if it was compiled in.
    pub fn identity_of(&self, named: &Named) -> Option<&Identity> {
        self.outside.named.get(named)
    }

    /// What is known of an address that has these names: nothing where no policy speaks of any of
    /// them.
    pub fn named(
        &self,
        address: IpAddr,
        names: impl Iterator<Item = impl AsRef<[u8]>>,
    ) -> Option<Named> {
        let selectors = self.outside.selectors.matching(names);
        (!selectors.is_empty()).then(|| Named {
            selectors,
            within: self.within(address),
        })
    }

    /// What would be known of an address that had every name that policies speak of.
    pub fn named_by_all(&self, address: IpAddr) -> Named {
        Named {
            selectors: self.outside.selectors.all(),
            within: self.within(address),
        }
    }

    /// The longest prefix of a policy that an address is in.
    fn within(&self, address: IpAddr) -> Option<IpNet> {
        let prefixes = self.outside.prefixes.iter().map(|(prefix, _)| *prefix);
        prefixes
            .filter(|prefix| prefix.contains(&address))
            .max_by_key(IpNet::prefix_len)
    }

    /// Which object and rule a number stands for.
    pub fn rule(&self, id: RuleId) -> Option<&Provenance> {
        self.rules.get(id)
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &Provenance)> {
        self.rules.iter()
    }

    /// Whether the rules of another version are the very same, numbers and revision included.
    pub fn has_same_rules(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rules, &other.rules) && self.revision == other.revision
    }

    /// The policy of an endpoint, if any policy is for it.
    pub fn endpoint(&self, id: u16) -> Option<&EndpointPolicy> {
        let index = self
            .endpoints
            .binary_search_by_key(&id, |endpoint| endpoint.id)
            .ok()?;
        self.endpoints.get(index)
    }

    pub(super) fn members(&self) -> &Members {
        &self.members
    }

    /// Whether a rule is about an identity.
    pub(crate) fn is_about(&self, scope: &Scope, identity: u32) -> bool {
        scope.means(&self.members, identity)
    }
}
