//! Policies of Kubernetes, and the verdicts that its documentation promises.
#![expect(
    clippy::expect_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::collections::BTreeSet;

use policy_l7::{
    Compiled, ConnectionVerdict, Direction, Endpoint, Identity, Inputs, Labels, compile, identity,
    read_objects,
};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Name, namespace and the namespace's team.
const PODS: [(&str, &str, &str); 4] = [
    ("web", "shop", "sales"),
    ("api", "shop", "sales"),
    ("web", "ops", "ops"),
    ("db", "ops", "ops"),
];

fn labels(app: &str, namespace: &str, team: &str) -> Labels {
    [
        format!("app={app}"),
        format!("io.kubernetes.pod.namespace={namespace}"),
        format!("io.cilium.k8s.namespace.labels.team={team}"),
    ]
    .iter()
    .map(|label| label.parse().expect("a label"))
    .collect()
}

fn number(app: &str, namespace: &str) -> u32 {
    let position = PODS
        .iter()
        .position(|pod| (pod.0, pod.1) == (app, namespace));
    300 + u32::try_from(position.expect("a pod")).expect("small")
}

fn compiled(spec: &str) -> Compiled {
    let spec = spec.replace('\n', "\n  ");
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{ name: np, namespace: shop }}\nspec:\n  {spec}\n"
    );
    let policies = read_objects("np.yaml", &text).expect("a policy").policies;
    let of_pods = PODS.iter().map(|(app, namespace, team)| Identity {
        number: number(app, namespace),
        labels: labels(app, namespace, team),
    });
    let identities: Vec<Identity> = identity::reserved().into_iter().chain(of_pods).collect();
    let endpoints: Vec<Endpoint> = PODS
        .iter()
        .map(|(app, namespace, team)| Endpoint {
            id: u16::try_from(number(app, namespace)).expect("small"),
            identity: number(app, namespace),
            labels: labels(app, namespace, team),
            named_ports: vec![("http".to_owned(), 8080)],
        })
        .collect();
    compile(&Inputs {
        policies: &policies,
        identities: &identities,
        endpoints: &endpoints,
        named: &BTreeSet::new(),
        revision: 1,
        ..Inputs::default()
    })
}

/// Whether `peer` reaches the api pod, or is reached by it.
fn passes(policy: &Compiled, direction: Direction, peer: u32, protocol: u8, port: u16) -> bool {
    let api = u16::try_from(number("api", "shop")).expect("small");
    let verdict = policy.judge_connection(api, direction, peer, protocol, port);
    matches!(verdict, ConnectionVerdict::Allow { .. })
}

fn enters(policy: &Compiled, peer: u32, port: u16) -> bool {
    passes(policy, Direction::Ingress, peer, TCP, port)
}

fn leaves(policy: &Compiled, peer: u32, port: u16) -> bool {
    passes(policy, Direction::Egress, peer, TCP, port)
}

#[test]
fn a_policy_closes_what_it_is_about_and_nothing_else() {
    for (spec, ingress, egress) in [
        ("podSelector: {}", false, true),
        ("podSelector: {}\npolicyTypes: [Ingress]", false, true),
        ("podSelector: {}\npolicyTypes: [Egress]", true, false),
        (
            "podSelector: {}\npolicyTypes: [Ingress, Egress]",
            false,
            false,
        ),
        ("podSelector: {}\negress: []", false, true),
        ("podSelector: {}\ningress: []", false, true),
        ("podSelector: {}\ningress: [ {} ]", true, true),
        ("podSelector: {}\negress: [ {} ]", false, true),
        ("podSelector: { matchLabels: { app: web } }", true, true),
        // A direction that is not listed is not limited.
        (
            "podSelector: {}\npolicyTypes: [Ingress]\negress: [ { ports: [ { port: 1 } ] } ]",
            false,
            true,
        ),
    ] {
        let policy = compiled(spec);
        assert_eq!(enters(&policy, identity::WORLD, 80), ingress, "{spec}");
        assert_eq!(leaves(&policy, identity::WORLD, 80), egress, "{spec}");
    }
}

#[test]
fn peers_are_chosen_by_pod_namespace_both_or_either() {
    let web = number("web", "shop");
    let other_web = number("web", "ops");
    let db = number("db", "ops");
    let pods = "podSelector: { matchLabels: { app: web } }";
    let teams = "namespaceSelector: { matchLabels: { team: ops } }";
    for (from, expected) in [
        (format!("{{ {pods} }}"), [true, false, false, false]),
        (format!("{{ {teams} }}"), [false, true, true, false]),
        (
            format!("{{ {pods}, {teams} }}"),
            [false, true, false, false],
        ),
        (
            format!("{{ {pods} }}, {{ {teams} }}"),
            [true, true, true, false],
        ),
        (
            "{ namespaceSelector: {} }".to_owned(),
            [true, true, true, false],
        ),
        (
            "{ podSelector: {} }".to_owned(),
            [true, false, false, false],
        ),
    ] {
        let policy = compiled(&format!(
            "podSelector: {{}}\ningress: [ {{ from: [ {from} ] }} ]"
        ));
        let peers = [web, other_web, db, identity::WORLD];
        let found = peers.map(|peer| enters(&policy, peer, 80));
        assert_eq!(found, expected, "{from}");
    }
}

#[test]
fn address_blocks_leave_their_exceptions_out() {
    let policy = compiled(
        "podSelector: {}\negress:\n- to: [ { ipBlock: { cidr: 10.0.0.0/8, except: [ 10.1.0.0/16 ] } } ]",
    );
    let of = |prefix: &str| {
        let prefix = prefix.parse().expect("a prefix");
        let found = policy.prefixes().iter().find(|(known, _)| *known == prefix);
        found.map(|(_, identity)| identity.number).expect("known")
    };
    assert!(leaves(&policy, of("10.0.0.0/8"), 443));
    assert!(!leaves(&policy, of("10.1.0.0/16"), 443));
    assert!(!leaves(&policy, identity::WORLD, 443));
    assert!(
        !leaves(&policy, number("web", "shop"), 443),
        "pods are not addresses"
    );
}

#[test]
fn ports_are_numbers_names_ranges_or_all_of_a_protocol() {
    for (ports, open, closed) in [
        ("{ port: 80 }", (TCP, 80), (UDP, 80)),
        ("{ port: 80 }", (TCP, 80), (TCP, 81)),
        ("{ port: http }", (TCP, 8080), (TCP, 80)),
        ("{ port: 53, protocol: UDP }", (UDP, 53), (TCP, 53)),
        ("{ port: 100, endPort: 200 }", (TCP, 150), (TCP, 201)),
        ("{ protocol: UDP }", (UDP, 9), (TCP, 9)),
    ] {
        let policy = compiled(&format!(
            "podSelector: {{}}\ningress: [ {{ ports: [ {ports} ] }} ]"
        ));
        let enters =
            |(protocol, port)| passes(&policy, Direction::Ingress, identity::WORLD, protocol, port);
        assert!(enters(open) && !enters(closed), "{ports}");
    }
}

#[test]
fn its_own_namespace_is_all_that_it_selects() {
    let policy = compiled("podSelector: { matchLabels: { app: web } }");
    let own = u16::try_from(number("web", "shop")).expect("small");
    let other = u16::try_from(number("web", "ops")).expect("small");
    assert!(policy.endpoint(own).is_some());
    assert!(policy.endpoint(other).is_none());
    let provenance = policy.defaults(own, Direction::Ingress);
    let labels = &provenance.first().expect("a policy").labels;
    assert!(labels.contains(&"k8s:io.cilium.k8s.policy.derived-from=NetworkPolicy".to_owned()));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let base =
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: a }\nspec:\n";
    for (spec, expected) in [
        (
            "  podSelector: {}\n  ingres: []\n",
            "np.yaml:6:3: spec.ingres: unknown field (did you mean `ingress`?)",
        ),
        (
            "  podSelector: {}\n  ingress: [ { from: [ { } ] } ]\n",
            "np.yaml:6:24: spec.ingress[0].from[0]: a peer is either an `ipBlock`, or a `podSelector`, a `namespaceSelector` or both of these",
        ),
        (
            "  podSelector: {}\n  ingress: [ { ports: [ { port: 80, protocol: ICMP } ] } ]\n",
            "np.yaml:6:47: spec.ingress[0].ports[0].protocol: `ICMP` is not one of TCP, UDP, SCTP (did you mean `SCTP`?)",
        ),
        (
            "  ingress: []\n",
            "np.yaml:5:3: spec: `podSelector` is missing",
        ),
    ] {
        let errors = read_objects("np.yaml", &format!("{base}{spec}")).expect_err("a fault");
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|error| error == expected), "{shown:#?}");
    }
}
