//! Policies as users write them, and the verdicts their words promise.
#![expect(
    clippy::expect_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use policy_l7::{
    Compiled, ConnectionVerdict, Direction, Endpoint, Headers, HttpRequest, Identity, Inputs,
    Labels, Subject, compile, identity, lint, read_objects,
};

const TYPO: &str = include_str!("../../testdata/policies/api-access-typo.yaml");
const L7: &str = include_str!("../../testdata/policies/api-access-l7.yaml");
const APPS: [&str; 3] = ["frontend", "api-gateway", "user-service"];

fn labels(app: &str) -> Labels {
    [
        format!("app={app}"),
        "io.kubernetes.pod.namespace=prod-app".to_owned(),
    ]
    .iter()
    .map(|label| label.parse().expect("a label"))
    .collect()
}

fn number(app: &str) -> u32 {
    300 + u32::try_from(APPS.iter().position(|a| *a == app).expect("an app")).expect("small")
}

fn identities() -> Vec<Identity> {
    let apps = APPS.iter().map(|app| Identity {
        number: number(app),
        labels: labels(app),
    });
    identity::reserved().into_iter().chain(apps).collect()
}

/// Endpoint numbers are identity numbers here.
fn compiled(text: &str) -> Arc<Compiled> {
    let policies = read_objects("policy.yaml", text)
        .expect("a policy")
        .policies;
    let endpoints: Vec<Endpoint> = APPS
        .iter()
        .map(|app| Endpoint {
            id: u16::try_from(number(app)).expect("small"),
            identity: number(app),
            labels: labels(app),
            named_ports: vec![("web".to_owned(), 8080)],
        })
        .collect();
    let identities = identities();
    Arc::new(compile(&Inputs {
        policies: &policies,
        identities: &identities,
        endpoints: &endpoints,
        named: &BTreeSet::new(),
        revision: 1,
        ..Inputs::default()
    }))
}

fn connect(
    policy: &Compiled,
    direction: Direction,
    own: &str,
    peer: u32,
    port: u16,
) -> &'static str {
    let own = u16::try_from(number(own)).expect("small");
    match policy.judge_connection(own, direction, peer, 6, port) {
        ConnectionVerdict::Allow { .. } => "allow",
        ConnectionVerdict::Deny { .. } => "deny",
        ConnectionVerdict::Redirect { .. } => "redirect",
    }
}

struct Fields(&'static [(&'static str, &'static str)]);

impl Headers for Fields {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self.0 {
            visit(name.as_bytes(), value.as_bytes());
        }
    }
}

fn request(policy: &Arc<Compiled>, peer: u32, method: &str, paths: &[&str]) -> Result<(), String> {
    let paths: Vec<&[u8]> = paths.iter().map(|path| path.as_bytes()).collect();
    let subject = Subject {
        endpoint: u16::try_from(number("user-service")).expect("small"),
        direction: Direction::Ingress,
        remote: peer,
        protocol: 6,
        port: 80,
    };
    let request = HttpRequest {
        method: method.as_bytes(),
        paths: &paths,
        host: b"user-service",
        headers: &Fields(&[("X-Team", "a")]),
    };
    policy
        .judge_http(&subject, &request)
        .map(|_permit| ())
        .map_err(|denial| denial.to_string())
}

#[test]
fn the_typo_closes_the_way_out_and_the_lint_says_why() {
    let policy = compiled(TYPO);
    assert_eq!(
        connect(
            &policy,
            Direction::Egress,
            "api-gateway",
            number("user-service"),
            80
        ),
        "deny"
    );
    assert_eq!(
        connect(
            &policy,
            Direction::Ingress,
            "api-gateway",
            number("frontend"),
            80
        ),
        "allow"
    );
    assert_eq!(
        connect(
            &policy,
            Direction::Ingress,
            "api-gateway",
            number("user-service"),
            80
        ),
        "deny"
    );
    let findings = lint::unmatched(
        &read_objects("p", TYPO).expect("a policy").policies,
        &identities(),
    );
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].message, "nothing has `app: user-servce`");
    assert_eq!(findings[0].suggestion.as_deref(), Some("user-service"));
    assert_eq!(findings[0].field, "spec.egress[0].toEndpoints[0]");
}

#[test]
fn the_corrected_policy_opens_it() {
    let policy = compiled(&TYPO.replace("user-servce", "user-service"));
    assert_eq!(
        connect(
            &policy,
            Direction::Egress,
            "api-gateway",
            number("user-service"),
            80
        ),
        "allow"
    );
    assert_eq!(
        connect(
            &policy,
            Direction::Egress,
            "api-gateway",
            number("user-service"),
            81
        ),
        "deny"
    );
}

#[test]
fn get_passes_and_post_does_not() {
    let policy = compiled(L7);
    let gateway = number("api-gateway");
    assert_eq!(
        connect(&policy, Direction::Ingress, "user-service", gateway, 80),
        "redirect"
    );
    assert_eq!(
        connect(
            &policy,
            Direction::Ingress,
            "user-service",
            number("frontend"),
            80
        ),
        "deny"
    );
    assert_eq!(request(&policy, gateway, "GET", &["/get"]), Ok(()));
    assert_eq!(
        request(&policy, gateway, "POST", &["/get"]),
        Err("nearest rule api-access-policy spec.ingress[0].toPorts[0].rules.http[0]: method POST is not GET".to_owned())
    );
    for path in ["/get/", "/get/../admin", "/", "/getx", "/get?x=1", "/GET"] {
        assert!(request(&policy, gateway, "GET", &[path]).is_err(), "{path}");
    }
}

#[test]
fn every_reading_of_a_path_must_be_allowed() {
    let policy = compiled(&L7.replace("\"/get\"", "\"/public/.*\""));
    let gateway = number("api-gateway");
    assert!(request(&policy, gateway, "GET", &["/public/a"]).is_ok());
    assert!(request(&policy, gateway, "GET", &["/public/../admin", "/admin"]).is_err());
}

#[test]
fn deny_wins_and_a_plain_allow_beside_an_l7_rule_allows_every_request() {
    let base = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: prod-app}\nspec:\n  endpointSelector: {matchLabels: {app: user-service}}\n  ingress:\n  - fromEndpoints: [{matchLabels: {app: api-gateway}}]\n    toPorts:\n    - ports: [{port: \"80\", protocol: TCP}]\n      rules: {http: [{method: GET}]}\n";
    let plain = format!("{base}  - fromEndpoints: [{{matchLabels: {{app: api-gateway}}}}]\n");
    let policy = compiled(&plain);
    assert_eq!(
        connect(
            &policy,
            Direction::Ingress,
            "user-service",
            number("api-gateway"),
            80
        ),
        "redirect"
    );
    assert_eq!(
        request(&policy, number("api-gateway"), "POST", &["/x"]),
        Ok(())
    );
    let denied = format!(
        "{plain}  ingressDeny:\n  - fromEndpoints: [{{}}]\n    toPorts: [{{ports: [{{port: \"80\"}}]}}]\n"
    );
    let policy = compiled(&denied);
    assert_eq!(
        connect(
            &policy,
            Direction::Ingress,
            "user-service",
            number("api-gateway"),
            80
        ),
        "deny"
    );
    assert_eq!(
        connect(
            &policy,
            Direction::Ingress,
            "user-service",
            number("api-gateway"),
            81
        ),
        "allow"
    );
    assert!(request(&policy, number("api-gateway"), "GET", &["/x"]).is_err());
}

#[test]
fn an_empty_element_denies_and_allows_nothing() {
    let policy = compiled(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: prod-app}\nspec:\n  endpointSelector: {}\n  ingress: [{}]\n",
    );
    assert_eq!(
        connect(
            &policy,
            Direction::Ingress,
            "frontend",
            number("api-gateway"),
            80
        ),
        "deny"
    );
    assert_eq!(
        connect(
            &policy,
            Direction::Egress,
            "frontend",
            number("api-gateway"),
            80
        ),
        "allow"
    );
}

#[test]
fn faults_are_named_with_place_and_suggestion() {
    for (from, to, expected) in [
        (
            "fromEndpoints",
            "fromEndpoint",
            "policy.yaml:11:5: spec.ingress[0].fromEndpoint: unknown field (did you mean `fromEndpoints`?)",
        ),
        (
            "protocol: TCP",
            "protocol: UDP",
            "policy.yaml:15:7: spec.ingress[0].toPorts[0]: HTTP rules need ports, each with `protocol: TCP` written out and not 0",
        ),
        (
            "protocol: TCP",
            "protocol: TPC",
            "policy.yaml:17:19: spec.ingress[0].toPorts[0].ports[0].protocol: `TPC` is not one of ANY, TCP, UDP, SCTP, AH, ESP, GRE, IGMP, IPIP, IPV6, VRRP (did you mean `TCP`?)",
        ),
        (
            "\"80\"",
            "\"eighty thousand\"",
            "policy.yaml:16:15: spec.ingress[0].toPorts[0].ports[0].port: `eighty thousand` is neither a port number nor a port name",
        ),
        (
            "\"80\"",
            "\"80000\"",
            "policy.yaml:16:15: spec.ingress[0].toPorts[0].ports[0].port: `80000` is not a port from 0 to 65535: number too large to fit in target type",
        ),
        (
            "\"/get\"",
            "\"/get(\"",
            "policy.yaml:22:17: spec.ingress[0].toPorts[0].rules.http[0].path: `/get(` is not a usable regular expression: error: unclosed group",
        ),
        (
            "kind: CiliumNetworkPolicy",
            "kind: CilumNetworkPolicy",
            "policy.yaml:2:7: kind: `CilumNetworkPolicy` is not one of CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, NetworkPolicy, CiliumCIDRGroup (did you mean `CiliumNetworkPolicy`?)",
        ),
        (
            "        http:",
            "        kafka:",
            "policy.yaml:21:11: spec.ingress[0].toPorts[0].rules.kafka: Kafka requests are not judged, and Cilium has removed the field; allow the port without `rules`, and use the broker's own access lists",
        ),
    ] {
        let errors = read_objects("policy.yaml", &L7.replace(from, to)).expect_err("a fault");
        assert!(
            errors.iter().any(|error| error.to_string() == expected),
            "{from} -> {to}: {}",
            errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
}
