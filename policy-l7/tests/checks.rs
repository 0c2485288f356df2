//! Every check finds its mistake at its place, and nothing in the corrected policy.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use policy_l7::lint::{self, CHECKS, Known, Server, Source};
use policy_l7::{Identity, Labels, Places, Service, Surroundings, identity, read_objects};

const DOCUMENTATION: &str = include_str!("../../docs/policy-checks.md");

/// What is found: code, `line:column`, field, suggestion.
type Found = (String, String, String, Option<String>);

fn server(name: &str, labels: &[&str], ports: &[(u8, u16)]) -> Server {
    let namespace = name.split('/').next().unwrap_or_default();
    let of_namespace = [
        format!("io.kubernetes.pod.namespace={namespace}"),
        format!("k8s:io.cilium.k8s.namespace.labels.team={namespace}-team"),
    ];
    let labels = labels
        .iter()
        .copied()
        .chain(of_namespace.iter().map(String::as_str));
    let labels: Labels = labels
        .map(|label| label.parse().expect("a label"))
        .collect();
    let number = name.len();
    Server {
        name: name.to_owned(),
        labels,
        addresses: vec![format!("10.244.1.{number}").parse().expect("an address")],
        named_ports: ports.iter().map(|(_, port)| format!("p{port}")).collect(),
        ports: ports.iter().copied().collect::<BTreeSet<_>>(),
    }
}

fn check(text: &str) -> Vec<Found> {
    let servers = [
        server("shop/web", &["app=web"], &[(6, 8080)]),
        server("shop/user", &["app=user-service"], &[(6, 80)]),
        server("bank/ledger", &["app=ledger"], &[]),
        server(
            "kube-system/dns-1",
            &["k8s-app=kube-dns"],
            &[(17, 53), (6, 53)],
        ),
    ];
    let mut identities = identity::reserved();
    identities.extend((300..).zip(&servers).map(|(number, server)| Identity {
        number,
        labels: server.labels.clone(),
    }));
    let services = [Service {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        ..Service::default()
    }];
    let objects = read_objects("p.yaml", text).expect("policies");
    let places = Places::read("p.yaml", text).expect("yaml");
    let source = Source {
        policies: &objects.policies,
        places: &places,
    };
    let known = Known {
        identities: &identities,
        servers: &servers,
        surroundings: Surroundings {
            cidr_groups: &objects.cidr_groups,
            services: &services,
        },
    };

    let findings = lint::check(&[source], Some(&known));
    findings
        .into_iter()
        .map(|finding| {
            let (place, field) = finding.place(&places);
            (
                finding.check.code.to_owned(),
                format!("{}:{}", place.at.line, place.at.column),
                field,
                finding.suggestion,
            )
        })
        .collect()
}

/// A policy of `shop` for `app: web`, with this behind its selector, from line 6 on.
fn web(rules: &str) -> String {
    let head = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { name: web, namespace: shop }\nspec:\n  endpointSelector: { matchLabels: { app: web } }\n";
    format!("{head}{rules}")
}

/// HTTP rules of one list, the first one in line 10.
fn http(rules: &str) -> String {
    web(&format!(
        "  ingress:\n  - toPorts:\n    - ports: [ {{ port: \"8080\", protocol: TCP }} ]\n      rules: {{ http: [\n        {rules}\n      ] }}\n"
    ))
}

/// Egress with DNS open, so that only what is tested is found; the list goes on in line 10.
fn egress(rules: &str) -> String {
    web(&format!(
        "  egress:\n  - toEndpoints: [ {{ matchLabels: {{ k8s-app: kube-dns, k8s:io.kubernetes.pod.namespace: kube-system }} }} ]\n    toPorts:\n    - {{ ports: [ {{ port: \"53\", protocol: ANY }} ], rules: {{ dns: [ {{ matchPattern: \"*.x.io\" }} ] }} }}\n{rules}"
    ))
}

/// Code, the place and the field of its finding, and what is suggested.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

/// Each mistake, what is found, and the same without the mistake.
fn cases() -> Vec<(String, Case, String)> {
    let all = [
        http_cases(),
        selector_cases(),
        peer_cases(),
        overlap_cases(),
    ];
    all.concat()
}

fn selector_cases() -> Vec<(String, Case, String)> {
    vec![
        (
            web("  ingress: [ { fromEndpoints: [ { matchLabels: { app: user-servce } } ] } ]\n"),
            (
                "selector-matches-nothing",
                "6:55",
                "spec.ingress[0].fromEndpoints[0].matchLabels.app",
                Some("user-service"),
            ),
            web("  ingress: [ { fromEndpoints: [ { matchLabels: { app: user-service } } ] } ]\n"),
        ),
        (
            web("  ingress: [ {} ]\n").replace("namespace: shop", "namespace: shp"),
            (
                "selector-matches-nothing",
                "3:35",
                "metadata.namespace",
                Some("shop"),
            ),
            web("  ingress: [ {} ]\n"),
        ),
        (
            web("  ingress: [ { fromEndpoints: [ { matchLabels: { app: ledger } } ] } ]\n"),
            (
                "selector-matches-nothing",
                "6:33",
                "spec.ingress[0].fromEndpoints[0]",
                None,
            ),
            web(
                "  ingress: [ { fromEndpoints: [ { matchLabels: { app: ledger, k8s:io.kubernetes.pod.namespace: bank } } ] } ]\n",
            ),
        ),
        (
            web("  ingress: [ {} ]\n").replace("app: web", "pod-template-hash: x"),
            (
                "ignored-label",
                "5:38",
                "spec.endpointSelector.matchLabels.pod-template-hash",
                None,
            ),
            web("  ingress: [ {} ]\n"),
        ),
        (
            web("  ingress: [ { toPorts: [ { ports: [ { port: http } ] } ] } ]\n"),
            (
                "named-port-unknown",
                "6:46",
                "spec.ingress[0].toPorts[0].ports[0].port",
                None,
            ),
            web("  ingress: [ { toPorts: [ { ports: [ { port: p8080 } ] } ] } ]\n"),
        ),
        (
            web("  ingress: [ { toPorts: [ { ports: [ { port: \"80\" } ] } ] } ]\n"),
            (
                "port-not-served",
                "6:46",
                "spec.ingress[0].toPorts[0].ports[0].port",
                None,
            ),
            web("  ingress: [ { toPorts: [ { ports: [ { port: \"8080\" } ] } ] } ]\n"),
        ),
    ]
}

fn peer_cases() -> Vec<(String, Case, String)> {
    vec![
        (
            egress("  - toServices: [ { k8sService: { serviceName: wbe, namespace: shop } } ]\n"),
            ("dangling-reference", "10:5", "spec.egress[1]", None),
            egress("  - toServices: [ { k8sService: { serviceName: web, namespace: shop } } ]\n"),
        ),
        (
            egress("  - toCIDR: [ 10.244.0.0/16 ]\n"),
            ("cidr-of-pods", "10:15", "spec.egress[1].toCIDR[0]", None),
            egress("  - toCIDR: [ 192.0.2.0/24 ]\n"),
        ),
        (
            egress("  - toFQDNs: [ { matchName: api.y.io } ]\n"),
            (
                "fqdn-not-learnt",
                "10:29",
                "spec.egress[1].toFQDNs[0].matchName",
                None,
            ),
            egress("  - toFQDNs: [ { matchName: api.x.io } ]\n"),
        ),
        (
            web(
                "  egress:\n  - toPorts: [ { ports: [ { port: \"53\", protocol: UDP } ], rules: { dns: [ {} ] } } ]\n",
            ),
            (
                "dns-rule-allows-nothing",
                "7:76",
                "spec.egress[0].toPorts[0].rules.dns[0]",
                None,
            ),
            web(
                "  egress:\n  - toPorts: [ { ports: [ { port: \"53\", protocol: UDP } ], rules: { dns: [ { matchPattern: \"*\" } ] } } ]\n",
            ),
        ),
        (
            web("  ingress:\n  - fromEntities: [ host ]\n  - {}\n"),
            ("empty-rule", "8:5", "spec.ingress[1]", None),
            web("  ingress:\n  - fromEntities: [ host ]\n"),
        ),
        (
            web("  egressDeny: [ { toCIDR: [ 192.0.2.0/24 ] } ]\n"),
            ("deny-closes-direction", "6:3", "spec.egressDeny", None),
            web(
                "  egressDeny: [ { toCIDR: [ 192.0.2.0/24 ] } ]\n  enableDefaultDeny: { egress: false }\n",
            ),
        ),
        (
            web("  egress: [ { toEndpoints: [ { matchLabels: { app: user-service } } ] } ]\n"),
            ("egress-without-dns", "6:3", "spec.egress", None),
            egress("  - toEndpoints: [ { matchLabels: { app: user-service } } ]\n"),
        ),
    ]
}

fn overlap_cases() -> Vec<(String, Case, String)> {
    vec![
        (
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: a, namespace: shop }\nspec:\n  podSelector: {}\n  policyTypes: [ Ingress ]\n  egress: [ {} ]\n".to_owned(),
            ("direction-ignored", "7:3", "spec.egress", None),
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: a, namespace: shop }\nspec:\n  podSelector: {}\n  policyTypes: [ Ingress, Egress ]\n  egress: [ {} ]\n".to_owned(),
        ),
        (
            format!("{0}---\n{0}", web("  ingress: [ {} ]\n")),
            ("duplicate-policy", "10:19", "metadata.name", None),
            format!("{0}---\n{1}", web("  ingress: [ {} ]\n"), web("  ingress: [ {} ]\n").replace("name: web,", "name: b,")),
        ),
        (
            web("  ingress:\n  - fromEntities: [ host, cluster ]\n  - fromEntities: [ host ]\n"),
            ("duplicate-rule", "8:5", "spec.ingress[1]", None),
            web("  ingress:\n  - fromEntities: [ host ]\n  - fromEntities: [ cluster ]\n"),
        ),
        (
            web("  ingress:\n  - fromEndpoints: [ { matchLabels: { app: user-service } } ]\n  ingressDeny:\n  - fromEndpoints: [ {} ]\n"),
            ("allow-under-deny", "7:5", "spec.ingress[0]", None),
            web("  ingress:\n  - fromEntities: [ host ]\n  ingressDeny:\n  - fromEndpoints: [ {} ]\n"),
        ),
        (
            format!("{}  - fromEntities: [ all ]\n", http("{ path: /a/.* }")),
            ("l7-rule-ineffective", "8:7", "spec.ingress[0].toPorts[0]", None),
            format!("{}  - fromEntities: [ host ]\n", http("{ path: /a/.* }")),
        ),
        (
            egress("  - toEntities: [ all ]\n    toPorts: [ { ports: [ { port: \"53\", protocol: TCP } ], rules: { http: [ { method: GET } ] } } ]\n  - toEndpoints: [ {} ]\n    toPorts: [ { ports: [ { port: \"53\", protocol: TCP } ], rules: { dns: [ { matchName: a.x.io } ] } } ]\n"),
            ("protocol-conflict", "11:60", "spec.egress[1].toPorts[0].rules", None),
            egress("  - toEntities: [ all ]\n    toPorts: [ { ports: [ { port: \"80\", protocol: TCP } ], rules: { http: [ { method: GET } ] } } ]\n"),
        ),
    ]
}

fn http_cases() -> Vec<(String, Case, String)> {
    let one = |wrong: &str, code, column: &'static str, field: &'static str, meant, right: &str| {
        (http(wrong), (code, column, field, meant), http(right))
    };
    let path = "spec.ingress[0].toPorts[0].rules.http[0].path";
    let host = "spec.ingress[0].toPorts[0].rules.http[0].host";
    let method = "spec.ingress[0].toPorts[0].rules.http[0].method";
    vec![
        one(
            "{ path: /api/* }",
            "glob-in-pattern",
            "10:17",
            path,
            Some("/api/.*"),
            "{ path: /api/.* }",
        ),
        one(
            "{ path: /api/ }",
            "path-looks-like-prefix",
            "10:17",
            path,
            Some("/api/.*"),
            "{ path: /api/.* }",
        ),
        one(
            "{ path: /api }",
            "path-is-exact",
            "10:17",
            path,
            None,
            "{ path: \"/api(/.*)?\" }",
        ),
        one(
            "{ path: api/.* }",
            "regex-matches-nothing",
            "10:17",
            path,
            None,
            "{ path: /api/.* }",
        ),
        one(
            "{ path: \"/.*\" }",
            "regex-matches-everything",
            "10:17",
            path,
            None,
            "{ path: \"/[^?]*\" }",
        ),
        one(
            "{ path: \"^/a/.*$\" }",
            "superfluous-anchor",
            "10:17",
            path,
            Some("/a/.*"),
            "{ path: /a/.* }",
        ),
        one(
            "{ path: /a//b }",
            "path-not-normal",
            "10:17",
            path,
            None,
            "{ path: /a/b.* }",
        ),
        one(
            "{ method: get }",
            "method-unknown",
            "10:19",
            method,
            Some("GET"),
            "{ method: GET }",
        ),
        one(
            "{ method: GET|PSOT }",
            "method-unknown",
            "10:19",
            method,
            Some("GET|POST"),
            "{ method: GET|POST }",
        ),
        one(
            "{ host: api.x.io }",
            "host-dot",
            "10:17",
            host,
            Some("api\\.x\\.io"),
            "{ host: 'api\\.x\\.io' }",
        ),
        one(
            "{ host: 'x\\.io:80' }",
            "host-with-port",
            "10:17",
            host,
            Some("x\\.io(:80)?"),
            "{ host: 'x\\.io(:80)?' }",
        ),
        one(
            "{ method: GET }, { method: GET, path: /a/.* }",
            "http-rule-covered",
            "10:26",
            "spec.ingress[0].toPorts[0].rules.http[1]",
            None,
            "{ method: GET }, { method: PUT, path: /a/.* }",
        ),
    ]
}

#[test]
fn each_mistake_is_found_at_its_place_and_nothing_else_is() {
    let mut missed = Vec::new();
    for (wrong, (code, place, field, meant), right) in cases() {
        let expected = (
            code.to_owned(),
            place.to_owned(),
            field.to_owned(),
            meant.map(str::to_owned),
        );
        let found = check(&wrong);
        if !found.contains(&expected) {
            missed.push(format!("{expected:?} is not among {found:?} of\n{wrong}"));
        }
        let found = check(&right);
        if found.iter().any(|(found, ..)| found == code) {
            missed.push(format!("{code} is among {found:?} of\n{right}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn each_check_has_a_case_and_stands_in_the_documentation() {
    let mut rows = BTreeMap::new();
    for line in DOCUMENTATION.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let code = cells.next().unwrap_or_default().trim_matches('`');
        rows.insert(code.to_owned(), cells.next().unwrap_or_default().to_owned());
    }
    let cases: BTreeSet<&str> = cases().iter().map(|(_, (code, ..), _)| *code).collect();
    for check in CHECKS {
        let severity = rows.remove(check.code);
        assert_eq!(
            severity.as_deref(),
            Some(check.severity.as_str()),
            "{}",
            check.code
        );
        // What readers refuse has tests of its own.
        assert!(
            check.code == "invalid-policy" || cases.contains(check.code),
            "{}",
            check.code
        );
    }
    assert_eq!(rows.keys().collect::<Vec<_>>(), Vec::<&String>::new());
}
