//! What audited policies would have denied, counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use policy_l7::Policy;

use crate::clock::Timestamp;
use crate::record::{PolicyKind, Record, Verdict};

/// Pairs of ends kept of a rule; denials between others are counted together.
const PEERS_MAX: usize = 64;

/// Which object: kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyName {
    /// Kind of object, as Kubernetes spells it.
    pub kind: String,
    /// Namespace, empty for cluster-wide policies.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Between whom something would have been denied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Pod as `namespace/name`, or address.
    pub source: String,
    /// The same of who was asked.
    pub destination: String,
    /// Port of who was asked.
    pub port: u16,
}

/// What one rule would have denied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleTally {
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
    /// Between whom.
    pub peers: BTreeMap<Peer, u64>,
    /// How often between others.
    pub others: u64,
}

/// What one policy would have denied, by the paths of its rules; an empty path is its default deny.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(pub BTreeMap<String, RuleTally>);

/// A policy that is only audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedPolicy {
    /// Which.
    pub policy: PolicyName,
    /// Since when, as far as that is known.
    pub since: Option<Timestamp>,
    /// What it would have denied since.
    pub tally: Tally,
}

/// Counts what audited policies would have denied.
#[derive(Debug, Default)]
pub struct WouldDeny(Mutex<BTreeMap<PolicyName, Counted>>);

#[derive(Debug)]
struct Counted {
    /// As it was when counting began: a changed one starts anew.
    policy: Arc<Policy>,
    since: Timestamp,
    tally: Tally,
}

impl Tally {
    /// One more.
    pub fn note(&mut self, rule: &str, time: Timestamp, peer: Peer) {
        if !self.0.contains_key(rule) {
            self.0.insert(rule.to_owned(), RuleTally::default());
        }
        let Some(tally) = self.0.get_mut(rule) else {
            return;
        };
        tally.count += 1;
        tally.last = tally.last.max(time);
        if tally.peers.len() < PEERS_MAX || tally.peers.contains_key(&peer) {
            *tally.peers.entry(peer).or_default() += 1;
        } else {
            tally.others += 1;
        }
    }

    /// Denials by any rule.
    pub fn count(&self) -> u64 {
        self.0.values().map(|rule| rule.count).sum()
    }

    /// When anything would have been denied last.
    pub fn last(&self) -> Option<Timestamp> {
        self.0.values().map(|rule| rule.last).max()
    }
}

impl PolicyName {
    fn of(policy: &Policy) -> Self {
        let provenance = policy.provenance();
        let kind = match provenance.kind {
            policy_l7::PolicyKind::CiliumNetworkPolicy => PolicyKind::CiliumNetworkPolicy,
            policy_l7::PolicyKind::CiliumClusterwideNetworkPolicy => {
                PolicyKind::CiliumClusterwideNetworkPolicy
            }
            policy_l7::PolicyKind::NetworkPolicy => PolicyKind::NetworkPolicy,
        };
        Self {
            kind: kind.as_str().to_owned(),
            namespace: provenance.namespace.clone(),
            name: provenance.name.clone(),
        }
    }
}

impl WouldDeny {
    /// Replaces the policies that are audited; those that have stayed as they were go on counting.
    pub fn set_audited(&self, policies: impl Iterator<Item = Arc<Policy>>) {
        let mut counted = self.0.lock();
        let mut former = std::mem::take(&mut *counted);
        for policy in policies {
            let name = PolicyName::of(&policy);
            let fresh = || Counted {
                policy: Arc::clone(&policy),
                since: Timestamp::now(),
                tally: Tally::default(),
            };
            let same = former
                .remove(&name)
                .filter(|former| *former.policy == *policy);
            counted.insert(name, same.unwrap_or_else(fresh));
        }
    }

    /// Counts a record that says what would have been denied.
    pub fn note(&self, record: &Record) {
        if record.verdict != Verdict::Audit {
            return;
        }
        let mut counted = self.0.lock();
        for by in record.policies.iter() {
            let name = PolicyName {
                kind: by.kind.as_str().to_owned(),
                namespace: by.namespace.clone(),
                name: by.name.clone(),
            };
            // Where several close something by default, the others are in force already.
            if let Some(policy) = counted.get_mut(&name) {
                policy.tally.note(&by.rule, record.time, peer(record));
            }
        }
    }

    /// All policies that are audited, with what they would have denied.
    pub fn list(&self) -> Vec<AuditedPolicy> {
        let counted = self.0.lock();
        let each = counted.iter().map(|(name, counted)| AuditedPolicy {
            policy: name.clone(),
            since: Some(counted.since),
            tally: counted.tally.clone(),
        });
        each.collect()
    }

    /// How many policies are audited, and how much they would have denied.
    pub fn totals(&self) -> (usize, u64) {
        let counted = self.0.lock();
        let denials = counted.values().map(|counted| counted.tally.count()).sum();
        (counted.len(), denials)
    }
}

fn peer(record: &Record) -> Peer {
    let name = |party: &crate::record::Party| match party.namespace() {
        "" => party.addr.ip().to_string(),
        namespace => format!("{namespace}/{}", party.name()),
    };
    Peer {
        source: name(&record.source),
        destination: name(&record.destination),
        port: record.destination.addr.port(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Event, IdentityNumber, Party, PolicyRef};

    fn policies(rule: &str) -> Vec<Arc<Policy>> {
        let object = |name: &str, port: &str| {
            format!(
                "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
                 spec: {{endpointSelector: {{}}, ingress: [{{toPorts: [{{ports: [{{port: \"{port}\"}}]}}]}}]}}\n"
            )
        };
        let text = format!("{}---\n{}", object("web", "80"), object("other", rule));
        let read = policy_l7::read_objects("test", &text).expect("good");
        read.policies.into_iter().map(Arc::new).collect()
    }

    fn denial(name: &str) -> Record {
        let party = |port| Party::unnamed(([10, 0, 0, 1], port).into(), IdentityNumber::WORLD);
        let event = Event::PolicyVerdict {
            match_type: 0,
            reason: None,
        };
        let mut record = Record::new(Timestamp(7), party(1), party(80), event);
        record.verdict = Verdict::Audit;
        record.policies = Arc::from(vec![PolicyRef {
            kind: PolicyKind::CiliumNetworkPolicy,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: Vec::new(),
            log: None,
            revision: 1,
            rule: String::new(),
        }]);
        record
    }

    #[test]
    fn counts_survive_a_change_of_other_policies() {
        let counts = WouldDeny::default();
        counts.set_audited(policies("81").into_iter());
        counts.note(&denial("web"));
        counts.note(&denial("web"));
        counts.note(&denial("other"));
        counts.note(&denial("in-force"));
        let count = |name: &str| {
            let list = counts.list();
            let found = list.iter().find(|audited| audited.policy.name == name);
            found.map(|audited| audited.tally.count())
        };
        assert_eq!((count("web"), count("other")), (Some(2), Some(1)));
        counts.set_audited(policies("82").into_iter());
        assert_eq!((count("web"), count("other")), (Some(2), Some(0)));
        assert_eq!(counts.totals(), (2, 2));
        counts.set_audited(policies("82").into_iter().take(1));
        assert_eq!(count("other"), None);
    }

    #[test]
    fn what_was_forwarded_is_no_denial() {
        let counts = WouldDeny::default();
        counts.set_audited(policies("81").into_iter());
        let mut record = denial("web");
        record.verdict = Verdict::Forwarded;
        counts.note(&record);
        assert_eq!(counts.totals(), (2, 0));
    }

    #[test]
    fn denials_between_many_are_counted_together() {
        let mut tally = Tally::default();
        for port in 0..100 {
            let (source, destination) = ("a".to_owned(), "b".to_owned());
            tally.note(
                "",
                Timestamp(u64::from(port)),
                Peer {
                    source,
                    destination,
                    port,
                },
            );
        }
        let rule = &tally.0[""];
        assert_eq!((rule.count, rule.others, rule.peers.len()), (100, 36, 64));
        assert_eq!(tally.last(), Some(Timestamp(99)));
    }
}
