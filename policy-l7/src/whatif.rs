//! What policies ask for that a recorded flow may not tell.

use std::collections::BTreeSet;

use crate::rule::{L7, Policy, PortRange};

/// What a policy set asks for that a recorded flow may not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Names of header fields, in lower case.
    pub headers: BTreeSet<String>,
    /// Names of ports.
    pub ports: BTreeSet<String>,
    /// Whether rules are about addresses.
    pub addresses: bool,
}

impl Needs {
    /// Of these policies.
    pub fn of(policies: &[Policy]) -> Self {
        let mut needs = Self::default();
        let specs = policies.iter().flat_map(|policy| &policy.specs);
        for rule in specs.flat_map(|spec| &spec.rules) {
            needs.addresses |= rule.peers.prefixes().next().is_some();
            for ports in &rule.ports {
                if let PortRange::Named(name) = &ports.range {
                    needs.ports.insert(name.clone());
                }
            }
            if let L7::Http(rules) = &rule.l7 {
                let headers = rules.iter().flat_map(|rule| &rule.headers);
                needs
                    .headers
                    .extend(headers.map(|header| header.name.to_ascii_lowercase()));
            }
        }
        needs
    }
}
