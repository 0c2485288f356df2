use pbjson_types::BoolValue;
use proto::flow::layer7::Record;
use proto::flow::{Endpoint, HttpHeader, Ip, Layer4, Layer7, Tcp, Workload, layer4::Protocol};

use super::*;

fn flow() -> Flow {
    Flow {
        time: Some(proto::Timestamp {
            seconds: 1_772_615_727,
            nanos: 5,
        }),
        verdict: 2,
        ip: Some(Ip {
            source: "10.0.0.1".to_owned(),
            ..Ip::default()
        }),
        l4: Some(Layer4 {
            protocol: Some(Protocol::Tcp(Tcp {
                source_port: 40000,
                destination_port: 80,
                flags: None,
            })),
        }),
        source: Some(Endpoint {
            identity: 300,
            namespace: "shop".to_owned(),
            pod_name: "web-7d5".to_owned(),
            labels: vec!["k8s:app=web".to_owned(), "k8s:tier=front".to_owned()],
            workloads: vec![Workload {
                name: "web".to_owned(),
                kind: "Deployment".to_owned(),
            }],
            ..Endpoint::default()
        }),
        l7: Some(Layer7 {
            latency_ns: 7_000_000,
            record: Some(Record::Http(proto::flow::Http {
                code: 503,
                headers: vec![HttpHeader {
                    key: "Host".to_owned(),
                    value: "cart".to_owned(),
                }],
                ..proto::flow::Http::default()
            })),
            ..Layer7::default()
        }),
        is_reply: Some(BoolValue { value: true }),
        summary: "née".to_owned(),
        ..Flow::default()
    }
}

#[test]
fn expressions_are_true_of_what_they_describe() {
    for text in [
        "_flow.l4.TCP.destination_port == 80u",
        "_flow.verdict == Verdict.DROPPED && _flow.verdict == flow.Verdict.DROPPED",
        "_flow.verdict == 2",
        "_flow.verdict in [Verdict.ERROR, Verdict.DROPPED]",
        "!(_flow.verdict != Verdict.DROPPED)",
        "_flow.source.namespace + '/' + _flow.source.pod_name == \"shop/web-7d5\"",
        "_flow.source.pod_name.startsWith('web-') && _flow.source.pod_name.endsWith('7d5')",
        "_flow.source.pod_name.matches('^web-[0-9a-f]+$') && matches(_flow.Summary, 'n.e')",
        "_flow.source.labels.exists(l, l == 'k8s:app=web')",
        "!_flow.source.labels.all(label, label.contains('app'))",
        "_flow.source.labels.exists_one(l, l.contains('tier'))",
        "_flow.source.labels.filter(l, l.contains('tier')).size() == 1",
        "_flow.source.workloads.map(w, w.kind + '/' + w.name) == ['Deployment/web']",
        "_flow.source.workloads[0].kind == 'Deployment'",
        "'k8s:app=web' in _flow.source.labels",
        "has(_flow.l7) && has(_flow.l7.http) && !has(_flow.l7.dns) && !has(_flow.uuid)",
        "_flow.l7.dns.query == '' && _flow.tunnel.l4.UDP.source_port == 0u",
        "_flow.l7.http.code >= 500u && _flow.l7.http.code < 600u",
        "_flow.l7.http.headers.exists(h, h.key == 'Host' && h.value == 'cart')",
        "double(_flow.l7.latency_ns) / 1e6 > 6.5",
        "int(_flow.l7.latency_ns / 1000000u) == 7 && uint('7') == 7u && -7 + 14 == 0x7",
        "_flow.is_reply == true && _flow.is_reply && _flow.is_reply != null",
        "_flow.time > timestamp('2026-01-01T00:00:00Z') && int(_flow.time) == 1772615727",
        "_flow.Summary.size() == 3 && size(_flow.Summary) == 3 && _flow.Summary == r'née'",
        "(_flow.reply ? 'a' : \"\\x62\") == '''b''' // not reply",
        "string(_flow.l7.http.code) == '503'",
        // What has no value on one side does not matter where the other one decides.
        "_flow.source.labels[9] == '' || true",
        "!(_flow.source.labels[9] == '' && false)",
        "_flow.policy_log.all(l, l == '') && [] == _flow.policy_log",
        "_flow.traffic_direction == TrafficDirection.TRAFFIC_DIRECTION_UNKNOWN",
        "_flow.tunnel.protocol == Tunnel.Protocol.UNKNOWN",
        "7 % 4 == 3 && 2.5 * 2.0 == 5.0 && [1] + [2] == [1, 2,]",
    ] {
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(expression.is_true_of(&flow()), "{text}");
    }
}

#[test]
fn what_is_false_or_has_no_value_is_not_true() {
    for text in [
        "false",
        "_flow.l4.UDP.destination_port == 80u",
        "_flow.source.labels[2] == ''",
        "_flow.source.labels[-1] == ''",
        "1 / (_flow.verdict - 2) == 1",
        "9223372036854775807 + 1 == 0",
    ] {
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(!expression.is_true_of(&flow()), "{text}");
    }
    let unknown = Flow::default();
    let expression = Expression::parse("_flow.is_reply == null").expect("an expression");
    assert!(expression.is_true_of(&unknown) && !expression.is_true_of(&flow()));
    let truth = Expression::parse("_flow.is_reply && true").expect("an expression");
    assert!(!truth.is_true_of(&unknown));
}

#[test]
fn what_has_no_meaning_is_refused_before_any_flow() {
    for (text, fault) in [
        ("", "the end where a value should be"),
        (
            "_flow.l4.TCP.destination_port == 80",
            "`==` between uint and int; an unsigned number has a `u` behind it: 80u",
        ),
        (
            "_flow.verdct == 1",
            "flow.Flow has no field `verdct`, did you mean `verdict`?",
        ),
        (
            "flow.verdict == 1",
            "`flow.verdict` is not known; a flow is `_flow`",
        ),
        ("verdict", "`verdict` is not known"),
        ("_flow.Summary", "it is of type string, not bool"),
        ("_flow.is_reply", "it is of type bool or null, not bool"),
        ("_flow.Summary && true", "string where bool should be"),
        ("Verdict.DENIED == 1", "`Verdict.DENIED` is not known"),
        (
            "_flow.source.labels == 'a'",
            "`==` between list(string) and string",
        ),
        (
            "_flow.source.labels.exists(l, l > 1)",
            "`>` between string and int",
        ),
        ("_flow.Summary.matches('(')", "regex parse error"),
        (
            "_flow.Summary.matches(_flow.uuid)",
            "the pattern of `matches` must",
        ),
        (
            "_flow.extensions == null",
            "`extensions` cannot be looked into",
        ),
        ("has(_flow)", "`has` is asked of a field"),
        (
            "_flow.time.getHours() == 1",
            "no `.getHours` of 0 arguments here",
        ),
        ("Flow{verdict: 1} == _flow", "messages cannot be made here"),
        ("{'a': 1} == {}", "maps cannot be made here"),
        ("true &", "'&' means nothing"),
        ("'a", "a quotation has no end"),
        ("(true", "the end where `)` should be"),
        ("true true", "`true` where the end should be"),
        (
            "99999999999999999999u == 1u",
            "`99999999999999999999`: number too large",
        ),
    ] {
        let error = Expression::parse(text).expect_err(text);
        assert!(error.starts_with(fault), "{text}: {error}");
    }
}

#[test]
fn no_expression_costs_without_bound() {
    let deep = format!("{}true{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(Expression::parse(&deep).is_err());
    assert!(Expression::parse(&"!".repeat(10_000)).is_err());
    let long = vec!["true"; 2000].join("&&");
    assert!(Expression::parse(&long).is_err());
    assert!(Expression::parse(&"a".repeat(20_000)).is_err());
    let doubling = format!("[_flow.Summary]{}[0] == ''", ".map(x, x + x)".repeat(100));
    let expression = Expression::parse(&doubling).expect("an expression");
    assert!(!expression.is_true_of(&flow()));
    let list = format!("[{}]", vec!["1"; 100].join(","));
    let nested = format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, true))))");
    let expression = Expression::parse(&nested).expect("an expression");
    assert!(!expression.is_true_of(&flow()), "it is given up");
}
