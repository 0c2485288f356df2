//! `toFQDNs`: addresses that are allowed by the names that DNS gives them.
//!
//! Policies are compiled over identities, and an address that was learnt by a name has one as well:
//! the set of all `toFQDNs` selectors that any of its names fits, and the longest prefix of a policy
//! that it is in. So a new address of a name that is known already needs no compilation, only its
//! entry in the ipcache.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::identity::{Identity, Numbering, reserved_label};
use crate::labels::{Label, Labels};
use crate::names::NamePattern;
use crate::selector::cidr_labels;

/// What policies may know of an address by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named {
    /// The selectors, as policies write them, that any of its names fits.
    pub selectors: BTreeSet<String>,
    /// The longest prefix of a policy that it is in.
    pub within: Option<IpNet>,
}

impl Named {
    pub(crate) fn identity(&self, numbering: &mut Numbering) -> Identity {
        let prefix = self.within.map(cidr_labels).unwrap_or_default();
        let names = self.selectors.iter().map(|selector| Label {
            source: "fqdn".to_owned(),
            key: selector.clone(),
            value: String::new(),
        });
        let labels: Labels = prefix
            .iter()
            .chain(names)
            .chain([reserved_label("world")])
            .collect();
        Identity {
            number: numbering.cidr_number(&labels),
            labels,
        }
    }
}

/// The selectors of all `toFQDNs` of a policy set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameSelectors(BTreeMap<String, NamePattern>);

impl NameSelectors {
    pub(crate) fn of(names: impl Iterator<Item = NamePattern>) -> Self {
        Self(names.map(|name| (name.source.clone(), name)).collect())
    }

    /// Whether no policy speaks of names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any selector means the name: in lower case, with its last dot.
    pub fn is_about(&self, name: &[u8]) -> bool {
        self.0.values().any(|selector| selector.matches(name))
    }

    /// All selectors, as policies write them.
    pub(crate) fn all(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// The selectors that mean any of the names.
    pub(crate) fn matching(
        &self,
        names: impl Iterator<Item = impl AsRef<[u8]>>,
    ) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for name in names {
            let fitting = self
                .0
                .iter()
                .filter(|(_, selector)| selector.matches(name.as_ref()));
            found.extend(fitting.map(|(source, _)| source.clone()));
        }
        found
    }
}
