//! However it came to be, a policy set is what it would be if it had been compiled at once; and what
//! is told of the changes is enough to bring a kernel's map up to date.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy_l7::{
    Action, AuditScope, CidrGroup, Compiled, Compiler, Endpoint, EndpointPolicy, Enforcement,
    Entry, Identity, Inputs, Key, Labels, Policy, PolicySet, Service, SideMode, Surroundings,
    compile, identity, read_objects,
};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

const POLICIES: [&str; 11] = [
    "endpointSelector: {matchLabels: {app: a0}}, ingress: [{fromEndpoints: [{matchLabels: {app: a1}}], toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{method: GET}]}}]}]",
    "endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]",
    "endpointSelector: {matchLabels: {tier: front}}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}, {toEndpoints: [{matchExpressions: [{key: app, operator: NotIn, values: [a2]}]}], toPorts: [{ports: [{port: web, protocol: TCP}]}]}]",
    "endpointSelector: {matchLabels: {app: a1}}, egressDeny: [{toCIDR: [10.1.2.0/24]}], egress: [{toEntities: [all]}]",
    "endpointSelector: {matchLabels: {app: a1}}, egress: [{toEntities: [world, cluster], toPorts: [{ports: [{port: '1', endPort: 99}]}]}]",
    "endpointSelector: {matchLabels: {app: a2}}, ingress: [{fromEntities: [host], toPorts: [{ports: [{port: web, protocol: TCP}]}]}]",
    "endpointSelector: {matchLabels: {app: a2}}, enableDefaultDeny: {egress: false}, egress: [{toCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: '53'}], rules: {dns: [{matchPattern: '*'}]}}]}]",
    "endpointSelector: {matchLabels: {app: a0}}, egress: [{toFQDNs: [{matchName: a.io}, {matchPattern: '*.b.io'}]}]",
    "endpointSelector: {matchLabels: {app: a2}}, egress: [{toCIDRSet: [{cidrGroupRef: group, except: [10.1.0.0/16]}]}]",
    "endpointSelector: {matchLabels: {app: a0}}, egress: [{toServices: [{k8sService: {serviceName: web, namespace: n}}]}]",
    "endpointSelector: {matchLabels: {app: a0}}, ingress: [{fromEndpoints: [{matchLabels: {app: a1}}], toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{path: /a}]}}]}]",
];

fn policy(number: usize) -> Arc<Policy> {
    let spec = POLICIES[number];
    let text = format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p{number}, namespace: n}}\nspec: {{{spec}}}\n"
    );
    let objects = read_objects("p", &text).expect("a policy");
    Arc::new(objects.policies.into_iter().next().expect("one"))
}

fn labels(app: u8, tier: Option<&str>) -> Labels {
    let tier = tier.map(|tier| format!("tier={tier}"));
    [
        format!("app=a{app}"),
        "io.kubernetes.pod.namespace=n".to_owned(),
    ]
    .into_iter()
    .chain(tier)
    .map(|label| label.parse().expect("a label"))
    .collect()
}

/// What there is at a moment.
#[derive(Debug, Clone, Default)]
struct World {
    policies: BTreeSet<usize>,
    /// Identities by number, with their labels' numbers.
    identities: BTreeMap<u32, (u8, bool)>,
    /// Endpoints by number, with their identity and their port called web.
    endpoints: BTreeMap<u16, (u32, u16)>,
    enforcement: Enforcement,
    audits_namespace: bool,
    names: Vec<&'static str>,
    /// What the CIDR group has, and whether the service selects pods.
    group: Vec<&'static str>,
    has_service: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Surroundings(Vec<&'static str>, bool),
    Policies(Vec<usize>),
    Identity(u32, Option<(u8, bool)>),
    Endpoint(u16, Option<(Index, u16)>),
    Enforcement(u8, bool),
    Names(Vec<&'static str>),
}

fn change() -> impl Strategy<Value = Change> {
    let app = || (0..3_u8, any::<bool>());
    prop_oneof![
        3 => subsequence((0..POLICIES.len()).collect::<Vec<_>>(), 0..=POLICIES.len()).prop_map(Change::Policies),
        3 => (300..306_u32, proptest::option::of(app())).prop_map(|(n, of)| Change::Identity(n, of)),
        3 => (1..5_u16, proptest::option::of((any::<Index>(), 80..82_u16))).prop_map(|(n, of)| Change::Endpoint(n, of)),
        1 => (0..3_u8, any::<bool>()).prop_map(|(mode, audits)| Change::Enforcement(mode, audits)),
        1 => (subsequence(vec!["10.1.2.0/24", "10.2.0.0/16"], 0..=2), any::<bool>()).prop_map(|(group, has)| Change::Surroundings(group, has)),
        1 => subsequence(vec!["a.io.", "x.b.io.", "c.io."], 0..=3).prop_map(Change::Names),
    ]
}

impl World {
    fn change(&mut self, change: Change) {
        match change {
            Change::Policies(policies) => self.policies = policies.into_iter().collect(),
            Change::Identity(number, Some(of)) => {
                self.identities.insert(number, of);
            }
            Change::Identity(number, None) => {
                self.identities.remove(&number);
                self.endpoints
                    .retain(|_, (identity, _)| *identity != number);
            }
            Change::Endpoint(number, Some((index, port))) if !self.identities.is_empty() => {
                let all: Vec<u32> = self.identities.keys().copied().collect();
                self.endpoints.insert(number, (*index.get(&all), port));
            }
            Change::Endpoint(number, _) => {
                self.endpoints.remove(&number);
            }
            Change::Enforcement(mode, audits) => {
                self.enforcement = [
                    Enforcement::Default,
                    Enforcement::Always,
                    Enforcement::Never,
                ][usize::from(mode)];
                self.audits_namespace = audits;
            }
            Change::Names(names) => self.names = names,
            Change::Surroundings(group, has_service) => {
                self.group = group;
                self.has_service = has_service;
            }
        }
    }

    fn policies(&self) -> Vec<Arc<Policy>> {
        self.policies.iter().map(|number| policy(*number)).collect()
    }

    fn identities(&self) -> Vec<Identity> {
        let pods = self
            .identities
            .iter()
            .map(|(number, (app, is_front))| Identity {
                number: *number,
                labels: labels(*app, is_front.then_some("front")),
            });
        identity::reserved().into_iter().chain(pods).collect()
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoints = self.endpoints.iter();
        endpoints
            .map(|(id, (identity, port))| {
                let (app, is_front) = self.identities[identity];
                Endpoint {
                    id: *id,
                    identity: *identity,
                    labels: labels(app, is_front.then_some("front")),
                    named_ports: vec![("web".to_owned(), *port)],
                }
            })
            .collect()
    }

    fn surroundings(&self) -> (Vec<CidrGroup>, Vec<Service>) {
        let prefixes = self
            .group
            .iter()
            .map(|text| text.parse().expect("a prefix"));
        let group = CidrGroup {
            name: "group".to_owned(),
            labels: Labels::default(),
            prefixes: prefixes.collect(),
        };
        let service = Service {
            namespace: "n".to_owned(),
            name: "web".to_owned(),
            selector: [("app".to_owned(), "a1".to_owned())].into(),
            ..Service::default()
        };
        (
            vec![group],
            self.has_service.then_some(service).into_iter().collect(),
        )
    }

    fn audit(&self) -> AuditScope {
        AuditScope {
            node: false,
            namespaces: self
                .audits_namespace
                .then(|| "n".to_owned())
                .into_iter()
                .collect(),
        }
    }

    fn at_once(&self) -> Compiled {
        let policies: Vec<Policy> = self.policies().iter().map(|p| Policy::clone(p)).collect();
        let (identities, endpoints, audit) = (self.identities(), self.endpoints(), self.audit());
        let (cidr_groups, services) = self.surroundings();
        let inputs = Inputs {
            surroundings: Surroundings {
                cidr_groups: &cidr_groups,
                services: &services,
            },
            policies: &policies,
            identities: &identities,
            endpoints: &endpoints,
            enforcement: self.enforcement,
            audit: &audit,
            ..Inputs::default()
        };
        let named = self.named(&compile(&inputs));
        compile(&Inputs {
            named: &named,
            ..inputs
        })
    }

    fn named(&self, compiled: &Compiled) -> BTreeSet<policy_l7::Named> {
        let address = "10.1.0.9".parse().expect("an address");
        let names = self.names.iter();
        names
            .filter_map(|name| compiled.named(address, std::iter::once(name)))
            .collect()
    }

    fn tell(&self, compiler: &mut Compiler) -> Arc<Compiled> {
        compiler.set_policies(self.policies());
        let (cidr_groups, services) = self.surroundings();
        compiler.set_surroundings(Surroundings {
            cidr_groups: &cidr_groups,
            services: &services,
        });
        compiler.set_endpoints(&self.endpoints());
        compiler.set_identities(&self.identities());
        compiler.set_enforcement(self.enforcement, self.audit());
        let named = self.named(&compiler.commit());
        compiler.set_named(named);
        compiler.commit()
    }
}

/// What a set says, without the numbers that depend on how it came to be.
fn said(compiled: &Compiled, set: &PolicySet) -> Vec<(Key, Action, String, u8)> {
    let named = |entry: Entry| {
        let rule = compiled.rule(entry.rule).expect("a rule of its own");
        let by = format!("{} {}", rule.name, rule.rule);
        (entry.key, entry.action, by, entry.match_type)
    };
    let mut said: Vec<_> = compiled.entries(set).into_iter().map(named).collect();
    said.sort_by_key(|(key, ..)| *key);
    said
}

type Side = (SideMode, SideMode, Vec<(Key, Action, String, u8)>);

fn side(compiled: &Compiled, set: &PolicySet) -> Side {
    let mode = |direction| set.mode(direction);
    (
        mode(policy_l7::Direction::Ingress),
        mode(policy_l7::Direction::Egress),
        said(compiled, set),
    )
}

fn told(compiled: &Compiled) -> BTreeMap<u16, (Side, Option<Side>)> {
    let of = |policy: &EndpointPolicy| {
        let audited = policy.audited.as_ref().map(|set| side(compiled, set));
        (policy.id, (side(compiled, &policy.in_force), audited))
    };
    compiled.endpoints().iter().map(of).collect()
}

/// A map as a kernel has it: per set, per identity.
#[derive(Default)]
struct Kernel {
    version: u64,
    sets: BTreeMap<u32, BTreeMap<Key, Entry>>,
}

impl Kernel {
    fn follow(&mut self, compiled: &Compiled) {
        let touched = compiled.touched_since(self.version);
        let mut next = BTreeMap::new();
        for set in compiled.sets() {
            let known = self.sets.remove(&set.number());
            let entries = if let (Some(mut entries), Some(touched)) = (known, &touched) {
                for identity in touched {
                    entries.retain(|key, _| key.identity != *identity);
                    let now = compiled.entries_of(&set, *identity);
                    entries.extend(now.into_iter().map(|entry| (entry.key, entry)));
                }
                entries
            } else {
                let all = compiled.entries(&set).into_iter();
                all.map(|entry| (entry.key, entry)).collect()
            };
            next.insert(set.number(), entries);
        }
        self.sets = next;
        self.version = compiled.version();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn step_by_step_is_the_same_as_at_once(changes in proptest::collection::vec(change(), 1..20)) {
        let mut world = World::default();
        let mut compiler = Compiler::new();
        let mut kernel = Kernel::default();
        for change in changes {
            world.change(change);
            let compiled = world.tell(&mut compiler);
            prop_assert_eq!(told(&compiled), told(&world.at_once()), "{:?}", world);
            kernel.follow(&compiled);
            for set in compiled.sets() {
                let entries: Vec<Entry> = kernel.sets[&set.number()].values().copied().collect();
                let mut expected = compiled.entries(&set);
                expected.sort_by_key(|entry| entry.key);
                prop_assert_eq!(entries, expected);
            }
        }
    }
}

fn two_pods() -> World {
    World {
        policies: [0, 1].into(),
        identities: [(300, (0, false)), (301, (1, false))].into(),
        endpoints: [(1, (300, 80)), (2, (301, 80))].into(),
        ..World::default()
    }
}

#[test]
fn a_pod_that_comes_changes_no_set_and_no_rule() {
    let mut world = two_pods();
    let mut compiler = Compiler::new();
    let before = world.tell(&mut compiler);
    world.identities.insert(302, (1, true));
    let after = world.tell(&mut compiler);
    let numbers = |compiled: &Compiled| -> Vec<u32> {
        compiled.sets().iter().map(|set| set.number()).collect()
    };
    assert_eq!(numbers(&before), numbers(&after));
    assert!(before.has_same_rules(&after));
    let touched = after.touched_since(before.version());
    assert_eq!(touched, Some([302].into()));
    let set = &after.endpoint(1).expect("a policy").in_force;
    assert!(before.entries_of(set, 302).is_empty());
    assert_eq!(after.entries_of(set, 302).len(), 2, "of both policies");
}

#[test]
fn pods_alike_share_a_set_and_rules_keep_their_numbers() {
    let mut world = two_pods();
    world.endpoints.insert(3, (300, 80));
    let mut compiler = Compiler::new();
    let before = world.tell(&mut compiler);
    let number = |compiled: &Compiled, id| compiled.endpoint(id).expect("one").in_force.number();
    assert_eq!(number(&before, 1), number(&before, 3));
    assert_ne!(number(&before, 1), number(&before, 2));
    world.policies.insert(3);
    let after = world.tell(&mut compiler);
    assert_eq!(
        number(&before, 1),
        number(&after, 1),
        "the new policy is not for it"
    );
    assert_ne!(number(&before, 2), number(&after, 2));
    assert!(
        before
            .rules()
            .all(|(id, rule)| after.rule(id) == Some(rule))
    );
    world.policies.remove(&0);
    let without = world.tell(&mut compiler);
    let gone = |(_, rule): &(_, &policy_l7::Provenance)| rule.name == "p0";
    let (id, _) = after.rules().find(gone).expect("a rule of it");
    assert!(
        without.rule(id).is_some(),
        "records on their way may name it"
    );
    world.policies.insert(4);
    assert!(world.tell(&mut compiler).rule(id).is_none());
}
