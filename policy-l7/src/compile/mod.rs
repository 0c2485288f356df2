//! Policies × identities × endpoints → entries of the kernel's map, and judges.
//!
//! A [`Compiler`] holds what is known and is told what changes: each change costs what depends on it.
//! What a pod's coming touches is the lists of identities that selectors mean, kept once per distinct
//! list of peers; the policies of endpoints refer to these lists and stay as they are. Endpoints for
//! which the same policies hold share one [`PolicySet`].

mod compiled;
mod compiler;
mod endpoint;
mod entries;
mod http_lists;
mod outside;
mod peers;
mod prefixes;
mod rulebook;
mod set;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::fqdn::Named;
use crate::identity::Identity;
use crate::labels::Labels;
use crate::resolve::Surroundings;
use crate::rule::Policy;

pub use compiled::{Compiled, EndpointPolicy};
pub use compiler::Compiler;
pub(crate) use entries::match_type;
pub use entries::{Action, Entry, Key};
pub(crate) use prefixes::Prefix;
pub use rulebook::RuleId;
pub use set::{PolicySet, SideMode};
pub(crate) use set::{Scope, ScopeL7};

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

/// What a port is called by pods of an identity, here or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName {
    /// Identity of the pods.
    pub identity: u32,
    /// In lower case.
    pub name: String,
    /// Port.
    pub port: u16,
}

/// For which endpoints policy is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enforcement {
    /// For all, whether or not a policy selects them: what nothing allows is denied.
    Always,
    /// For those that a policy selects.
    #[default]
    Default,
    /// For none.
    Never,
}

/// Whose policies only tell what they would deny, beside those that say so themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditScope {
    /// Those of every endpoint of this node.
    pub node: bool,
    /// Those of the endpoints of these namespaces.
    pub namespaces: BTreeSet<String>,
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
    /// What ports are called by pods of other nodes; those of endpoints are known already.
    pub port_names: &'a [PortName],
    /// What is known of addresses by their DNS names.
    pub named: &'a BTreeSet<Named>,
    /// What policies refer to by name.
    pub surroundings: Surroundings<'a>,
    /// For which endpoints policy is enforced.
    pub enforcement: Enforcement,
    /// Whose policies only tell.
    pub audit: &'a AuditScope,
    /// Number of this version of the policy set.
    pub revision: u64,
}

impl Default for Inputs<'_> {
    fn default() -> Self {
        static NOBODY: AuditScope = AuditScope {
            node: false,
            namespaces: BTreeSet::new(),
        };
        static NO_NAMES: BTreeSet<Named> = BTreeSet::new();
        Self {
            policies: &[],
            identities: &[],
            endpoints: &[],
            port_names: &[],
            named: &NO_NAMES,
            surroundings: Surroundings::default(),
            enforcement: Enforcement::default(),
            audit: &NOBODY,
            revision: 0,
        }
    }
}

/// Compiles a policy set at once. The result depends on the inputs alone: same inputs, same entries,
/// in the same order.
pub fn compile(inputs: &Inputs<'_>) -> Compiled {
    let mut compiler = Compiler::new();
    compiler.set_identities(inputs.identities);
    compiler.set_endpoints(inputs.endpoints);
    compiler.set_port_names(inputs.port_names.iter().cloned());
    compiler.set_enforcement(inputs.enforcement, inputs.audit.clone());
    compiler.set_surroundings(inputs.surroundings);
    compiler.set_policies(inputs.policies.iter().cloned().map(Arc::new));
    compiler.set_named(inputs.named.clone());
    compiler.commit().with_revision(inputs.revision)
}
