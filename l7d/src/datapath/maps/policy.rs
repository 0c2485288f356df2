//! The policy of endpoints, and how the kernel's map has it.

use l7d_ebpf::maps::{
    ACTION_ALLOW, ACTION_DENY, ACTION_REDIRECT, ENDPOINT_EGRESS_DEFAULT_DENY,
    ENDPOINT_EGRESS_POLICY, ENDPOINT_INGRESS_DEFAULT_DENY, ENDPOINT_INGRESS_POLICY,
    POLICY_BITS_IDENTITY, POLICY_BITS_PROTOCOL, policy_key,
};
use l7d_ebpf::records::{DIRECTION_EGRESS, DIRECTION_INGRESS};

use super::PolicyMapKey;

/// The policy of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyForEndpoint {
    /// Number of the endpoint.
    pub endpoint: u16,
    /// What no entry allows is dropped on the way in.
    pub ingress_default_deny: bool,
    /// What no entry allows is dropped on the way out.
    pub egress_default_deny: bool,
    /// Entries.
    pub entries: Vec<PolicyEntry>,
}

/// One entry of an endpoint's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyEntry {
    /// Towards or away from the endpoint.
    pub direction: PolicyDirection,
    /// Identity of the other end, 0 for any.
    pub identity: u32,
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Port of the receiver.
    pub port: u16,
    /// Leading bits of the port that count: 16 for exactly this one, 0 for any.
    pub port_bits: u8,
    /// What the entry says.
    pub action: PolicyAction,
    /// Hubble's match type.
    pub match_type: u8,
    /// Rule that made it.
    pub rule: u32,
}

/// Direction of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyDirection {
    /// Away from the endpoint.
    Egress,
    /// Towards the endpoint.
    Ingress,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyAction {
    /// Pass.
    Allow,
    /// Drop.
    Deny,
    /// Let the proxy judge.
    Redirect,
}

pub(super) fn policy_entry(endpoint: u16, entry: &PolicyEntry) -> (PolicyMapKey, (u8, u8, u32)) {
    let direction = match entry.direction {
        PolicyDirection::Egress => DIRECTION_EGRESS,
        PolicyDirection::Ingress => DIRECTION_INGRESS,
    };
    let action = match entry.action {
        PolicyAction::Allow => ACTION_ALLOW,
        PolicyAction::Deny => ACTION_DENY,
        PolicyAction::Redirect => ACTION_REDIRECT,
    };
    let bits = if entry.protocol == 0 {
        POLICY_BITS_IDENTITY
    } else {
        POLICY_BITS_PROTOCOL + u32::from(entry.port_bits.min(16))
    };
    let key = policy_key(
        endpoint,
        direction,
        entry.identity,
        entry.protocol,
        entry.port,
    );
    let bits = u8::try_from(bits).unwrap_or(u8::MAX);
    ((bits, key), (action, entry.match_type, entry.rule))
}

pub(super) fn endpoint_flags(endpoint: &PolicyForEndpoint) -> u32 {
    let has = |direction| {
        endpoint
            .entries
            .iter()
            .any(|entry| entry.direction == direction)
    };
    let mut flags = 0;
    if endpoint.ingress_default_deny {
        flags |= ENDPOINT_INGRESS_DEFAULT_DENY;
    }
    if endpoint.egress_default_deny {
        flags |= ENDPOINT_EGRESS_DEFAULT_DENY;
    }
    if has(PolicyDirection::Ingress) {
        flags |= ENDPOINT_INGRESS_POLICY;
    }
    if has(PolicyDirection::Egress) {
        flags |= ENDPOINT_EGRESS_POLICY;
    }
    flags
}
