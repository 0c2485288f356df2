//! Who is there, as checks want to know it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::identity::Identity;
use crate::labels::Labels;
use crate::resolve::Surroundings;
use crate::selector::Selector;

/// Everybody.
#[derive(Debug, Clone, Copy)]
pub struct Known<'k> {
    /// Identities, the reserved ones included.
    pub identities: &'k [Identity],
    /// Endpoints and what they serve.
    pub servers: &'k [Server],
    /// What policies refer to. Of a kind of which there is none nothing is said.
    pub surroundings: Surroundings<'k>,
}

/// An endpoint and what it serves.
#[derive(Debug, Clone)]
pub struct Server {
    /// `namespace/name`.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Named ports.
    pub named_ports: BTreeSet<String>,
    /// IP protocols and ports that are declared; empty where nothing is.
    pub ports: BTreeSet<(u8, u16)>,
}

impl Known<'_> {
    /// Whether a selector matches anybody.
    pub(super) fn has(&self, selector: &Selector) -> bool {
        let mut identities = self.identities.iter();
        identities.any(|identity| selector.matches(&identity.labels))
    }

    /// Whether anybody has a label of that key.
    pub(super) fn has_key(&self, source: &str, key: &str) -> bool {
        let mut identities = self.identities.iter();
        identities.any(|identity| identity.labels.has(source, key))
    }
}
