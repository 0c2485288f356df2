use proto::flow::layer7::Record;
use proto::flow::{Dns, Endpoint, Http, HttpHeader, Ip, L7FlowType, Layer4, Layer7, Policy, Tcp};

use super::*;
use crate::map::Outcome;

fn end(name: &str) -> Endpoint {
    Endpoint {
        namespace: "shop".to_owned(),
        pod_name: name.to_owned(),
        ..Endpoint::default()
    }
}

fn tcp(from: u32, to: u32) -> Layer4 {
    Layer4 {
        protocol: Some(L4::Tcp(Tcp {
            source_port: from,
            destination_port: to,
            ..Tcp::default()
        })),
    }
}

fn between(source: &str, destination: &str, ports: (u32, u32)) -> Flow {
    Flow {
        ip: Some(Ip {
            source: "10.0.0.1".to_owned(),
            destination: "10.0.0.2".to_owned(),
            ..Ip::default()
        }),
        source: Some(end(source)),
        destination: Some(end(destination)),
        l4: Some(tcp(ports.0, ports.1)),
        traffic_direction: TrafficDirection::Ingress.into(),
        ..Flow::default()
    }
}

fn answer(code: u32, url: &str, extensions: &[(&str, &str)]) -> Flow {
    let texts = extensions
        .iter()
        .map(|(name, text)| (*name, (*text).to_owned()));
    Flow {
        is_reply: Some(true.into()),
        extensions: Some(proto::Any::of_texts(texts)),
        event_type: Some(pb::CiliumEventType {
            r#type: L7,
            sub_type: 0,
        }),
        l7: Some(Layer7 {
            r#type: L7FlowType::Response.into(),
            latency_ns: 3_000_000,
            record: Some(Record::Http(Http {
                code,
                method: "GET".to_owned(),
                url: url.to_owned(),
                ..Http::default()
            })),
        }),
        ..between("cart", "web", (8080, 40_000))
    }
}

fn read(flow: &Flow) -> Sighting {
    Reader::default().read(flow).unwrap()
}

fn outcome_of(flow: &Flow) -> (String, Outcome) {
    match read(flow).what {
        What::Answer {
            operation, outcome, ..
        } => (operation, outcome),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_is_of_who_asked() {
    let seen = read(&answer(200, "http://cart:8080/items/4711?x=1", &[]));
    assert_eq!(seen.client.shown(), "shop/web");
    assert_eq!(seen.server.shown(), "shop/cart");
    assert_eq!((seen.port, seen.protocol), (8080, Protocol::Http));
    assert_eq!(
        seen.what,
        What::Answer {
            operation: "GET /items/{id}".to_owned(),
            latency_ns: 3_000_000,
            outcome: Outcome::Good,
        }
    );
}

#[test]
fn answers_fail_by_their_server_or_by_their_client() {
    let told =
        |code, extensions: &[(&str, &str)]| match outcome_of(&answer(code, "/", extensions)).1 {
            Outcome::Good => "good".to_owned(),
            Outcome::Rejected(reason) => format!("rejected: {}", reason.text),
            Outcome::Failed(reason) => format!("{:?}: {}", reason.fault, reason.text),
        };
    assert_eq!(told(204, &[]), "good");
    assert_eq!(told(404, &[]), "rejected: HTTP 404");
    assert_eq!(told(503, &[]), "Error: HTTP 503");
    assert_eq!(told(0, &[]), "Unanswered: no answer");
    let refused = [("outcome", "upstream_refused")];
    assert_eq!(
        told(0, &refused),
        "Unanswered: the server refused the connection"
    );
    assert_eq!(told(200, &[("grpc_status", "0")]), "good");
    assert_eq!(
        told(200, &[("grpc_status", "5")]),
        "rejected: gRPC 5 NOT_FOUND"
    );
    assert_eq!(
        told(200, &[("grpc_status", "14")]),
        "Error: gRPC 14 UNAVAILABLE"
    );
    assert_eq!(told(200, &[("grpc_status", "99")]), "Error: gRPC 99 ");
}

#[test]
fn methods_of_grpc_keep_their_names() {
    let mut flow = answer(200, "http://cart:8080/shop.Cart/AddItem", &[]);
    if let Some(Layer7 {
        record: Some(Record::Http(http)),
        ..
    }) = &mut flow.l7
    {
        http.headers.push(HttpHeader {
            key: "Content-Type".to_owned(),
            value: "application/grpc+proto".to_owned(),
        });
    }
    assert_eq!(read(&flow).protocol, Protocol::Grpc);
    assert_eq!(outcome_of(&flow).0, "/shop.Cart/AddItem");
}

#[test]
fn a_denied_request_tells_its_policy() {
    let flow = Flow {
        verdict: pb::Verdict::Dropped.into(),
        ingress_denied_by: vec![Policy {
            name: "cart".to_owned(),
            namespace: "shop".to_owned(),
            kind: "CiliumNetworkPolicy".to_owned(),
            ..Policy::default()
        }],
        is_reply: Some(false.into()),
        l7: Some(Layer7 {
            r#type: L7FlowType::Request.into(),
            record: Some(Record::Http(Http {
                method: "DELETE".to_owned(),
                url: "/items/7".to_owned(),
                ..Http::default()
            })),
            ..Layer7::default()
        }),
        ..between("web", "cart", (40_000, 8080))
    };
    let What::Refused { operation, reason } = read(&flow).what else {
        panic!("not refused");
    };
    assert_eq!(operation, "DELETE /items/{id}");
    assert_eq!(reason.fault, Fault::Denied);
    assert_eq!(reason.by, "CiliumNetworkPolicy shop/cart");
}

#[test]
fn drops_without_a_direction_go_by_their_ports() {
    let event = |r#type| {
        Some(pb::CiliumEventType {
            r#type,
            sub_type: 133,
        })
    };
    let dropped = Flow {
        verdict: pb::Verdict::Dropped.into(),
        drop_reason_desc: 133,
        event_type: event(DROP),
        ..between("cart", "web", (8080, 40_000))
    };
    let seen = read(&dropped);
    assert_eq!(seen.client.shown(), "shop/web");
    assert_eq!(seen.port, 8080);
    let What::Dropped { reason, is_verdict } = seen.what else {
        panic!("not dropped");
    };
    assert_eq!((reason.text.as_str(), is_verdict), ("Policy denied", false));
    let verdict = Flow {
        event_type: event(POLICY_VERDICT),
        ..dropped
    };
    assert!(matches!(
        read(&verdict).what,
        What::Dropped {
            is_verdict: true,
            ..
        }
    ));
}

#[test]
fn a_kernels_drop_tells_its_place_or_the_rule() {
    let dropped = |extensions: &[(&str, &str)]| {
        let texts = extensions
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()));
        let flow = Flow {
            verdict: pb::Verdict::Dropped.into(),
            event_type: Some(pb::CiliumEventType {
                r#type: DROP,
                sub_type: 255,
            }),
            extensions: Some(proto::Any::of_texts(texts)),
            ..between("web", "cart", (40_000, 8080))
        };
        match read(&flow).what {
            What::Dropped { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    };
    let reason = dropped(&[("drop_reason", "NO_SOCKET"), ("drop_place", "tcp_v4_rcv")]);
    assert_eq!(reason.fault, Fault::Dropped);
    assert_eq!(
        (reason.text.as_str(), reason.by.as_str()),
        ("NO_SOCKET", "tcp_v4_rcv")
    );
    let reason = dropped(&[
        ("drop_reason", "NETFILTER_DROP"),
        ("netfilter", "inet filter input"),
    ]);
    assert_eq!(reason.by, "inet filter input");
}

#[test]
fn hostile_texts_are_one_line_of_bounded_length() {
    let url = format!("/\u{1b}[31m\n{}", "word/".repeat(2000));
    let (operation, _) = outcome_of(&answer(200, &url, &[]));
    assert!(operation.chars().count() <= REASON_CHARS);
    assert!(!operation.contains(char::is_control), "{operation:?}");
}

#[test]
fn a_query_is_an_operation() {
    let mut flow = answer(0, "", &[]);
    flow.l7 = Some(Layer7 {
        r#type: L7FlowType::Response.into(),
        record: Some(Record::Dns(Dns {
            query: "cart.shop.svc.".to_owned(),
            qtypes: vec!["A".to_owned()],
            rcode: 3,
            ..Dns::default()
        })),
        ..Layer7::default()
    });
    let (operation, outcome) = outcome_of(&flow);
    assert_eq!(operation, "A cart.shop.svc");
    assert!(matches!(outcome, Outcome::Rejected(_)));
}
