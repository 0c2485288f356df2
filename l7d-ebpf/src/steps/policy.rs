//! Endpoint, direction, peer, protocol and port → what the endpoint's policy says.

use aya_ebpf::maps::lpm_trie::Key;
use l7d_ebpf::maps::{
    ACTION_ALLOW, ACTION_AUDIT, ACTION_DENY, ACTION_REDIRECT, ENDPOINT_AUDITED_SHIFT,
    ENDPOINT_EGRESS_CLOSED, ENDPOINT_EGRESS_DEFAULT_DENY, ENDPOINT_EGRESS_POLICY,
    ENDPOINT_INGRESS_CLOSED, ENDPOINT_INGRESS_DEFAULT_DENY, ENDPOINT_INGRESS_POLICY, Endpoint,
    POLICY_BITS_PORT, policy_key,
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
    /// Whatever denies it is overruled.
    pub(crate) is_exempt: bool,
    /// Who the other end is may not have found room.
    pub(crate) is_unknown: bool,
}

/// What a policy says about a connection.
#[derive(Clone, Copy)]
pub(crate) struct Decision {
    /// `ACTION_*`.
    pub(crate) action: u8,
    /// Hubble's match type.
    pub(crate) match_type: u8,
    /// Why it was denied, or would have been.
    pub(crate) reason: u8,
    /// `DIRECTION_*` of the policy.
    pub(crate) direction: u8,
    /// Whether the endpoint has any policy in this direction.
    pub(crate) has_policy: bool,
    /// It passes though the audited set would have denied it; rule, match type and reason are that
    /// set's.
    pub(crate) is_audited: bool,
    /// Rule that decided, 0 where none did.
    pub(crate) rule: u32,
    /// Whose policy it is.
    pub(crate) endpoint: u32,
    /// Generation of that policy.
    pub(crate) generation: u32,
}

/// Asks the endpoint's set in force, and where that lets it pass, the audited one.
#[inline(always)]
pub(crate) fn decide(question: &Question) -> Decision {
    let Some(state) = state_of(question.endpoint) else {
        return open(question);
    };
    let mut decision = ask(question, state.set, state.flags);
    if state.audited_set == 0 || decision.action == ACTION_DENY || question.is_unknown {
        return decision;
    }
    let audited = ask(
        question,
        state.audited_set,
        state.flags >> ENDPOINT_AUDITED_SHIFT,
    );
    if audited.action == ACTION_DENY {
        decision.match_type = audited.match_type;
        decision.reason = audited.reason;
        decision.rule = audited.rule;
        decision.has_policy = true;
        decision.is_audited = true;
    } else if audited.action == ACTION_REDIRECT && decision.action == ACTION_ALLOW {
        decision.action = ACTION_AUDIT;
    }
    decision
}

/// Whether an endpoint has any policy in force in this direction (`DIRECTION_*`).
#[inline(always)]
pub(crate) fn is_asked(endpoint: u16, direction: u8) -> bool {
    let (any, default_deny, closed) = bits(direction);
    state_of(endpoint).is_some_and(|state| state.flags & (any | default_deny | closed) != 0)
}

/// Bits of an endpoint's flags for a direction: it has entries, it denies by default, it is closed.
#[inline(always)]
fn bits(direction: u8) -> (u16, u16, u16) {
    if direction == DIRECTION_EGRESS {
        (
            ENDPOINT_EGRESS_POLICY,
            ENDPOINT_EGRESS_DEFAULT_DENY,
            ENDPOINT_EGRESS_CLOSED,
        )
    } else {
        (
            ENDPOINT_INGRESS_POLICY,
            ENDPOINT_INGRESS_DEFAULT_DENY,
            ENDPOINT_INGRESS_CLOSED,
        )
    }
}

/// The endpoint's state; `None` where it has no policy. The memory of an element that was replaced may
/// be another endpoint's already.
#[inline(always)]
fn state_of(endpoint: u16) -> Option<Endpoint> {
    let key = u32::from(endpoint);
    for _ in 0..2 {
        // SAFETY: elements are aligned to eight bytes and stay memory of the map; the eight bytes are
        // read at once.
        let value: u64 = unsafe {
            let state = ENDPOINTS.get(&key)?;
            core::ptr::read_volatile(core::ptr::from_ref(state).cast())
        };
        // SAFETY: eight bytes, all of integers.
        let state: Endpoint = unsafe { core::mem::transmute(value) };
        if state.endpoint == endpoint {
            return Some(state);
        }
    }
    Some(Endpoint {
        flags: ENDPOINT_INGRESS_CLOSED | ENDPOINT_EGRESS_CLOSED,
        endpoint,
        set: 0,
        audited_set: 0,
    })
}

#[inline(always)]
fn open(question: &Question) -> Decision {
    Decision {
        action: ACTION_ALLOW,
        match_type: 0,
        reason: 0,
        direction: question.direction,
        has_policy: false,
        is_audited: false,
        rule: 0,
        endpoint: u32::from(question.endpoint),
        generation: question.generation,
    }
}

/// Looks up one set: two keys, deny over redirect over allow.
#[inline(always)]
fn ask(question: &Question, set: u16, flags: u16) -> Decision {
    let mut decision = open(question);
    let (any, default_deny, closed) = bits(question.direction);
    if flags & (any | default_deny | closed) == 0 {
        return decision;
    }
    decision.has_policy = true;
    if flags & (default_deny | closed) != 0 || question.is_unknown {
        decision.action = ACTION_DENY;
        decision.reason = REASON_POLICY_DENIED;
    }
    if flags & closed == 0 && !question.is_unknown {
        look_up(question, set, &mut decision);
    }
    // The node's own processes reach its pods whatever the policy: probes depend on it.
    if decision.action == ACTION_DENY && question.is_exempt {
        decision.action = ACTION_ALLOW;
        decision.reason = 0;
    }
    decision
}

#[inline(always)]
fn look_up(question: &Question, set: u16, decision: &mut Decision) {
    let mut best = 0;
    for identity in [question.identity, 0] {
        let key = policy_key(
            set,
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
}
