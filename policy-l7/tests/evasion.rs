//! What a request, or the author of a policy, may try in order to get past a rule.

#![expect(
    clippy::expect_used,
    reason = "a fixture that cannot be made fails the test"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use policy_l7::{
    Compiled, ConnectionVerdict, Direction, Endpoint, Headers, HttpRequest, Identity, Inputs,
    Labels, Subject, compile, identity, read_objects,
};

const WEB: u16 = 16;
const CLIENT: u32 = 301;
const TCP: u8 = 6;

fn labels(all: &[&str]) -> Labels {
    let parsed = all.iter().map(|label| label.parse().expect("a label"));
    parsed.collect()
}

/// A server `web` and a client in the namespace `shop`.
fn compiled_for(own: &Labels, yaml: &str) -> Arc<Compiled> {
    let policies = read_objects("p.yaml", yaml).expect("a policy").policies;
    let client = labels(&["app=client", "io.kubernetes.pod.namespace=shop"]);
    let mut identities = identity::reserved();
    for (number, labels) in [(300, own.clone()), (CLIENT, client)] {
        identities.push(Identity { number, labels });
    }
    let web = Endpoint {
        id: WEB,
        identity: 300,
        labels: own.clone(),
        named_ports: Vec::new(),
    };
    Arc::new(compile(&Inputs {
        policies: &policies,
        identities: &identities,
        endpoints: &[web],
        named: &BTreeSet::new(),
        revision: 1,
        ..Inputs::default()
    }))
}

fn compiled(yaml: &str) -> Arc<Compiled> {
    compiled_for(
        &labels(&["app=web", "io.kubernetes.pod.namespace=shop"]),
        yaml,
    )
}

fn cnp(spec: &str) -> String {
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n",
    );
    for line in spec.lines() {
        writeln!(text, "  {line}").expect("text grows");
    }
    text
}

/// Every rule of the list on port 80, towards `web`.
fn http(rules: &str) -> Arc<Compiled> {
    compiled(&cnp(&format!(
        "endpointSelector: {{}}\ningress:\n- toPorts:\n  - ports: [{{port: \"80\", protocol: TCP}}]\n    rules: {{http: [{rules}]}}"
    )))
}

struct Fields<'f>(&'f [(&'f str, &'f str)]);

impl Headers for Fields<'_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self.0 {
            visit(name.as_bytes(), value.as_bytes());
        }
    }
}

fn ask(
    policy: &Arc<Compiled>,
    method: &[u8],
    paths: &[&[u8]],
    host: &[u8],
    fields: &[(&str, &str)],
) -> bool {
    let subject = Subject {
        endpoint: WEB,
        direction: Direction::Ingress,
        remote: CLIENT,
        protocol: 6,
        port: 80,
    };
    let request = HttpRequest {
        method,
        paths,
        host,
        headers: &Fields(fields),
    };
    policy.judge_http(&subject, &request).is_ok()
}

fn get(policy: &Arc<Compiled>, paths: &[&[u8]]) -> bool {
    ask(policy, b"GET", paths, b"web", &[])
}

fn connects(policy: &Compiled, protocol: u8, port: u16) -> bool {
    let verdict = policy.judge_connection(WEB, Direction::Ingress, CLIENT, protocol, port);
    !matches!(verdict, ConnectionVerdict::Deny { .. })
}

#[test]
fn no_spelling_of_a_path_passes_for_the_one_that_is_allowed() {
    let policy = http("{method: GET, path: /get}");
    assert!(get(&policy, &[b"/get"]));
    let tricks: [&[u8]; 30] = [
        b"",
        b"/",
        b"get",
        b"*",
        b"/get/",
        b"//get",
        b"/get//",
        b"/./get",
        b"/get/.",
        b"/get/..",
        b"/x/../get",
        b"/get/../post",
        b"/get/%2e%2e/post",
        b"/get/%2E%2E%2fpost",
        b"/get%2f..%2fpost",
        b"/get%5c..%5cpost",
        b"/get\\..\\post",
        b"/get;/../post",
        b"/get;x=1",
        b"/get?",
        b"/get?x=/post",
        b"/get#/post",
        b"/get%00",
        b"/get\0/post",
        b"/get\n",
        b"\n/get",
        b"/get\r\n/post",
        b"/%67et",
        b"/GET",
        b"http://web/get",
    ];
    for path in tricks {
        assert!(!get(&policy, &[path]), "{}", path.escape_ascii());
        for readings in [[b"/get".as_slice(), path], [path, b"/get".as_slice()]] {
            assert!(!get(&policy, &readings), "{}", path.escape_ascii());
        }
    }
}

#[test]
fn no_spelling_of_a_method_host_or_header_passes_for_the_one_that_is_allowed() {
    let policy = http(
        "{method: GET, path: /get, host: web.shop, headers: [\"X-Token secret\", \"X-Seen\"]}",
    );
    let asked = |method: &str, host: &str, fields: &[(&str, &str)]| {
        ask(
            &policy,
            method.as_bytes(),
            &[b"/get"],
            host.as_bytes(),
            fields,
        )
    };
    let fields = [("x-token", "secret"), ("x-seen", "")];
    assert!(asked("GET", "web.shop", &fields));
    for method in ["get", "Get", "GETX", " GET", "GET ", "", "POST", "GET\n"] {
        assert!(!asked(method, "web.shop", &fields), "{method:?}");
    }
    for host in ["WEB.SHOP", "web.shop:80", "web.shop.", "web.shop.evil", ""] {
        assert!(!asked("GET", host, &fields), "{host:?}");
    }
    for fields in [
        &[("x-token", "secret")][..],
        &[("x-seen", "")],
        &[("x-token", "Secret"), ("x-seen", "")],
        &[("x-token", "secret "), ("x-seen", "")],
        &[("x-token", "secret,secret"), ("x-seen", "")],
        &[("x-token", "secret"), ("X-Token", "secret"), ("x-seen", "")],
        &[("x-token", "secret"), ("X-Token", "other"), ("x-seen", "")],
        &[("x_token", "secret"), ("x-seen", "")],
        &[("x-token ", "secret"), ("x-seen", "")],
    ] {
        assert!(!asked("GET", "web.shop", fields), "{fields:?}");
    }
}

#[test]
fn a_request_without_any_reading_of_its_path_is_denied() {
    assert!(!get(&http("{method: GET}"), &[]));
    assert!(!get(&http("{}"), &[]));
}

#[test]
fn an_expression_cannot_leave_its_anchors() {
    for source in ["/get)|(.*", "/get)$|^(?:.*", "a|b)|(?:", "(?x)/g[0-9]t #"] {
        let rules = format!("{{path: {source:?}}}");
        let yaml = cnp(&format!(
            "endpointSelector: {{}}\ningress:\n- toPorts:\n  - ports: [{{port: \"80\", protocol: TCP}}]\n    rules: {{http: [{rules}]}}"
        ));
        let errors = read_objects("p.yaml", &yaml).expect_err(source);
        assert!(errors[0].message.contains("regular expression"), "{source}");
    }
    let policy =
        http("{path: \"/a|/b\"}, {path: \"(?m)/c$\"}, {path: \"(?i)/d\"}, {path: \"(?x)/e #\"}");
    for (path, expected) in [
        ("/a", true),
        ("/b", true),
        ("/D", true),
        ("/a/x", false),
        ("/x/b", false),
        ("/c", true),
        ("/c\n/x", false),
        ("/x\n/c", false),
        ("/A", false),
        ("/e", true),
        ("/e/x", false),
    ] {
        assert_eq!(get(&policy, &[path.as_bytes()]), expected, "{path:?}");
    }
}

#[test]
fn a_namespaced_policy_never_selects_endpoints_of_another_namespace() {
    let elsewhere = labels(&["app=web", "io.kubernetes.pod.namespace=bank"]);
    let allow_all = "ingress: [{fromEntities: [all]}]";
    for selector in [
        "{}",
        "{matchLabels: {app: web}}",
        "{matchExpressions: [{key: io.kubernetes.pod.namespace, operator: Exists}]}",
        "{matchExpressions: [{key: 'reserved:host', operator: DoesNotExist}]}",
        "{matchExpressions: [{key: io.cilium.k8s.namespace.labels.x, operator: DoesNotExist}]}",
    ] {
        let yaml = cnp(&format!("endpointSelector: {selector}\n{allow_all}"));
        assert!(
            compiled_for(&elsewhere, &yaml).endpoint(WEB).is_none(),
            "{selector}"
        );
        assert!(compiled(&yaml).endpoint(WEB).is_some(), "{selector}");
    }
    let yaml = cnp(&format!(
        "endpointSelector: {{matchLabels: {{'k8s:io.kubernetes.pod.namespace': bank}}}}\n{allow_all}"
    ));
    let errors = read_objects("p.yaml", &yaml).expect_err("another namespace");
    assert_eq!(
        errors[0].to_string(),
        "p.yaml:5:21: spec.endpointSelector: selects another namespace than the policy's own, `shop`"
    );
}

#[test]
fn a_clusterwide_policy_also_holds_for_endpoints_outside_every_namespace() {
    let bare = labels(&["app=web"]);
    let yaml = cnp("endpointSelector: {matchLabels: {app: web}}\ningress: [{}]")
        .replace("CiliumNetwork", "CiliumClusterwideNetwork")
        .replace(", namespace: shop", "");
    assert!(!connects(&compiled_for(&bare, &yaml), TCP, 80));
}

#[test]
fn a_deny_without_ports_denies_every_port() {
    for empty in ["toPorts: []", "icmps: []", "toPorts:"] {
        let policy = compiled(&cnp(&format!(
            "endpointSelector: {{}}\ningress:\n- fromEntities: [all]\ningressDeny:\n- fromEntities: [all]\n  {empty}"
        )));
        assert!(!connects(&policy, TCP, 80), "{empty}");
    }
}

#[test]
fn an_icmp_rule_without_types_opens_nothing() {
    let policy = "endpointSelector: {}\ningress:\n- fromEntities: [all]\n  icmps: [{fields: []}]";
    let errors = read_objects("p.yaml", &cnp(policy)).expect_err("no fields");
    assert_eq!(
        errors[0].to_string(),
        "p.yaml:8:13: spec.ingress[0].icmps[0]: `fields` names no ICMP type"
    );
}

#[test]
fn looking_at_requests_without_default_deny_denies_none() {
    let policy = compiled(&cnp(
        "endpointSelector: {}\nenableDefaultDeny: {ingress: false}\ningress:\n- toPorts:\n  - ports: [{port: \"80\", protocol: TCP}]\n    rules: {http: [{path: /get}]}",
    ));
    assert!(get(&policy, &[b"/get"]));
    assert!(get(&policy, &[b"/other"]));
    assert!(connects(&policy, TCP, 81));
}
