//! Whom a spec is for, and what it says about itself.

use super::{are_refused, ccnp, cnp, faults, object, read};
use crate::labels::Labels;
use crate::objects::read_objects;

fn labels(all: &[&str]) -> Labels {
    let labels = all.iter().map(|label| label.parse().expect("a label"));
    labels.collect()
}

#[test]
fn a_spec_is_for_endpoints_or_for_nodes() {
    let pod = labels(&["app=web", "io.kubernetes.pod.namespace=default"]);
    let elsewhere = labels(&["app=web", "io.kubernetes.pod.namespace=shop"]);
    let health = labels(&["reserved:health"]);
    let host = labels(&["reserved:host", "node:app=web"]);
    let selected = |text: &str| {
        let policy = read(text);
        let all = [&pod, &elsewhere, &health, &host];
        all.map(|labels| policy.specs[0].subject.matches(labels))
    };
    for (text, expected) in [
        (
            cnp("{endpointSelector: {}, ingress: [{}]}"),
            [true, false, false, false],
        ),
        (
            ccnp("{endpointSelector: {}, ingress: [{}]}"),
            [true, true, true, false],
        ),
        (
            ccnp("{endpointSelector: {matchLabels: {app: web}}, ingress: [{}]}"),
            [true, true, false, false],
        ),
        (
            ccnp("{nodeSelector: {}, ingress: [{}]}"),
            [false, false, false, true],
        ),
        (
            ccnp("{nodeSelector: {matchLabels: {app: web}}, ingress: [{}]}"),
            [false, false, false, true],
        ),
        (
            ccnp("{nodeSelector: {matchLabels: {app: db}}, ingress: [{}]}"),
            [false; 4],
        ),
    ] {
        assert_eq!(selected(&text), expected, "{text}");
    }
    assert!(read(&ccnp("{nodeSelector: {}, ingress: [{}]}")).is_about_nodes());
    assert!(!read(&ccnp("{endpointSelector: {}, ingress: [{}]}")).is_about_nodes());
    are_refused(
        [(
            "{nodeSelector: {}, ingress: [{}]}",
            "nodes have no namespace",
        )],
        cnp,
    );
    let wrong = [
        (
            "{nodeSelector: {}, endpointSelector: {}, ingress: [{}]}",
            "either `endpointSelector` or `nodeSelector`",
        ),
        ("{ingress: [{}]}", "`endpointSelector` is missing"),
        (
            "{nodeSelector: {}, egress: [{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{}]}}]}]}",
            "requests of a host are not judged",
        ),
        (
            "{nodeSelector: {}, egress: [{toPorts: [{ports: [{port: \"443\"}], serverNames: [a.io]}]}]}",
            "requests of a host are not judged",
        ),
        (
            "{nodeSelector: {}, egress: [{toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchName: a.io}]}}]}]}",
            "what a host looks up is not redirected",
        ),
    ];
    are_refused(wrong, ccnp);
}

#[test]
fn peers_of_a_cluster_wide_policy_are_pods() {
    let policy = read(&ccnp(
        "{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]}",
    ));
    let crate::selector::Peers::Endpoints(selectors) = &policy.specs[0].rules[0].peers else {
        panic!("{policy:?}");
    };
    let pod = labels(&["app=web", "io.kubernetes.pod.namespace=shop"]);
    assert!(selectors[0].matches(&pod));
    let node = labels(&["reserved:remote-node", "node:app=web"]);
    assert!(!selectors[0].matches(&node));
}

#[test]
fn a_spec_says_something_about_itself() {
    let policy = read(&cnp(
        "{endpointSelector: {}, ingress: [{}], description: all, labels: [{key: a, value: b, source: k8s}, {key: c}], log: {value: \"über 9000\"}}",
    ));
    let spec = &policy.specs[0];
    assert_eq!(spec.labels, ["k8s:a=b", "unspec:c"]);
    assert_eq!(spec.log.as_deref(), Some("über 9000"));
    let told = policy.provenance_of(spec);
    assert_eq!(
        told.labels,
        [
            "k8s:a=b",
            "k8s:io.cilium.k8s.policy.derived-from=CiliumNetworkPolicy",
            "k8s:io.cilium.k8s.policy.name=p",
            "k8s:io.cilium.k8s.policy.namespace=default",
            "unspec:c",
        ]
    );
    assert_eq!(told.log.as_deref(), Some("über 9000"));
    let with = |text: &str| {
        cnp(&format!(
            "{{endpointSelector: {{}}, ingress: [{{}}], {text}}}"
        ))
    };
    let wrong = [
        (
            "description: [a]",
            "description: expected text, found a list",
        ),
        ("labels: {a: b}", "labels: expected a list"),
        ("labels: [{value: a}]", "`key` is missing"),
        (
            "log: {value: \"123456789 123456789 123456789 123\"}",
            "log.value: expected at most 32 characters",
        ),
        ("log: {value: \"a\\tb\"}", "each of them printable"),
        (
            "enableDefaultDeny: {ingress: maybe}",
            "`maybe` is not true or false",
        ),
    ];
    are_refused(wrong, with);
    are_refused(
        [("{endpointSelector: {}, ingress: []}", "no rule at all")],
        cnp,
    );
}

#[test]
fn an_object_may_ask_to_be_audited() {
    let with = |mode: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, uid: u-1, annotations: {{a: b, policy.l7d.io/mode: {mode}}}}}\nspec: {{podSelector: {{}}}}\n"
        )
    };
    assert!(read(&with("audit")).is_audited());
    assert!(!read(&with("enforce")).is_audited());
    are_refused([("adit", "did you mean `audit`")], with);
    let labels = &read(&with("audit")).provenance.labels;
    assert!(labels.contains(&"k8s:io.cilium.k8s.policy.uid=u-1".to_owned()));
}

#[test]
fn objects_stand_alone_or_in_lists() {
    let item = "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: p, managedFields: [{a: b}]}, spec: {endpointSelector: {}, ingress: [{}]}, status: {conditions: []}}";
    let group = "{apiVersion: cilium.io/v2alpha1, kind: CiliumCIDRGroup, metadata: {name: g, labels: {a: b}}, spec: {externalCIDRs: [10.0.0.0/8, 192.0.2.1]}}";
    let list = format!(
        "apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: \"\"}}\nitems: [{item}, {group}]\n---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicyList\nitems: [{item}]\n"
    );
    let objects = read_objects("p", &list).expect("objects");
    assert_eq!(objects.policies.len(), 2);
    assert_eq!(objects.cidr_groups[0].prefixes.len(), 2);
    let broken = list.replace("ingress: [{}]", "ingres: [{}]");
    assert!(
        faults(&broken)[0].starts_with("p:4:"),
        "{:?}",
        faults(&broken)
    );
    are_refused(
        [("Pod", "`Pod` is not one of CiliumNetworkPolicy")],
        |kind| object(kind, "{}"),
    );
}

#[test]
fn a_policy_with_every_field_is_read() {
    let text = include_str!("../../../../testdata/policies/every-field.yaml");
    let objects =
        read_objects("every-field.yaml", text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(objects.policies.len(), 3);
    let rules = objects.policies[0].specs[0].rules.len();
    assert_eq!(rules, 13, "one of each element");
}
