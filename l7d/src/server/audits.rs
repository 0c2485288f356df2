//! What audited policies would have denied, as messages.

use std::cmp::Reverse;

use proto::agent::{AuditedPeer, AuditedRule};

use crate::flow::view::timestamp;
use crate::policy::{AuditedPolicy, Peer, RuleTally};

/// The message of an audited policy: rules and peers with most denials first.
pub fn audited_policy(audited: AuditedPolicy) -> proto::agent::AuditedPolicy {
    let would_deny = audited.tally.count();
    let last = audited.tally.last().map(timestamp);
    let rules = audited.tally.0.into_iter();
    let mut rules: Vec<AuditedRule> = rules.map(|(path, tally)| rule(path, tally)).collect();
    rules.sort_by_key(|rule| Reverse(rule.would_deny));
    proto::agent::AuditedPolicy {
        kind: audited.policy.kind,
        namespace: audited.policy.namespace,
        name: audited.policy.name,
        since: audited.since.map(timestamp),
        would_deny,
        last,
        rules,
    }
}

fn rule(path: String, tally: RuleTally) -> AuditedRule {
    let peers = tally.peers.into_iter();
    let mut peers: Vec<AuditedPeer> = peers
        .map(|(peer, would_deny)| {
            let Peer {
                source,
                destination,
                port,
            } = peer;
            AuditedPeer {
                source,
                destination,
                port: port.into(),
                would_deny,
            }
        })
        .collect();
    peers.sort_by_key(|peer| Reverse(peer.would_deny));
    AuditedRule {
        rule: path,
        would_deny: tally.count,
        last: Some(timestamp(tally.last)),
        peers,
        others: tally.others,
    }
}
