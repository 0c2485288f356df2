//! What is not honoured.

use super::{are_refused, egress, of_deny, of_egress, of_ingress};

#[test]
fn what_cannot_be_honoured_of_ports_is_refused_by_name_with_what_to_do() {
    let at_port = |text: &str| {
        of_egress(&format!(
            "{{toPorts: [{{ports: [{{port: \"80\", protocol: TCP}}], {text}}}]}}"
        ))
    };
    let of_ports = [
        (
            "terminatingTLS: {secret: {name: a}}",
            "terminatingTLS: TLS is not terminated",
        ),
        (
            "originatingTLS: {secret: {name: a}}",
            "originatingTLS: TLS is not originated",
        ),
        (
            "listener: {name: a}",
            "listener: connections are not handed to Envoy",
        ),
        (
            "rules: {kafka: [{topic: a}]}",
            "rules.kafka: Kafka requests are not judged",
        ),
        ("rules: {l7proto: a}", "rules.l7proto: there are no parsers"),
        ("rules: {l7: [{a: b}]}", "rules.l7: there are no parsers"),
        (
            "rules: {http: [{headerMatches: [{name: A, secret: {name: s}}]}]}",
            "secret: secrets are not read",
        ),
    ];
    are_refused(of_ports, at_port);
}

#[test]
fn what_cannot_be_honoured_of_peers_is_refused_by_name_with_what_to_do() {
    let of_element = [
        (
            "{toGroups: [{aws: {region: x}}]}",
            "toGroups: groups of a cloud provider",
        ),
        (
            "{toRequires: [{}], toEndpoints: [{}]}",
            "toRequires: removed from the schema",
        ),
        (
            "{toEndpoints: [{}], authentication: {mode: required}}",
            "authentication.mode: peers are not authenticated",
        ),
        (
            "{toEndpoints: [{}], authentication: {mode: test-always-fail}}",
            "authentication.mode: peers are not",
        ),
        (
            "{toEndpoints: [{}], authentication: {mode: none}}",
            "`none` is not one of disabled",
        ),
        (
            "{toEndpoints: [{}], auth: {type: \"null\"}}",
            "auth: unknown field",
        ),
    ];
    are_refused(of_element, of_egress);
    are_refused(
        [("{fromGroups: [{}]}", "fromGroups: groups of a cloud")],
        of_ingress,
    );
    let of_denials = [
        (
            "{toEndpoints: [{}], authentication: {mode: disabled}}",
            "deny rules take no authentication",
        ),
        (
            "{toFQDNs: [{matchName: a.io}]}",
            "deny rules cannot speak of names",
        ),
        (
            "{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{}]}}]}",
            "deny rules cannot have L7 rules",
        ),
        (
            "{toPorts: [{ports: [{port: \"443\", protocol: TCP}], serverNames: [a.io]}]}",
            "deny rules cannot have L7 rules",
        ),
    ];
    are_refused(of_denials, of_deny);
    // What asks for nothing is accepted.
    let rules = egress("{toRequires: [], toEndpoints: [{}], authentication: {mode: disabled}}");
    assert_eq!(rules.len(), 1);
}
