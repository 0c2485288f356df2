//! Policies: a file is refused with places that exist, or it compiles and judges.

use policy_l7::{
    ConnectionVerdict, Direction, Endpoint, Identity, Inputs, Service, Surroundings, compile,
    dangling, identity, lint, read_objects, resolve,
};
use std::collections::BTreeSet;

fn endpoint() -> Endpoint {
    let labels = ["app=web", "io.kubernetes.pod.namespace=default"];
    Endpoint {
        id: 16,
        identity: 300,
        labels: labels
            .iter()
            .filter_map(|label| label.parse().ok())
            .collect(),
        named_ports: vec![("http".to_owned(), 80)],
    }
}

fn services() -> [Service; 2] {
    let service = |name: &str| Service {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        ..Service::default()
    };
    let mut selecting = service("web");
    selecting
        .selector
        .insert("app".to_owned(), "web".to_owned());
    let mut listing = service("db");
    listing.backends.push(std::net::Ipv4Addr::LOCALHOST.into());
    [selecting, listing]
}

fn verdicts(text: &str, identities: &[Identity]) -> Option<Vec<String>> {
    let objects = match read_objects("input.yaml", text) {
        Ok(objects) => objects,
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            let lines = text
                .split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
                .count();
            for error in errors {
                assert!(error.line <= lines + 1, "line {} of {lines}", error.line);
            }
            return None;
        }
    };
    let services = services();
    let surroundings = Surroundings {
        cidr_groups: &objects.cidr_groups,
        services: &services,
    };
    for policy in &objects.policies {
        let resolved = resolve(policy, &surroundings);
        assert!(!resolved.has_references(), "a reference is left");
    }
    let findings = lint::unmatched(&objects.policies, identities).len()
        + dangling(&objects.policies, &surroundings).len();
    let compiled = compile(&Inputs {
        policies: &objects.policies,
        surroundings,
        identities,
        endpoints: &[endpoint()],
        named: &BTreeSet::new(),
        revision: 7,
        ..Inputs::default()
    });
    assert_eq!(compiled.revision(), 7);
    let mut told = vec![format!("{findings}")];
    for direction in [Direction::Ingress, Direction::Egress] {
        for identity in identities {
            for port in [53, 80, 443, 8080] {
                let verdict = compiled.judge_connection(16, direction, identity.number, 6, port);
                if let ConnectionVerdict::Allow { rule: Some(rule) } = &verdict {
                    assert!(compiled.rule(*rule).is_some(), "a rule without provenance");
                }
                told.push(format!("{verdict:?}"));
            }
        }
    }
    Some(told)
}

pub(crate) fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let identities = identity::reserved();
    let once = verdicts(text, &identities);
    assert_eq!(
        once,
        verdicts(text, &identities),
        "the same file, another verdict"
    );
}
