//! Rules that other rules make superfluous, ineffective or impossible.

use super::checks::{ALLOW_UNDER_DENY, DUPLICATE_RULE, L7_INEFFECTIVE, PROTOCOL_CONFLICT};
use super::{About, Finding};
use crate::rule::{Direction, L7, Rule};
use crate::selector::Peers;

/// One rule and where it stands.
type Placed<'a> = (&'a About<'a>, &'a Rule);

/// Compares every rule with every other that is about the same endpoints.
pub(super) fn check(all: &[About<'_>], findings: &mut Vec<Finding>) {
    for about in all {
        for rule in &about.spec.rules {
            if rule.is_deny {
                continue;
            }
            let wider = |fits: &dyn Fn(&Rule) -> bool| wider(all, (about, rule), fits);
            if let Some(deny) = wider(&|other| other.is_deny) {
                let message = format!("allows nothing: {} denies all of it", named(about, deny));
                findings.push(about.finding(ALLOW_UNDER_DENY, &rule.path, message));
                continue;
            }
            if is_judged(rule)
                && let Some(allow) = wider(&|other| !other.is_deny && !is_judged(other))
            {
                let message = format!(
                    "restricts nothing: {} allows the same connections whatever is asked on them",
                    named(about, allow)
                );
                findings.push(about.finding(L7_INEFFECTIVE, &rule.path, message));
            }
        }
        duplicates(about, findings);
    }
}

/// Whether there are requests that the rule does not allow.
fn is_judged(rule: &Rule) -> bool {
    match &rule.l7 {
        L7::Nothing => false,
        L7::Http(rules) => !rules.iter().any(|rule| {
            rule.headers.is_empty()
                && rule.method.is_none()
                && rule.path.is_none()
                && rule.host.is_none()
        }),
        L7::Dns(rules) => !rules
            .iter()
            .flat_map(|rule| &rule.names)
            .any(|name| matches!(name.source.as_str(), "*" | "**")),
        L7::Tls(names) => !names.iter().any(|name| name.name.source == "*"),
    }
}

/// A rule that is about all connections that `narrow` is about, for all of its endpoints.
fn wider<'a>(
    all: &'a [About<'a>],
    (about, narrow): (&About<'_>, &Rule),
    fits: &dyn Fn(&Rule) -> bool,
) -> Option<Placed<'a>> {
    let of_same = all
        .iter()
        .filter(|other| other.spec.subject.covers(&about.spec.subject))
        // One of two that have one name is not there in the end.
        .filter(|other| {
            std::ptr::eq(other.policy, about.policy)
                || other.policy.provenance() != about.policy.provenance()
        });
    let mut rules =
        of_same.flat_map(|other| other.spec.rules.iter().map(move |rule| (other, rule)));
    rules.find(|(_, rule)| !std::ptr::eq(*rule, narrow) && fits(rule) && rule.covers(narrow))
}

fn named(about: &About<'_>, (of, rule): Placed<'_>) -> String {
    if std::ptr::eq(about.policy, of.policy) {
        rule.path.clone()
    } else {
        format!("{} of {}", rule.path, of.name())
    }
}

fn duplicates(about: &About<'_>, findings: &mut Vec<Finding>) {
    for (position, rule) in about.spec.rules.iter().enumerate() {
        let mut earlier = about.spec.rules.iter().take(position);
        let is_same = |other: &&Rule| {
            other.is_deny == rule.is_deny
                && matches!((&other.l7, &rule.l7), (L7::Nothing, L7::Nothing))
                && other.covers(rule)
        };
        if let Some(other) = earlier.find(is_same) {
            let message = format!("says nothing that {} does not say", other.path);
            findings.push(about.finding(DUPLICATE_RULE, &rule.path, message));
        }
    }
}

/// Ports of which the requests would be judged in two protocols.
pub(super) fn check_names(all: &[About<'_>], findings: &mut Vec<Finding>) {
    let judged: Vec<Placed<'_>> = all
        .iter()
        .flat_map(|about| about.spec.rules.iter().map(move |rule| (about, rule)))
        .filter(|(_, rule)| rule.direction == Direction::Egress)
        .filter(|(_, rule)| !matches!(rule.l7, L7::Nothing))
        .collect();
    for (position, (about, rule)) in judged.iter().enumerate() {
        let clash = judged.iter().take(position).find(|(other, earlier)| {
            let meets = earlier
                .ports
                .iter()
                .any(|left| rule.ports.iter().any(|right| left.meets(right)));
            let differs = std::mem::discriminant(&earlier.l7) != std::mem::discriminant(&rule.l7);
            differs
                && meets
                && about.spec.subject.can_meet(&other.spec.subject)
                && may_meet(&earlier.peers, &rule.peers)
        });
        if let Some(other) = clash {
            let message = format!(
                "{} judges what is said on this port in another protocol: a port can have one",
                named(about, *other)
            );
            findings.push(about.finding(
                PROTOCOL_CONFLICT,
                format!("{}.rules", rule.path),
                message,
            ));
        }
    }
}

fn may_meet(left: &Peers, right: &Peers) -> bool {
    match (left, right) {
        (Peers::Endpoints(left), Peers::Endpoints(right)) => left
            .iter()
            .any(|left| right.iter().any(|right| left.can_meet(right))),
        _ => left.covers(right) || right.covers(left),
    }
}
