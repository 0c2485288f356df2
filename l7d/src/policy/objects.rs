//! Policies of a cluster, object by object, so that a bad change never replaces a good policy.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use policy_l7::{CidrGroup, Identity, Policy};

use crate::host::Page;
use crate::host::cluster::{Kind, Name, Object, Outcome, Outcomes, PolicyObject, Update};

/// Kinds of objects that are policies, or that policies refer to.
const KINDS: [Kind; 4] = [
    Kind::NetworkPolicy,
    Kind::CiliumNetworkPolicy,
    Kind::CiliumClusterwideNetworkPolicy,
    Kind::CiliumCidrGroup,
];

/// Which object.
type Key = (Kind, Name);

/// Policies as a cluster told them last.
#[derive(Debug, Default)]
pub struct PolicyObjects {
    held: BTreeMap<Key, Held>,
    /// Objects that lists under way have not named yet.
    unnamed: BTreeMap<Kind, BTreeSet<Name>>,
}

#[derive(Debug)]
struct Held {
    told: PolicyObject,
    policies: Vec<Arc<Policy>>,
    cidr_groups: Vec<CidrGroup>,
    /// What is wrong with what was told last; what is held is of an earlier version, if any was good.
    faults: Vec<String>,
    /// That earlier version.
    good: Option<PolicyObject>,
}

impl Held {
    fn in_force(&self) -> (Vec<Arc<Policy>>, Vec<CidrGroup>, Vec<String>) {
        (
            self.policies.clone(),
            self.cidr_groups.clone(),
            self.faults.clone(),
        )
    }
}

impl PolicyObjects {
    /// Whether an update is about such an object.
    pub fn concerns(update: &Update) -> bool {
        let kind = match update {
            Update::ListBegins(kind) | Update::ListEnds(kind) | Update::Deleted(kind, _) => *kind,
            Update::Applied(Object::Policy(_)) => return true,
            Update::Applied(_) => return false,
        };
        Self::has(kind)
    }

    /// Whether objects of a kind are such.
    pub fn has(kind: Kind) -> bool {
        KINDS.contains(&kind)
    }

    /// Takes over what a cluster tells; whether anything is different now.
    pub fn apply(&mut self, update: Update) -> bool {
        match update {
            Update::ListBegins(kind) => {
                let names = self.held.keys().filter(|(of, _)| *of == kind);
                let names = names.map(|(_, name)| name.clone()).collect();
                self.unnamed.insert(kind, names);
                false
            }
            Update::ListEnds(kind) => {
                let gone = self.unnamed.remove(&kind).unwrap_or_default();
                let is_any = !gone.is_empty();
                for name in gone {
                    self.held.remove(&(kind, name));
                }
                is_any
            }
            Update::Deleted(kind, name) => {
                self.name(kind, &name);
                self.held.remove(&(kind, name)).is_some()
            }
            Update::Applied(Object::Policy(told)) => {
                self.name(told.kind, &told.name);
                self.put(told)
            }
            Update::Applied(_) => false,
        }
    }

    fn name(&mut self, kind: Kind, name: &Name) {
        if let Some(unnamed) = self.unnamed.get_mut(&kind) {
            unnamed.remove(name);
        }
    }

    fn put(&mut self, told: PolicyObject) -> bool {
        let key = (told.kind, told.name.clone());
        let is_same = |former: &Held| former.told.json == told.json && former.told.uid == told.uid;
        if let Some(former) = self.held.get_mut(&key)
            && is_same(former)
        {
            former.told = told;
            return false;
        }
        let former = self.held.remove(&key);
        let in_force = former.as_ref().map(Held::in_force);
        let named = format!("{} {}", told.kind, told.name);
        let held = match policy_l7::read_objects(&named, &told.json) {
            Ok(objects) => Held {
                policies: objects.policies.into_iter().map(Arc::new).collect(),
                cidr_groups: objects.cidr_groups,
                faults: Vec::new(),
                good: None,
                told,
            },
            Err(faults) => {
                let faults = faults.iter().map(policy_l7::Error::without_place);
                let faults: Vec<String> = faults.collect();
                tracing::error!("{named}: refused: {}", faults.join("; "));
                // Another object of the name is no later version of it.
                let former = former.filter(|former| former.told.uid == told.uid);
                let former = former.map(|former| {
                    let good = former
                        .good
                        .or_else(|| former.faults.is_empty().then_some(former.told));
                    (former.policies, former.cidr_groups, good)
                });
                let (policies, cidr_groups, good) = former.unwrap_or_default();
                Held {
                    told,
                    policies,
                    cidr_groups,
                    faults,
                    good,
                }
            }
        };
        // What is told again for the sake of something else is the same policy.
        let has_changed = in_force != Some(held.in_force());
        self.held.insert(key, held);
        has_changed
    }

    /// Policies in force, in the order of their kinds and names.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.held.values().flat_map(|held| &held.policies)
    }

    /// CIDR groups that policies may refer to.
    pub fn cidr_groups(&self) -> impl Iterator<Item = &CidrGroup> {
        self.held.values().flat_map(|held| &held.cidr_groups)
    }

    /// Objects of a kind as they were told, behind a name: where the last version is refused, the one that
    /// is in force comes before it.
    pub fn told(&self, kind: Kind, after: Option<&Name>, most: usize) -> Page {
        let from = match after {
            Some(name) => Bound::Excluded((kind, name.clone())),
            None => Bound::Included((kind, Name::new("", ""))),
        };
        let all = self.held.range((from, Bound::Unbounded));
        let all = all.take_while(|((of, _), _)| *of == kind);
        let mut page = Page::of(
            all.map(|((_, name), held)| (name.clone(), Object::Policy(held.told.clone()))),
            most,
        );
        let good = |object: Object| {
            let good = match &object {
                Object::Policy(told) => self.held.get(&(kind, told.name.clone())),
                _ => None,
            };
            let good = good.and_then(|held| held.good.clone());
            good.map(Object::Policy).into_iter().chain([object])
        };
        page.objects = page.objects.into_iter().flat_map(good).collect();
        page
    }

    /// What is refused, and why.
    pub fn refused(&self) -> impl Iterator<Item = String> {
        self.held.iter().flat_map(|((kind, name), held)| {
            let kept = if held.policies.is_empty() && held.cidr_groups.is_empty() {
                "it is not in force"
            } else {
                "its former version stays in force"
            };
            let faults = held.faults.iter();
            faults.map(move |fault| format!("{kind} {name}: {fault}; {kept}"))
        })
    }

    /// What became of each policy, where these are all identities.
    pub fn outcomes(&self, identities: &[Identity]) -> Outcomes {
        let policies = self.held.iter();
        let policies = policies.filter(|((kind, _), _)| *kind != Kind::CiliumCidrGroup);
        let outcome = |held: &Held| {
            if !held.faults.is_empty() {
                Outcome::Refused(held.faults.clone())
            } else if held.policies.iter().any(|one| one.selects_any(identities)) {
                Outcome::Accepted
            } else {
                Outcome::SelectsNothing
            }
        };
        policies
            .map(|(key, held)| {
                let told = &held.told;
                let about = (told.uid.clone(), told.generation, outcome(held));
                (key.clone(), about)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str, generation: i64, spec: &str) -> Update {
        Update::Applied(Object::Policy(PolicyObject {
            kind: Kind::CiliumNetworkPolicy,
            name: Name::new("shop", "web"),
            uid: uid.to_owned(),
            generation,
            json: format!(
                r#"{{"apiVersion":"cilium.io/v2","kind":"CiliumNetworkPolicy","metadata":{{"name":"web","namespace":"shop","uid":"{uid}","generation":{generation},"resourceVersion":"7","creationTimestamp":"2026-01-01T00:00:00Z"}},"spec":{spec}}}"#
            ),
        }))
    }

    const GOOD: &str =
        r#"{"endpointSelector":{"matchLabels":{"app":"web"}},"ingress":[{"fromEndpoints":[{}]}]}"#;
    const BAD: &str =
        r#"{"endpointSelector":{"matchLabels":{"app":"web"}},"ingress":[{"fromEndpoint":[{}]}]}"#;

    fn key() -> Key {
        (Kind::CiliumNetworkPolicy, Name::new("shop", "web"))
    }

    fn identity(labels: &[&str]) -> Identity {
        let labels = labels.iter();
        Identity {
            number: 300,
            labels: labels
                .map(|label| label.parse().expect("a label"))
                .collect(),
        }
    }

    #[test]
    fn a_bad_change_keeps_the_good_policy_and_says_why() {
        let mut objects = PolicyObjects::default();
        assert!(objects.apply(object("a", 1, GOOD)));
        assert!(!objects.apply(object("a", 1, GOOD)), "nothing is different");
        objects.apply(object("a", 2, BAD));
        assert_eq!(objects.policies().count(), 1);
        let (_, generation, outcome) = objects.outcomes(&[]).remove(&key()).expect("an outcome");
        assert_eq!(generation, 2);
        let Outcome::Refused(faults) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(faults[0].starts_with("spec.ingress[0]"), "{faults:?}");
        assert!(faults[0].contains("fromEndpoints"), "{faults:?}");
        let refused: Vec<String> = objects.refused().collect();
        assert!(refused[0].contains("former version stays"), "{refused:?}");
        // A new object of that name is another one.
        objects.apply(object("b", 1, BAD));
        assert_eq!(objects.policies().count(), 0);
    }

    #[test]
    fn what_is_kept_of_a_bad_change_is_the_good_policy_and_the_change() {
        let mut objects = PolicyObjects::default();
        for update in [
            object("a", 1, GOOD),
            object("a", 2, BAD),
            object("a", 3, BAD),
        ] {
            objects.apply(update);
        }
        let kind = Kind::CiliumNetworkPolicy;
        let page = objects.told(kind, None, 10);
        assert_eq!(page.objects.len(), 2);
        let mut again = PolicyObjects::default();
        for object in page.objects {
            again.apply(Update::Applied(object));
        }
        assert_eq!(again.policies().count(), 1);
        assert_eq!(again.outcomes(&[]), objects.outcomes(&[]));
        assert_eq!(again.told(kind, None, 10), objects.told(kind, None, 10));
        let name = Name::new("shop", "web");
        assert_eq!(objects.told(kind, Some(&name), 10), Page::default());
        assert_eq!(objects.told(Kind::NetworkPolicy, None, 10), Page::default());
    }

    #[test]
    fn what_selects_nobody_is_told() {
        let mut objects = PolicyObjects::default();
        objects.apply(object("a", 1, GOOD));
        let namespace = "io.kubernetes.pod.namespace=shop";
        for (labels, expected) in [
            ([namespace, "app=web"], Outcome::Accepted),
            ([namespace, "app=db"], Outcome::SelectsNothing),
        ] {
            let outcomes = objects.outcomes(&[identity(&labels)]);
            assert_eq!(outcomes[&key()].2, expected);
        }
    }

    #[test]
    fn what_a_list_does_not_name_is_gone_at_its_end() {
        let kind = Kind::CiliumNetworkPolicy;
        let mut objects = PolicyObjects::default();
        objects.apply(object("a", 1, GOOD));
        assert!(!objects.apply(Update::ListBegins(kind)));
        assert!(!objects.apply(object("a", 1, GOOD)));
        assert!(!objects.apply(Update::ListEnds(kind)));
        assert_eq!(objects.policies().count(), 1);
        objects.apply(Update::ListBegins(kind));
        assert_eq!(objects.policies().count(), 1);
        assert!(objects.apply(Update::ListEnds(kind)));
        assert_eq!(objects.policies().count(), 0);
    }
}
