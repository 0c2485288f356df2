//! Names: DNS rules, and peers that are known by their names.

use super::checks::{DNS_ALLOWS_NOTHING, FQDN_NOT_LEARNT};
use super::{About, Finding, element};
use crate::names::{DnsRule, NamePattern};
use crate::rule::{Direction, L7};
use crate::selector::Peers;

/// DNS rules that allow no name.
pub(super) fn check_rules(about: &About<'_>, findings: &mut Vec<Finding>) {
    for rule in &about.spec.rules {
        let L7::Dns(rules) = &rule.l7 else { continue };
        for rule in rules.iter().filter(|rule| rule.names.is_empty()) {
            let message = "allows no name; `matchPattern: \"*\"` allows them all".to_owned();
            findings.push(about.finding(DNS_ALLOWS_NOTHING, &rule.path_in_object, message));
        }
    }
}

/// Names whose addresses nobody can learn: the look-up must be judged, and allowed.
pub(super) fn check_learnt(all: &[About<'_>], findings: &mut Vec<Finding>) {
    for about in all {
        let mut rules: Option<Vec<&DnsRule>> = None;
        for rule in about.rules(Direction::Egress) {
            let Peers::Fqdns(names) = &rule.peers else {
                continue;
            };
            let rules = rules.get_or_insert_with(|| dns_rules(all, about));
            for name in names {
                let example = example(name);
                let is_allowed = |allowed: &NamePattern| {
                    allowed.source == name.source || allowed.matches(example.as_bytes())
                };
                if rules.iter().flat_map(|rule| &rule.names).any(is_allowed) {
                    continue;
                }
                let message = if rules.is_empty() {
                    format!(
                        "the addresses of `{}` are learnt from DNS rules, and no policy here has one for these endpoints",
                        name.source
                    )
                } else {
                    format!(
                        "no DNS rule for these endpoints allows to look `{}` up",
                        name.source
                    )
                };
                findings.push(Finding {
                    word: Some(name.source.clone()),
                    ..about.finding(
                        FQDN_NOT_LEARNT,
                        format!("{}.toFQDNs", element(&rule.path)),
                        message,
                    )
                });
            }
        }
    }
}

/// The DNS rules of all policies that can be about the same endpoints.
fn dns_rules<'a>(all: &[About<'a>], about: &About<'_>) -> Vec<&'a DnsRule> {
    let meeting = all
        .iter()
        .filter(|other| other.spec.subject.can_meet(&about.spec.subject));
    let rules = meeting.flat_map(|other| other.rules(Direction::Egress));
    rules
        .filter_map(|rule| match &rule.l7 {
            L7::Dns(rules) => Some(rules),
            _ => None,
        })
        .flatten()
        .collect()
}

/// A name that fits, in lower case with its last dot.
fn example(name: &NamePattern) -> String {
    let filled = name.source.replace("**", "a").replace('*', "a");
    format!("{filled}.")
}
