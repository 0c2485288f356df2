//! DNS rules, and addresses that are allowed by their names.
#![expect(
    clippy::expect_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use policy_l7::{
    Compiled, ConnectionVerdict, Direction, Endpoint, Inputs, Named, RuleId, Subject, compile,
    identity, read_objects,
};

const POD: u16 = 16;
const UDP: u8 = 17;
const TCP: u8 = 6;

const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: names, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: web } }
  egress:
  - toEntities: [ world ]
    toPorts:
    - ports: [ { port: "53", protocol: ANY } ]
      rules:
        dns:
        - matchName: API.example.com
        - matchPattern: "*.svc.example.com"
  - toFQDNs:
    - matchName: api.example.com
    - matchPattern: "*.svc.example.com"
    toPorts: [ { ports: [ { port: "443", protocol: TCP } ] } ]
  - toCIDR: [ 192.0.2.0/24 ]
    toPorts: [ { ports: [ { port: "80", protocol: TCP } ] } ]
"#;

fn compiled(text: &str, named: &BTreeSet<Named>) -> Arc<Compiled> {
    let policies = read_objects("policy.yaml", text)
        .expect("a policy")
        .policies;
    let labels = ["app=web", "io.kubernetes.pod.namespace=shop"];
    let endpoint = Endpoint {
        id: POD,
        identity: 300,
        labels: labels
            .iter()
            .map(|label| label.parse().expect("a label"))
            .collect(),
        named_ports: Vec::new(),
    };
    Arc::new(compile(&Inputs {
        policies: &policies,
        identities: &identity::reserved(),
        endpoints: &[endpoint],
        named,
        revision: 1,
        ..Inputs::default()
    }))
}

fn ask(policy: &Arc<Compiled>, protocol: u8, name: &str) -> Result<Option<RuleId>, String> {
    let subject = Subject {
        endpoint: POD,
        direction: Direction::Egress,
        remote: identity::WORLD,
        protocol,
        port: 53,
    };
    match policy.judge_dns(&subject, name.as_bytes()) {
        Ok(permit) => Ok(permit.rule()),
        Err(denial) => Err(denial.to_string()),
    }
}

fn connects(policy: &Compiled, remote: u32, port: u16) -> bool {
    let verdict = policy.judge_connection(POD, Direction::Egress, remote, TCP, port);
    !matches!(verdict, ConnectionVerdict::Deny { .. })
}

fn faults(text: &str) -> Vec<String> {
    let errors = read_objects("policy.yaml", text).expect_err("a fault");
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn queries_are_judged_by_name_over_either_protocol() {
    let policy = compiled(POLICY, &BTreeSet::new());
    for protocol in [UDP, TCP] {
        let verdict =
            policy.judge_connection(POD, Direction::Egress, identity::WORLD, protocol, 53);
        assert!(matches!(verdict, ConnectionVerdict::Redirect { .. }));
        let rule = ask(&policy, protocol, "api.example.com.").expect("allowed");
        let rule = rule.and_then(|rule| policy.rule(rule)).expect("by a rule");
        assert!(
            rule.rule.ends_with("toPorts[0].rules.dns[0]"),
            "{}",
            rule.rule
        );
        assert!(ask(&policy, protocol, "a.svc.example.com.").is_ok());
        assert!(ask(&policy, protocol, "a.b.svc.example.com.").is_err());
        assert!(ask(&policy, protocol, "example.com.").is_err());
    }
    let denial = ask(&policy, UDP, "apis.example.com.").expect_err("denied");
    assert_eq!(
        denial,
        "nearest rule names spec.egress[0].toPorts[0].rules.dns[0]: \
         name apis.example.com is not api.example.com"
    );
}

#[test]
fn sctp_is_not_sent_to_a_proxy_that_does_not_read_it() {
    let policy = compiled(POLICY, &BTreeSet::new());
    let verdict = policy.judge_connection(POD, Direction::Egress, identity::WORLD, 132, 53);
    assert!(matches!(verdict, ConnectionVerdict::Deny { .. }));
}

#[test]
fn addresses_are_allowed_by_the_names_they_were_learnt_by() {
    let unlearnt = compiled(POLICY, &BTreeSet::new());
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let known = |ip: &str, names: &[&str]| unlearnt.named(address(ip), names.iter());
    assert_eq!(known("198.51.100.7", &["other.example.com."]), None);
    let api = known("198.51.100.7", &["other.example.com.", "api.example.com."]).expect("named");
    let same = known("198.51.100.8", &["api.example.com."]).expect("named");
    assert_eq!(api, same, "one name, one identity");
    let inside = known("192.0.2.9", &["a.svc.example.com."]).expect("named");
    assert!(inside.within.is_some());
    assert!(!connects(&unlearnt, identity::WORLD, 443));

    let learnt = compiled(POLICY, &[api.clone(), inside.clone()].into());
    let number = |named: &Named| learnt.identity_of(named).expect("an identity").number;
    assert_ne!(number(&api), number(&inside));
    assert!(connects(&learnt, number(&api), 443));
    assert!(!connects(&learnt, number(&api), 80));
    assert!(connects(&learnt, number(&inside), 443), "by its name");
    assert!(connects(&learnt, number(&inside), 80), "by its prefix");
    assert!(!connects(&learnt, identity::WORLD, 443));
    let (_, cidr) = learnt.prefixes().first().expect("a prefix");
    assert!(!connects(&learnt, cidr.number, 443));
}

#[test]
fn dns_rules_only_look_where_nothing_is_denied_by_default() {
    let policy = compiled(
        &POLICY.replace(
            "  egress:",
            "  enableDefaultDeny: { egress: false }\n  egress:",
        ),
        &BTreeSet::new(),
    );
    assert!(ask(&policy, UDP, "whatever.test.").is_ok());
}

#[test]
fn an_empty_dns_rule_allows_nothing_and_a_star_everything() {
    let lists = |rules: &str| {
        compiled(
            &POLICY.replace("- matchName: API.example.com", rules),
            &BTreeSet::new(),
        )
    };
    assert!(ask(&lists("- {}"), UDP, "api.example.com.").is_err());
    assert!(ask(&lists("- matchPattern: \"*\""), UDP, ".").is_ok());
}

#[test]
fn a_wider_rule_without_dns_rules_allows_every_name() {
    let policy = compiled(
        &POLICY.replace("  - toFQDNs:", "  - toEntities: [ world ]\n  - toFQDNs:"),
        &BTreeSet::new(),
    );
    assert!(ask(&policy, UDP, "whatever.test.").is_ok());
}

#[test]
fn what_cannot_be_honoured_is_refused_at_its_place() {
    let table = [
        (
            POLICY.replace("port: \"53\", protocol: ANY", "port: \"53\", endPort: 60"),
            "each a single one",
        ),
        (
            POLICY.replace("protocol: ANY", "protocol: SCTP"),
            "UDP, TCP or ANY",
        ),
        (
            POLICY.replace("        dns:", "        http: [ {} ]\n        dns:"),
            "cannot stand in one rule",
        ),
        (
            POLICY.replace(
                "    - matchName: api",
                "    - matchPattern: x\n      matchName: api",
            ),
            "and not both",
        ),
        (
            POLICY.replace("API.example.com", "api example"),
            "cannot stand in a name",
        ),
        (POLICY.replace("egress:", "ingress:"), "egress only"),
        (
            POLICY.replace("  egress:", "  egressDeny:"),
            "deny rules cannot speak of names",
        ),
    ];
    for (text, wanted) in table {
        let faults = faults(&text);
        assert!(
            faults.iter().any(|fault| fault.contains(wanted)),
            "{wanted}: {faults:?}"
        );
    }
}
