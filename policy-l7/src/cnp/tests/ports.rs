//! Ports, protocols and ICMP types.

use super::{are_refused, egress, of_egress, of_ingress};
use crate::rule::PortRange;

fn at_ports(ports: &str) -> String {
    of_egress(&format!("{{toPorts: [{{ports: [{ports}]}}]}}"))
}

#[test]
fn ports_are_numbers_ranges_and_names_of_a_protocol() {
    use PortRange::{Any, Between, Named};
    for (port, protocol, range) in [
        ("{port: \"80\"}", None, Between(80, 80)),
        ("{port: 80, protocol: ANY}", None, Between(80, 80)),
        ("{port: \"80\", protocol: tcp}", Some(6), Between(80, 80)),
        ("{port: \"80\", protocol: Udp}", Some(17), Between(80, 80)),
        (
            "{port: \"80\", endPort: 90, protocol: SCTP}",
            Some(132),
            Between(80, 90),
        ),
        ("{port: \"80\", endPort: 80}", None, Between(80, 80)),
        ("{port: \"80\", endPort: 0}", None, Between(80, 80)),
        ("{port: \"0\", protocol: TCP}", Some(6), Any),
        ("{protocol: UDP}", Some(17), Any),
        ("{port: Web-API}", None, Named("web-api".to_owned())),
        ("{protocol: VRRP}", Some(112), Any),
        ("{port: \"0\", protocol: gre}", Some(47), Any),
    ] {
        let rules = egress(&format!("{{toPorts: [{{ports: [{port}]}}]}}"));
        assert_eq!(rules[0].ports[0].protocol, protocol, "{port}");
        assert_eq!(rules[0].ports[0].range, range, "{port}");
    }
    let wrong = [
        ("{port: \"65536\"}", "`65536` is not a port from 0 to 65535"),
        ("{port: a_b}", "neither a port number nor a port name"),
        ("{port: \"90\", endPort: 80}", "endPort 80 is below port 90"),
        ("{port: web, endPort: 80}", "a range has no names"),
        ("{endPort: 80}", "`endPort` needs a `port`"),
        ("{port: \"0\", endPort: 80}", "no range begins with it"),
        ("{port: \"80\", protocol: ICMP}", "`ICMP` is not one of ANY"),
        (
            "{port: \"80\", protocol: ESP}",
            "this protocol has no ports",
        ),
        ("{prot: \"80\"}", "did you mean `port`"),
    ];
    are_refused(wrong, at_ports);
    let many = vec!["{port: \"80\"}"; 41].join(", ");
    are_refused([(many.as_str(), "more than 40 `ports`")], at_ports);
}

#[test]
fn l7_rules_need_ports_of_their_protocol() {
    let at_rule = |text: &str| of_egress(&format!("{{toPorts: [{text}]}}"));
    let http = "HTTP rules need ports, each with `protocol: TCP` written out and not 0";
    let dns = "DNS rules need ports, such as 53";
    let wrong = [
        ("{ports: [{port: \"80\"}], rules: {http: [{}]}}", http),
        (
            "{ports: [{port: \"80\", protocol: ANY}], rules: {http: [{}]}}",
            http,
        ),
        (
            "{ports: [{port: \"0\", protocol: TCP}], rules: {http: [{}]}}",
            http,
        ),
        ("{rules: {http: [{}]}}", http),
        ("{rules: {dns: [{matchName: a.io}]}}", dns),
        (
            "{ports: [{port: \"53\", endPort: 54}], rules: {dns: [{matchName: a.io}]}}",
            dns,
        ),
        (
            "{ports: [{port: \"53\", protocol: SCTP}], rules: {dns: [{matchName: a.io}]}}",
            dns,
        ),
        (
            "{ports: [{port: \"53\", protocol: TCP}], rules: {http: [{}], dns: [{matchName: a.io}]}}",
            "`http` and `dns` cannot stand in one rule",
        ),
    ];
    are_refused(wrong, at_rule);
    let ingress = "{toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchName: a.io}]}}]}";
    are_refused([(ingress, "DNS rules are for egress only")], of_ingress);
}

#[test]
fn icmp_types_are_numbers_or_names_of_their_family() {
    for (field, protocol, kind) in [
        ("{type: 8}", 1, 8),
        ("{type: \"255\", family: IPv6}", 58, 255),
        ("{type: EchoRequest}", 1, 8),
        ("{type: Echo, family: IPv4}", 1, 8),
        ("{type: EchoRequest, family: IPv6}", 58, 128),
        ("{type: ParameterProblem}", 1, 12),
        ("{type: ParameterProblem, family: IPv6}", 58, 4),
        ("{type: NeighborSolicitation, family: IPv6}", 58, 135),
        ("{type: ExtendedEchoReply, family: IPv6}", 58, 161),
        ("{type: Photuris}", 1, 40),
    ] {
        let rules = egress(&format!("{{icmps: [{{fields: [{field}]}}]}}"));
        assert_eq!(rules[0].ports[0].protocol, Some(protocol), "{field}");
        assert_eq!(
            rules[0].ports[0].range,
            PortRange::Between(kind, kind),
            "{field}"
        );
    }
    let at_fields = |text: &str| of_egress(&format!("{{icmps: [{{fields: [{text}]}}]}}"));
    let wrong = [
        ("{type: 256}", "`256` is not an ICMP type from 0 to 255"),
        ("{type: -1}", "`-1` is not one of"),
        ("{type: PacketTooBig}", "`PacketTooBig` is not one of"),
        ("{type: echoRequest}", "did you mean `EchoRequest`"),
        ("{type: Redirect, family: IPv6}", "`Redirect` is not one of"),
        ("{type: 8, family: ipv4}", "did you mean `IPv4`"),
        ("{family: IPv4}", "`type` is missing"),
        ("", "`fields` names no ICMP type"),
    ];
    are_refused(wrong, at_fields);
    let many = vec!["{type: 8}"; 41].join(", ");
    are_refused([(many.as_str(), "more than 40 `fields`")], at_fields);
    let both = "{icmps: [{fields: [{type: 8}]}], toPorts: [{ports: [{port: \"80\"}]}]}";
    are_refused(
        [(both, "toPorts and icmps cannot stand in one element")],
        of_egress,
    );
}

#[test]
fn a_port_that_cannot_be_read_does_not_become_all_of_them() {
    let text = of_egress("{toPorts: [{ports: [{port: \"99999\"}]}]}");
    assert_eq!(super::faults(&text).len(), 1);
}
