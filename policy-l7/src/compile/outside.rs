//! What policies say of addresses that are not endpoints: prefixes, and names learnt from DNS.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::compiler::Compiler;
use super::peers::Change;
use crate::fqdn::{NameSelectors, Named};
use crate::identity::Identity;
use crate::selector::{Peers, cidr_labels};

/// What policies say of addresses that are not endpoints.
#[derive(Debug, Clone, Default)]
pub(super) struct Outside {
    pub(super) prefixes: Vec<(IpNet, Identity)>,
    pub(super) selectors: NameSelectors,
    pub(super) named: BTreeMap<Named, Identity>,
}

impl Compiler {
    /// Gives every prefix that a policy names, exceptions included, an identity of its own.
    pub(super) fn name_outside(&mut self) {
        let named: BTreeSet<IpNet> = self.peers.lists().flat_map(Peers::prefixes).collect();
        let mut changes = Vec::new();
        for (prefix, identity) in &self.outside.prefixes {
            if !named.contains(prefix) {
                changes.push(Change::Gone(identity.number));
                self.numbering.release(identity.number);
            }
        }
        let mut prefixes = Vec::new();
        for prefix in named {
            let labels = cidr_labels(prefix);
            let number = self.numbering.cidr_number(&labels);
            let identity = Identity { number, labels };
            if !self.peers.knows(&identity) {
                changes.push(Change::Come(identity.clone(), Some(prefix)));
            }
            prefixes.push((prefix, identity));
        }
        self.peers.change(changes);
        let selectors = NameSelectors::of(self.peers.lists().flat_map(Peers::names).cloned());
        let outside = Arc::make_mut(&mut self.outside);
        outside.prefixes = prefixes;
        outside.selectors = selectors;
    }

    /// Replaces what is known of addresses by their DNS names.
    pub fn set_named(&mut self, named: BTreeSet<Named>) {
        let former = &self.outside.named;
        if former.len() == named.len() && named.iter().all(|one| former.contains_key(one)) {
            return;
        }
        let mut changes = Vec::new();
        let outside = Arc::make_mut(&mut self.outside);
        outside.named.retain(|one, identity| {
            let stays = named.contains(one);
            if !stays {
                changes.push(Change::Gone(identity.number));
                self.numbering.release(identity.number);
            }
            stays
        });
        for one in named {
            if outside.named.contains_key(&one) {
                continue;
            }
            let identity = one.identity(&mut self.numbering);
            changes.push(Change::Come(identity.clone(), one.within));
            outside.named.insert(one, identity);
        }
        self.peers.change(changes);
    }
}
