//! Pods that nobody knows yet: closed, but for what policies that mean them allow.
#![expect(
    clippy::expect_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::sync::Arc;

use policy_l7::{
    Compiled, ConnectionVerdict, Direction, Endpoint, Enforcement, Inputs, compile, identity,
    read_objects,
};

const NEW: u16 = 2;
const DNS: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: { name: first-steps }
spec:
  endpointSelector: { matchLabels: { "reserved:init": "" } }
  egress: [ { toPorts: [ { ports: [ { port: "53", protocol: UDP } ] } ] } ]
"#;

fn compiled(text: &str, enforcement: Enforcement) -> Arc<Compiled> {
    let policies = read_objects("policy.yaml", text)
        .expect("policies")
        .policies;
    Arc::new(compile(&Inputs {
        policies: &policies,
        identities: &identity::reserved(),
        endpoints: &[Endpoint::init(NEW)],
        enforcement,
        revision: 1,
        ..Inputs::default()
    }))
}

fn is_open(policy: &Compiled, direction: Direction, protocol: u8, port: u16) -> bool {
    let verdict = policy.judge_connection(NEW, direction, identity::WORLD, protocol, port);
    !matches!(verdict, ConnectionVerdict::Deny { .. })
}

#[test]
fn they_are_closed_though_no_policy_selects_them() {
    let policy = compiled("", Enforcement::Default);
    for direction in [Direction::Ingress, Direction::Egress] {
        assert!(!is_open(&policy, direction, 6, 80));
        assert!(!is_open(&policy, direction, 17, 53));
    }
}

#[test]
fn policies_that_mean_them_open_what_they_name() {
    let policy = compiled(DNS, Enforcement::Default);
    assert!(is_open(&policy, Direction::Egress, 17, 53));
    assert!(!is_open(&policy, Direction::Egress, 6, 53));
    assert!(!is_open(&policy, Direction::Ingress, 17, 53));
}

#[test]
fn nothing_is_closed_where_nothing_is_enforced() {
    let policy = compiled("", Enforcement::Never);
    assert!(is_open(&policy, Direction::Ingress, 6, 80));
}
