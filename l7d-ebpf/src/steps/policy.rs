//! Endpoint, direction, peer, protocol and port → what the endpoint's policy says.

use aya_ebpf::maps::lpm_trie::Key;
use l7d_ebpf::maps::{
    ACTION_ALLOW, ACTION_DENY, ENDPOINT_EGRESS_DEFAULT_DENY, ENDPOINT_EGRESS_POLICY,
    ENDPOINT_INGRESS_DEFAULT_DENY, ENDPOINT_INGRESS_POLICY, POLICY_BITS_PORT, policy_key,
};
use l7d_ebpf::records::{DIRECTION_EGRESS, REASON_POLICY_DENIED, REASON_POLICY_DENY};

use crate::state::{ENDPOINTS, POLICY};

/// What is asked of an endpoint's policy.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    pub(crate) endpoint: u16,
    /// `DIRECTION_*`.
    pub(crate) direction: u8,
    pub(crate) protocol: u8,
    /// Port of the receiver, host byte order.
    pub(crate) port: u16,
    /// Of the other end.
    pub(crate) identity: u32,
    /// Generation of the policy, for the record.
    pub(crate) generation: u32,
}

/// What a policy says about a connection.
#[derive(Clone, Copy)]
pub(crate) struct Decision {
    /// `ACTION_*`.
    pub(crate) action: u8,
    /// Hubble's match type.
    pub(crate) match_type: u8,
    /// Why it was denied.
    pub(crate) reason: u8,
    /// `DIRECTION_*` of the policy.
    pub(crate) direction: u8,
    /// Whether the endpoint has any policy in this direction.
    pub(crate) has_policy: bool,
    /// Rule that decided, 0 where none did.
    pub(crate) rule: u32,
    /// Whose policy it is.
    pub(crate) endpoint: u32,
    /// Generation of that policy.
    pub(crate) generation: u32,
}

/// Looks up the endpoint's policy: two keys, deny over redirect over allow.
#[inline(always)]
pub(crate) fn decide(question: &Question) -> Decision {
    let mut decision = Decision {
        action: ACTION_ALLOW,
        match_type: 0,
        reason: 0,
        direction: question.direction,
        has_policy: false,
        rule: 0,
        endpoint: u32::from(question.endpoint),
        generation: question.generation,
    };
    // SAFETY: the value is read at once; user space replaces whole values.
    let Some(state) = (unsafe { ENDPOINTS.get(&decision.endpoint) }) else {
        return decision;
    };
    let (any, default_deny) = if question.direction == DIRECTION_EGRESS {
        (ENDPOINT_EGRESS_POLICY, ENDPOINT_EGRESS_DEFAULT_DENY)
    } else {
        (ENDPOINT_INGRESS_POLICY, ENDPOINT_INGRESS_DEFAULT_DENY)
    };
    if state.flags & (any | default_deny) == 0 {
        return decision;
    }
    decision.has_policy = true;
    if state.flags & default_deny != 0 {
        decision.action = ACTION_DENY;
        decision.reason = REASON_POLICY_DENIED;
    }
    let mut best = 0;
    for identity in [question.identity, 0] {
        let key = policy_key(
            question.endpoint,
            question.direction,
            identity,
            question.protocol,
            question.port,
        );
        let Some(entry) = POLICY.get(&Key::new(POLICY_BITS_PORT, key)) else {
            continue;
        };
        if entry.action > best {
            best = entry.action;
            decision.action = entry.action;
            decision.match_type = entry.match_type;
            decision.rule = entry.rule;
            decision.reason = if entry.action == ACTION_DENY {
                REASON_POLICY_DENY
            } else {
                0
            };
        }
    }
    decision
}
