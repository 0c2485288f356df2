//! The pointer to the compiled policy set, and what is kept ready beside it.

use std::net::SocketAddr;
use std::sync::Arc;

use ahash::AHashMap;
use arc_swap::ArcSwap;
use policy_l7::{Compiled, Provenance, RuleId};
use tokio::sync::watch;

use super::judge::{Door, Judge};
use crate::identity::Identities;
use crate::record::{IdentityNumber, Party, PolicyKind, PolicyRef};

/// One compiled policy set with the references that records need, made once per change.
#[derive(Debug)]
pub struct State {
    /// The compiled set.
    pub compiled: Arc<Compiled>,
    refs: Arc<AHashMap<RuleId, Arc<[PolicyRef]>>>,
    none: Arc<[PolicyRef]>,
    /// Whether any endpoint has a policy that is only audited.
    audits: bool,
}

/// The policy of this moment.
#[derive(Debug)]
pub struct Live {
    state: ArcSwap<State>,
    changes: watch::Sender<u64>,
    /// Who addresses are at this moment, where that may change.
    identities: Option<Identities>,
}

impl State {
    fn new(compiled: Arc<Compiled>) -> Self {
        let refs = Arc::new(references(&compiled));
        Self {
            audits: audits(&compiled),
            compiled,
            refs,
            none: Arc::from(Vec::new()),
        }
    }

    /// What follows this one; its references are kept where its rules are the same.
    fn followed_by(&self, compiled: Arc<Compiled>) -> Self {
        if !self.compiled.has_same_rules(&compiled) {
            return Self::new(compiled);
        }
        Self {
            audits: audits(&compiled),
            compiled,
            refs: Arc::clone(&self.refs),
            none: Arc::clone(&self.none),
        }
    }

    /// What a record says about the rule that decided; shared, not allocated.
    pub fn refs(&self, rule: RuleId) -> Arc<[PolicyRef]> {
        Arc::clone(self.refs.get(&rule).unwrap_or(&self.none))
    }

    /// What a record says when several policies decided together, such as a default deny.
    pub fn refs_of(&self, provenances: &[Provenance]) -> Arc<[PolicyRef]> {
        let revision = self.compiled.revision();
        provenances
            .iter()
            .map(|provenance| policy_ref(provenance, revision))
            .collect()
    }
}

impl Live {
    /// Starts with `compiled`.
    pub fn new(compiled: Arc<Compiled>) -> Self {
        let (changes, _) = watch::channel(compiled.revision());
        Self {
            state: ArcSwap::from_pointee(State::new(compiled)),
            changes,
            identities: None,
        }
    }

    /// Starts without policies, where the policies that follow may give addresses other identities.
    pub fn of(identities: Identities) -> Self {
        Self {
            identities: Some(identities),
            ..Self::new(Arc::new(Compiled::empty()))
        }
    }

    /// Who an address is at this moment, where that may change.
    pub(super) fn identity_of(&self, address: SocketAddr) -> Option<IdentityNumber> {
        let identities = self.identities.as_ref()?;
        Some(identities.party(address).identity)
    }

    /// The policy of this moment.
    pub fn load(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Runs `read` on the policy of this moment, without touching its reference count.
    pub(super) fn with<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.load())
    }

    /// Replaces the policy. Requests judged from now on follow the new one.
    pub fn store(&self, compiled: Arc<Compiled>) {
        let revision = compiled.revision();
        let next = self.state.load().followed_by(compiled);
        self.state.store(Arc::new(next));
        self.changes.send_replace(revision);
    }

    /// Whether any endpoint has a policy that is only audited.
    pub fn audits(&self) -> bool {
        self.with(|state| state.audits)
    }

    /// Whether a policy speaks of a DNS name: in lower case, with its last dot.
    pub fn is_about_name(&self, name: &str) -> bool {
        self.with(|state| state.compiled.name_selectors().is_about(name.as_bytes()))
    }

    /// Tells of each change, with the revision.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Which door a new connection of an IP protocol takes.
    pub fn door(self: &Arc<Self>, source: &Party, destination: &Party, protocol: u8) -> Door {
        match Judge::for_connection(self, source, destination, protocol) {
            Some(judge) => Door::Enforce(judge),
            None => Door::Watch,
        }
    }

    /// The door of a connection that another process has judged: it is judged on, whatever there still is
    /// to be judged.
    pub fn judging_door(
        self: &Arc<Self>,
        source: &Party,
        destination: &Party,
        protocol: u8,
    ) -> Door {
        Door::Enforce(Judge::new(self, source, destination, protocol))
    }
}

fn audits(compiled: &Compiled) -> bool {
    let mut endpoints = compiled.endpoints().iter();
    endpoints.any(|endpoint| endpoint.audited.is_some())
}

fn references(compiled: &Compiled) -> AHashMap<RuleId, Arc<[PolicyRef]>> {
    let revision = compiled.revision();
    let rules = compiled.rules();
    rules
        .map(|(id, provenance)| (id, Arc::from(vec![policy_ref(provenance, revision)])))
        .collect()
}

fn policy_ref(provenance: &Provenance, revision: u64) -> PolicyRef {
    PolicyRef {
        kind: match provenance.kind {
            policy_l7::PolicyKind::CiliumNetworkPolicy => PolicyKind::CiliumNetworkPolicy,
            policy_l7::PolicyKind::CiliumClusterwideNetworkPolicy => {
                PolicyKind::CiliumClusterwideNetworkPolicy
            }
            policy_l7::PolicyKind::NetworkPolicy => PolicyKind::NetworkPolicy,
        },
        namespace: provenance.namespace.clone(),
        name: provenance.name.clone(),
        labels: provenance.labels.clone(),
        log: provenance.log.clone(),
        revision,
        rule: provenance.rule.clone(),
    }
}
