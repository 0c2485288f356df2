//! Policies against labels: what selects nothing, and what was perhaps meant.

use crate::error::nearest;
use crate::identity::Identity;
use crate::rule::{Policy, PolicyKind};
use crate::selector::{Operator, Peers, Selector};

/// Something that is probably a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `namespace/name` of the policy.
    pub policy: String,
    /// Path of the field.
    pub field: String,
    /// What is probably wrong.
    pub message: String,
}

/// Finds selectors that match nobody who is known.
pub fn lint(policies: &[Policy], identities: &[Identity]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for policy in policies {
        let provenance = policy.provenance();
        let name = format!("{}/{}", provenance.namespace, provenance.name);
        for spec in &policy.specs {
            let note = |field: &str, selector: &Selector| {
                idle(selector, identities).map(|message| Finding {
                    policy: name.clone(),
                    field: field.to_owned(),
                    message,
                })
            };
            let subject = match provenance.kind {
                PolicyKind::NetworkPolicy => "spec.podSelector",
                PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy => {
                    "spec.endpointSelector"
                }
            };
            findings.extend(note(subject, &spec.subject));
            for rule in &spec.rules {
                if let Peers::Endpoints(selectors) = &rule.peers {
                    findings.extend(selectors.iter().filter_map(|s| note(&rule.path, s)));
                }
            }
        }
    }
    findings.dedup();
    findings
}

fn idle(selector: &Selector, identities: &[Identity]) -> Option<String> {
    if identities
        .iter()
        .any(|identity| selector.matches(&identity.labels))
    {
        return None;
    }
    let hint = selector
        .0
        .iter()
        .find_map(|requirement| match &requirement.operator {
            Operator::In(values) => values.iter().find_map(|value| {
                let known: Vec<&str> = identities
                    .iter()
                    .flat_map(|identity| {
                        identity
                            .labels
                            .values(&requirement.source, &requirement.key)
                    })
                    .collect();
                if known.contains(&value.as_str()) {
                    return None;
                }
                let meant = nearest(value, known.iter().copied());
                let key = &requirement.key;
                Some(match meant {
                    Some(meant) => {
                        format!("nothing has `{key}: {value}` (did you mean `{meant}`?)")
                    }
                    None => format!("nothing has `{key}: {value}`"),
                })
            }),
            Operator::Absent | Operator::Exists | Operator::NotIn(_) => None,
        });
    Some(hint.unwrap_or_else(|| "selects nothing that is known".to_owned()))
}
