//! What policy says of a connection as a whole: the same as the kernel programs say, for captures.

use std::sync::Arc;

use policy_l7::{ConnectionVerdict, Direction as Side, Subject};

use super::live::{Live, State};
use crate::record::{Direction, DropReason, EndpointId, Party, PolicyRef, Verdict};

/// What policy says of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionJudged {
    /// From the view of the endpoint whose policy decided.
    pub direction: Direction,
    /// Forwarded, dropped, audit, or redirected to have its requests judged.
    pub verdict: Verdict,
    /// How the rule matched, by Hubble's numbers: 0 none, 1 L3-only, 2 L3-L4, 3 L4-only, 4 all.
    pub match_type: u8,
    /// Why it is dropped, if it is.
    pub reason: Option<DropReason>,
    /// The policies that decided.
    pub policies: Arc<[PolicyRef]>,
}

impl Live {
    /// Judges a connection by the policy of this moment; none where no policy is about its ends.
    pub fn judge_connection(
        &self,
        source: &Party,
        destination: &Party,
        protocol: u8,
    ) -> Option<ConnectionJudged> {
        self.with(|state| {
            let port = destination.addr.port();
            let egress = judged(state, Side::Egress, source, destination, protocol, port);
            let ingress = judged(state, Side::Ingress, destination, source, protocol, port);
            // Who denies decides, then who wants to look closer, then the receiver.
            let rank = |judged: &ConnectionJudged| match judged.verdict {
                Verdict::Dropped => 0,
                Verdict::Audit => 1,
                Verdict::Redirected => 2,
                _ => 3,
            };
            [ingress, egress].into_iter().flatten().min_by_key(rank)
        })
    }
}

fn judged(
    state: &State,
    side: Side,
    party: &Party,
    other: &Party,
    protocol: u8,
    port: u16,
) -> Option<ConnectionJudged> {
    let endpoint = party.endpoint.as_deref()?.id;
    if endpoint == EndpointId(0) {
        return None;
    }
    let compiled = &state.compiled;
    let subject = Subject {
        endpoint: endpoint.0,
        direction: side,
        remote: other.identity.0,
        protocol,
        port,
    };
    let policy = compiled.endpoint(endpoint.0)?;
    let in_force = compiled.judge_connection(endpoint.0, side, subject.remote, protocol, port);
    let audited = compiled.audit_connection(&subject);
    let (set, answer, is_audited) = match (&policy.audited, in_force, audited) {
        (_, ConnectionVerdict::Deny { .. }, _) => (&policy.in_force, in_force, false),
        (Some(set), _, Some(denied @ ConnectionVerdict::Deny { .. })) => (set, denied, true),
        _ => (&policy.in_force, in_force, false),
    };
    let (verdict, reason, policies) = match answer {
        ConnectionVerdict::Allow { rule: None } => return None,
        ConnectionVerdict::Allow { rule: Some(rule) } => {
            (Verdict::Forwarded, None, state.refs(rule))
        }
        ConnectionVerdict::Redirect { rule } => (Verdict::Redirected, None, state.refs(rule)),
        ConnectionVerdict::Deny { rule } if is_audited => {
            let defaults = || compiled.audited_defaults(endpoint.0, side);
            let refs = rule.map_or_else(|| state.refs_of(&defaults()), |rule| state.refs(rule));
            (Verdict::Audit, None, refs)
        }
        ConnectionVerdict::Deny { rule: Some(rule) } => {
            let reason = Some(DropReason::POLICY_DENY);
            (Verdict::Dropped, reason, state.refs(rule))
        }
        ConnectionVerdict::Deny { rule: None } => {
            let defaults = compiled.defaults(endpoint.0, side);
            let reason = Some(DropReason::POLICY_DENIED);
            (Verdict::Dropped, reason, state.refs_of(&defaults))
        }
    };
    let deciding = compiled.deciding(set, &subject);
    let direction = match side {
        Side::Egress => Direction::Egress,
        Side::Ingress => Direction::Ingress,
    };
    Some(ConnectionJudged {
        direction,
        verdict,
        match_type: deciding.map_or(0, |deciding| deciding.match_type),
        reason,
        policies,
    })
}
