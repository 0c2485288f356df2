use proto::flow::{EventTypeFilter, HttpHeader, TcpFlags, Verdict as PbVerdict};

use super::*;
use crate::clock::Timestamp;
use crate::record::{
    Direction, Endpoint, EndpointId, Event, Http, HttpKind, IdentityNumber, L4, Outcome, Text,
    Workload,
};

fn record() -> Record {
    let party = |name: &str, ip: [u8; 4], port: u16| Party {
        addr: (ip, port).into(),
        identity: IdentityNumber(u32::from(port) + 1000),
        endpoint: Some(Arc::new(Endpoint {
            id: EndpointId(20),
            identity: IdentityNumber(u32::from(port) + 1000),
            cluster: String::new(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: [format!("k8s:app={name}"), "k8s:tier=logic".to_owned()].into(),
            workload: Some(Workload {
                kind: "Deployment".to_owned(),
                name: name.to_owned(),
            }),
        })),
        service: None,
    };
    let mut text = Text::default();
    let http = Http {
        kind: HttpKind::Response,
        version: 11,
        code: 404,
        method: text.push(b"GET"),
        url: text.push(b"http://cart/items/7?full=1"),
        headers: text.push(b"content-type: text/plain\r\n"),
        latency_ns: 1,
        outcome: Outcome::Passed,
        detail: text.push(b""),
        grpc: None,
        network: crate::record::Network::default(),
        trace: None,
    };
    let mut record = Record::new(
        Timestamp(5),
        party("web-1", [10, 0, 0, 1], 4000),
        party("cart-1", [10, 0, 1, 1], 80),
        Event::Http(http),
    );
    record.text = text;
    record.reply = Some(true);
    record.direction = Direction::Ingress;
    record
}

fn node() -> Arc<NodeView> {
    Arc::new(NodeView {
        name: "n1".to_owned(),
        seed: 1,
        ..NodeView::default()
    })
}

fn passes(filter: FlowFilter) -> bool {
    Filters::new(&[filter], &[], &node())
        .expect("a filter")
        .pass(&record())
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_field_matches_and_misses() {
    let f = FlowFilter::default;
    let header = |value: &str| HttpHeader {
        key: "Content-Type".to_owned(),
        value: value.to_owned(),
    };
    let kind = |kind, sub_type, match_sub_type| EventTypeFilter {
        r#type: kind,
        sub_type,
        match_sub_type,
    };
    let cases = vec![
        (
            FlowFilter {
                source_ip: texts(&["10.0.0.0/24"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                source_ip: texts(&["10.0.0.2"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                source_pod: texts(&["shop/web"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                source_pod: texts(&["web"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                destination_pod: texts(&["shop/"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                destination_pod: texts(&["/cart"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                source_label: texts(&["app=web-1,tier in (logic,data)"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                source_label: texts(&["k8s:app=web-1,!tier"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                source_label: texts(&["app!=web-1"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                source_identity: vec![5000],
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                destination_identity: vec![5000],
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                destination_port: texts(&["80"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                destination_port: texts(&["81"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                protocol: texts(&["HTTP"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                protocol: texts(&["udp", "dns"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                verdict: vec![PbVerdict::Forwarded.into()],
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                verdict: vec![PbVerdict::Dropped.into()],
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                event_type: vec![kind(129, 0, false)],
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                event_type: vec![kind(4, 0, true)],
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                event_type: vec![kind(0, 0, false)],
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                reply: vec![true],
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                reply: vec![false],
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                http_status_code: texts(&["4+"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                http_status_code: texts(&["50+", "200"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                http_method: texts(&["get"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                http_path: texts(&["^/items/[0-9]+$"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                http_path: texts(&["full"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                http_url: texts(&["full=1"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                http_header: vec![header("text/plain")],
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                http_header: vec![header("text/html")],
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                tcp_flags: vec![TcpFlags {
                    syn: true,
                    ..TcpFlags::default()
                }],
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                node_name: texts(&["n*"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                node_name: texts(&["default/n1"]),
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                node_name: texts(&["n2"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                ip_version: vec![1],
                ..f()
            },
            true,
        ),
        (
            FlowFilter {
                ip_version: vec![2],
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                source_fqdn: texts(&["*"]),
                ..f()
            },
            false,
        ),
        (
            FlowFilter {
                uuid: vec![node().uuid(&record())],
                ..f()
            },
            true,
        ),
        (f(), true),
    ];
    for (filter, expected) in cases {
        assert_eq!(passes(filter.clone()), expected, "{filter:?}");
    }
}

#[test]
fn a_drop_counts_as_a_request() {
    let mut record = record();
    record.reply = None;
    record.verdict = crate::record::Verdict::Dropped;
    record.l4 = L4::Tcp { flags: 0x12 };
    let pass = |filter: FlowFilter| {
        Filters::new(&[filter], &[], &node())
            .expect("a filter")
            .pass(&record)
    };
    assert!(pass(FlowFilter {
        reply: vec![false],
        ..FlowFilter::default()
    }));
    assert!(!pass(FlowFilter {
        reply: vec![true],
        ..FlowFilter::default()
    }));
    let syn = TcpFlags {
        syn: true,
        ..TcpFlags::default()
    };
    assert!(pass(FlowFilter {
        tcp_flags: vec![syn],
        ..FlowFilter::default()
    }));
}

#[test]
fn bad_values_are_refused_by_name() {
    let f = FlowFilter::default;
    for (filter, expected) in [
        (
            FlowFilter {
                source_ip: texts(&["10.0.0.300"]),
                ..f()
            },
            "invalid filter: ip: `10.0.0.300` is neither",
        ),
        (
            FlowFilter {
                protocol: texts(&["htp"]),
                ..f()
            },
            "invalid filter: protocol: `htp` is not one of",
        ),
        (
            FlowFilter {
                destination_port: texts(&["http"]),
                ..f()
            },
            "invalid filter: port: `http` is not a port",
        ),
        (
            FlowFilter {
                http_status_code: texts(&["600"]),
                ..f()
            },
            "invalid filter: http_status_code",
        ),
        (
            FlowFilter {
                http_path: texts(&["("]),
                ..f()
            },
            "invalid filter: http_path",
        ),
        (
            FlowFilter {
                source_label: texts(&["a in x"]),
                ..f()
            },
            "invalid filter: label",
        ),
        (
            FlowFilter {
                source_pod: texts(&[""]),
                ..f()
            },
            "invalid filter: pod",
        ),
    ] {
        let error = Filters::new(&[filter], &[], &node()).expect_err("a fault");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn the_black_list_wins() {
    let all = FlowFilter::default();
    let filters = Filters::new(
        std::slice::from_ref(&all),
        std::slice::from_ref(&all),
        &node(),
    )
    .expect("filters");
    assert!(!filters.pass(&record()));
}
