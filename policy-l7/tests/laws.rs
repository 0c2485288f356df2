//! Laws that hold for every policy: checked against a slow reading straight from the rules' words.
#![expect(
    clippy::expect_used,
    clippy::format_push_string,
    reason = "a test that cannot set itself up has failed; YAML is written piece by piece"
)]

use policy_l7::{
    Compiled, ConnectionVerdict, Direction, Endpoint, Identity, Inputs, Labels, compile,
    read_objects,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Debug, Clone)]
struct RuleText {
    is_deny: bool,
    peer: Option<u8>,
    port: Option<(u16, u16)>,
    is_http: bool,
}

fn rule() -> impl Strategy<Value = RuleText> {
    let port = (1_u16..20, 0_u16..6).prop_map(|(first, more)| (first, first + more));
    (
        any::<bool>(),
        proptest::option::of(0_u8..4),
        proptest::option::of(port),
        any::<bool>(),
    )
        .prop_map(|(is_deny, peer, port, is_http)| RuleText {
            is_deny,
            peer,
            is_http: is_http && !is_deny && port.is_some_and(|(first, last)| first == last),
            port,
        })
}

fn yaml(rules: &[RuleText]) -> String {
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: n}\nspec:\n  endpointSelector: {}\n",
    );
    for (list, is_deny) in [("ingress", false), ("ingressDeny", true)] {
        text.push_str(&format!("  {list}:\n"));
        if !is_deny {
            text.push_str("  - {}\n");
        }
        for rule in rules.iter().filter(|rule| rule.is_deny == is_deny) {
            let peers = match rule.peer {
                Some(peer) => format!("fromEndpoints: [{{matchLabels: {{app: a{peer}}}}}]"),
                None => "fromEntities: [all]".to_owned(),
            };
            text.push_str(&format!("  - {peers}\n"));
            if let Some((first, last)) = rule.port {
                let l7 = if rule.is_http {
                    "\n      rules: {http: [{method: GET}]}"
                } else {
                    ""
                };
                text.push_str(&format!("    toPorts:\n    - ports: [{{port: \"{first}\", endPort: {last}, protocol: TCP}}]{l7}\n"));
            }
        }
    }
    text
}

fn labels(app: u8) -> Labels {
    [
        format!("app=a{app}"),
        "io.kubernetes.pod.namespace=n".to_owned(),
    ]
    .iter()
    .map(|label| label.parse().expect("a label"))
    .collect()
}

fn compiled(rules: &[RuleText]) -> Compiled {
    let policies = read_objects("p", &yaml(rules)).expect("a policy").policies;
    let identities: Vec<Identity> = (0..4)
        .map(|app| Identity {
            number: 300 + u32::from(app),
            labels: labels(app),
        })
        .collect();
    let endpoint = Endpoint {
        id: 16,
        identity: 300,
        labels: labels(0),
        named_ports: Vec::new(),
    };
    compile(&Inputs {
        policies: &policies,
        identities: &identities,
        endpoints: &[endpoint],
        named: &BTreeSet::new(),
        revision: 1,
        ..Inputs::default()
    })
}

fn verdict(policy: &Compiled, app: u8, port: u16) -> u8 {
    match policy.judge_connection(16, Direction::Ingress, 300 + u32::from(app), 6, port) {
        ConnectionVerdict::Allow { .. } => 1,
        ConnectionVerdict::Redirect { .. } => 2,
        ConnectionVerdict::Deny { .. } => 3,
    }
}

/// Straight from the words: deny, else judge requests, else allow, else nothing allows it.
fn reference(rules: &[RuleText], app: u8, port: u16) -> u8 {
    let about = |rule: &&RuleText| {
        rule.peer.is_none_or(|peer| peer == app)
            && rule
                .port
                .is_none_or(|(first, last)| (first..=last).contains(&port))
    };
    let matching: Vec<&RuleText> = rules.iter().filter(about).collect();
    if matching.is_empty() || matching.iter().any(|rule| rule.is_deny) {
        3
    } else if matching.iter().any(|rule| rule.is_http) {
        2
    } else {
        1
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn entries_say_what_the_words_say(rules in proptest::collection::vec(rule(), 0..8)) {
        let policy = compiled(&rules);
        for app in 0..4 {
            for port in 1..26 {
                prop_assert_eq!(verdict(&policy, app, port), reference(&rules, app, port), "app {} port {}\n{}", app, port, yaml(&rules));
            }
        }
    }

    #[test]
    fn order_does_not_matter(rules in proptest::collection::vec(rule(), 0..8)) {
        let forward = compiled(&rules);
        let backward = compiled(&rules.iter().rev().cloned().collect::<Vec<_>>());
        for app in 0..4 {
            for port in 1..26 {
                prop_assert_eq!(verdict(&forward, app, port), verdict(&backward, app, port));
            }
        }
    }

    #[test]
    fn an_allow_never_denies(rules in proptest::collection::vec(rule(), 0..6), more in rule()) {
        let more = RuleText { is_deny: false, ..more };
        let before = compiled(&rules);
        let after = compiled(&[rules, vec![more]].concat());
        for app in 0..4 {
            for port in 1..26 {
                prop_assert!(verdict(&before, app, port) == 3 || verdict(&after, app, port) != 3);
            }
        }
    }
}
