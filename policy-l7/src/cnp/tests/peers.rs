//! Peers of an element.

use super::{are_refused, egress, of_egress};
use crate::selector::Peers;

#[test]
fn a_rule_has_one_kind_of_peers() {
    let both = [
        (
            "{toEndpoints: [{}], toEntities: [world]}",
            "toEntities: `toEndpoints` stands here too",
        ),
        (
            "{toCIDR: [10.0.0.0/8], toCIDRSet: [{cidr: 10.0.0.0/8}]}",
            "`toCIDR` stands here too",
        ),
        (
            "{toNodes: [{}], toServices: []}",
            "`toNodes` stands here too",
        ),
        (
            "{toFQDNs: [{matchName: a.io}], toCIDR: [10.0.0.0/8]}",
            "`toCIDR` stands here too",
        ),
    ];
    are_refused(both, of_egress);
}

#[test]
fn address_blocks_are_written_out_or_stand_in_groups() {
    for (element, expected) in [
        ("{toCIDR: [10.1.2.3, 10.0.0.1/8]}", "10.1.2.3/32 10.0.0.0/8"),
        (
            "{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}",
            "10.0.0.0/8-10.1.0.0/16",
        ),
        ("{toCIDRSet: [{cidrGroupRef: offices}]}", "offices"),
        (
            "{toCIDRSet: [{cidrGroupRef: offices, except: [10.1.0.0/16]}, {cidr: 10.0.0.0/8}]}",
            "offices-10.1.0.0/16 10.0.0.0/8",
        ),
        (
            "{toCIDRSet: [{cidrGroupSelector: {matchLabels: {team: x}}}]}",
            "team",
        ),
    ] {
        let rules = egress(element);
        let rule = rules.first().expect("a rule");
        let without = |except: &[ipnet::IpNet]| {
            let parts = except.iter().map(|part| format!("-{part}"));
            parts.collect::<String>()
        };
        let told: Vec<String> = match &rule.peers {
            Peers::Cidrs(rules) => {
                let told = rules
                    .iter()
                    .map(|rule| format!("{}{}", rule.prefix, without(&rule.except)));
                told.collect()
            }
            Peers::CidrSets(sets) => {
                use crate::selector::CidrSource;
                let told = sets.iter().map(|set| {
                    let of = match &set.of {
                        CidrSource::Group(name) => name.clone(),
                        CidrSource::Groups(selector) => selector.0[0].key.clone(),
                        CidrSource::Prefix(prefix) => prefix.to_string(),
                    };
                    format!("{of}{}", without(&set.except))
                });
                told.collect()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(told.join(" "), expected);
    }
    let wrong = [
        (
            "{toCIDR: [10.0.0.0/33]}",
            "`10.0.0.0/33` is not an address or a prefix",
        ),
        (
            "{toCIDRSet: [{cidr: 10.0.0.1}]}",
            "`10.0.0.1` is not a prefix",
        ),
        (
            "{toCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]}",
            "11.0.0.0/16 is not inside 10.0.0.0/8",
        ),
        (
            "{toCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: a}]}",
            "exactly one of `cidr`",
        ),
        (
            "{toCIDRSet: [{except: [10.0.0.0/8]}]}",
            "exactly one of `cidr`",
        ),
    ];
    are_refused(wrong, of_egress);
}

#[test]
fn services_are_named_or_selected() {
    let rules = egress(
        "{toServices: [{k8sService: {serviceName: db, namespace: shop}}, {k8sServiceSelector: {selector: {matchLabels: {tier: x}}}}]}",
    );
    let Peers::Services(services) = &rules[0].peers else {
        panic!("{:?}", rules[0]);
    };
    assert_eq!(services[0].namespace.as_deref(), Some("shop"));
    assert_eq!(services[1].namespace, None);
    let wrong = [
        ("{toServices: [{}]}", "either `k8sService` or"),
        (
            "{toServices: [{k8sService: {serviceName: a}, k8sServiceSelector: {selector: {}}}]}",
            "either `k8sService` or",
        ),
        (
            "{toServices: [{k8sService: {namespace: a}}]}",
            "`serviceName` is missing",
        ),
        (
            "{toServices: [{k8sServiceSelector: {namespace: a}}]}",
            "`selector` is missing",
        ),
        (
            "{toServices: [{k8sService: {servceName: a, serviceName: a}}]}",
            "did you mean `serviceName`",
        ),
    ];
    are_refused(wrong, of_egress);
}

#[test]
fn selectors_of_nodes_look_at_labels_of_nodes() {
    let rules = egress("{toNodes: [{matchLabels: {zone: a, \"node:rack\": b}}]}");
    let Peers::Nodes(selectors) = &rules[0].peers else {
        panic!("{:?}", rules[0]);
    };
    assert!(
        selectors[0]
            .0
            .iter()
            .all(|requirement| requirement.source == "node")
    );
}
