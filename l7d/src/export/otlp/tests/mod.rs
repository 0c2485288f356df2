mod arriving;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::flow::tests::dropped;
use crate::record::{
    Direction, Endpoint, EndpointId, Event, Grpc, Http, HttpKind, IdentityNumber, Network, Outcome,
    Party, Record, Text, TraceParent, Verdict, Workload,
};

fn view() -> View {
    let templates = Templates::new(["/carts/{cart}/total"]);
    View {
        node: Arc::new(NodeView {
            name: "north/n1".to_owned(),
            version: "1.2.3".to_owned(),
            seed: 7,
            ..NodeView::default()
        }),
        templates: Arc::new(ArcSwap::from_pointee(templates.expect("templates"))),
    }
}

fn pod(name: &str, kind: &str, port: u16) -> Party {
    let endpoint = Endpoint {
        id: EndpointId(3),
        identity: IdentityNumber(300),
        cluster: String::new(),
        namespace: "shop".to_owned(),
        name: format!("{name}-1"),
        labels: [].into(),
        workload: Some(Workload {
            kind: kind.to_owned(),
            name: name.to_owned(),
        }),
    };
    Party {
        addr: ([10, 0, 0, 1], port).into(),
        identity: endpoint.identity,
        endpoint: Some(Arc::new(endpoint)),
        service: None,
    }
}

/// The answer to a request of `web` to `cart`, as seen at the server.
fn answer(url: &str, code: u16) -> Record {
    let mut text = Text::default();
    let http = Http {
        kind: HttpKind::Response,
        version: 11,
        code,
        method: text.push(b"GET"),
        url: text.push(url.as_bytes()),
        headers: text.push(b"Server: x\r\nUser-Agent: curl/8\r\n"),
        latency_ns: 5_000_000,
        outcome: Outcome::Passed,
        detail: text.push(b""),
        grpc: None,
        network: Network::default(),
        trace: TraceParent::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    };
    let (cart, web) = (
        pod("cart", "Deployment", 80),
        pod("web", "StatefulSet", 4000),
    );
    let mut record = Record::new(Timestamp(1_000_000_000_000), cart, web, Event::Http(http));
    record.text = text;
    record.reply = Some(true);
    record.direction = Direction::Ingress;
    record
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a AnyValue> {
    let named: Vec<_> = attributes.iter().filter(|pair| pair.key == name).collect();
    assert!(named.len() <= 1, "{name} is there twice");
    named.first()?.value.as_ref()
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    match attribute(attributes, name).and_then(|value| value.value.clone()) {
        Some(any_value::Value::StringValue(text)) => text,
        None => String::new(),
        Some(other) => panic!("{name} is {other:?}"),
    }
}

fn number(attributes: &[KeyValue], name: &str) -> Option<i64> {
    match attribute(attributes, name)?.value {
        Some(any_value::Value::IntValue(number)) => Some(number),
        _ => panic!("{name} is no number"),
    }
}

fn logs(records: &[Record]) -> ExportLogsServiceRequest {
    let mut batch = Batch::default();
    for record in records {
        logs::add(&mut batch, record, &view(), Timestamp(9));
    }
    ExportLogsServiceRequest::decode(batch.request("1.2.3").as_slice()).expect("a request")
}

fn span(record: &Record) -> Option<(Vec<KeyValue>, Span)> {
    let mut batch = Batch::default();
    if !spans::add(&mut batch, record, &view()) {
        assert!(batch.is_empty());
        return None;
    }
    let request = batch.request("1.2.3");
    let request = ExportTraceServiceRequest::decode(request.as_slice()).expect("a request");
    let resource = &request.resource_spans[0];
    let attributes = resource.resource.clone().expect("a resource").attributes;
    Some((attributes, resource.scope_spans[0].spans[0].clone()))
}

#[test]
fn a_request_is_a_log_record_of_the_pod_that_policy_was_applied_for() {
    let request = logs(&[
        answer("http://cart:8080/items/4711?full=1", 404),
        dropped(5),
    ]);
    let [of_pod, of_node] = request.resource_logs.as_slice() else {
        panic!("{request:?}");
    };
    let resource = &of_pod.resource.as_ref().expect("a resource").attributes;
    for (name, value) in [
        ("service.name", "cart"),
        ("service.namespace", "shop"),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", "cart-1"),
        ("k8s.deployment.name", "cart"),
        ("k8s.node.name", "n1"),
        ("k8s.cluster.name", "north"),
    ] {
        assert_eq!(text(resource, name), value, "{name}");
    }
    let resource = &of_node.resource.as_ref().expect("a resource").attributes;
    assert_eq!(text(resource, "service.name"), "l7d");
    let scope = &of_pod.scope_logs[0];
    let named = scope.scope.as_ref().expect("a scope");
    assert_eq!(
        (named.name.as_str(), named.version.as_str()),
        ("l7d", "1.2.3")
    );
    let log = &scope.log_records[0];
    assert_eq!(
        (log.time_unix_nano, log.observed_time_unix_nano),
        (1_000_000_000_000, 9)
    );
    assert_eq!(
        (log.severity_number, log.severity_text.as_str()),
        (9, "INFO")
    );
    assert_eq!(log.event_name, "l7d.flow.http");
    assert_eq!(log.trace_id[..2], [0x0a, 0xf7]);
    assert_eq!((log.span_id.len(), log.flags), (8, 1));
    let body = log.body.clone().and_then(|body| body.value);
    let summary = "HTTP/1.1 404 5ms (GET http://cart:8080/items/4711?full=1)";
    assert_eq!(
        body,
        Some(any_value::Value::StringValue(summary.to_owned()))
    );
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/items/{id}"),
        ("url.scheme", "http"),
        ("url.path", "/items/4711"),
        ("url.query", "full=1"),
        ("server.address", "cart"),
        ("client.address", "10.0.0.1"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("network.transport", "tcp"),
        ("network.type", "ipv4"),
        ("network.io.direction", "receive"),
        ("user_agent.original", "curl/8"),
        ("source.address", "10.0.0.1"),
        ("source.k8s.pod.name", "cart-1"),
        ("source.k8s.deployment.name", "cart"),
        ("destination.k8s.statefulset.name", "web"),
        ("l7d.verdict", "forwarded"),
    ] {
        assert_eq!(text(&log.attributes, name), value, "{name}");
    }
    for (name, value) in [
        ("http.response.status_code", 404),
        ("server.port", 80),
        ("destination.port", 4000),
        ("l7d.latency_ns", 5_000_000),
    ] {
        assert_eq!(number(&log.attributes, name), Some(value), "{name}");
    }
    assert_eq!(attribute(&log.attributes, "error.type"), None);
}

#[test]
fn a_drop_is_a_warning_with_its_reason() {
    let mut record = dropped(5);
    record.verdict = Verdict::Dropped;
    let request = logs(&[record]);
    let log = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(
        (log.severity_number, log.event_name.as_str()),
        (13, "l7d.flow.drop")
    );
    assert_eq!(text(&log.attributes, "l7d.drop.reason"), "POLICY_DENIED");
    assert!(log.trace_id.is_empty());
}

#[test]
fn an_rpc_has_service_method_and_status() {
    let mut record = answer("http://cart/shop.Cart/Add", 200);
    if let Event::Http(http) = &mut record.event {
        http.grpc = Some(Grpc {
            status: Some(14),
            ..Grpc::default()
        });
    }
    let (_, span) = span(&record).expect("a span");
    assert_eq!(span.name, "shop.Cart/Add");
    assert_eq!(text(&span.attributes, "rpc.system"), "grpc");
    assert_eq!(text(&span.attributes, "rpc.service"), "shop.Cart");
    assert_eq!(text(&span.attributes, "rpc.method"), "Add");
    assert_eq!(text(&span.attributes, "http.route"), "/shop.Cart/Add");
    assert_eq!(number(&span.attributes, "rpc.grpc.status_code"), Some(14));
    assert_eq!(span.status.expect("a status").code(), StatusCode::Error);
}

#[test]
fn a_span_stands_below_the_one_that_the_request_was_sent_from() {
    let (resource, server) = span(&answer("http://cart/items/4711", 404)).expect("a span");
    assert_eq!(text(&resource, "service.name"), "cart");
    assert_eq!(server.name, "GET /items/{id}");
    assert_eq!(server.kind(), SpanKind::Server);
    assert_eq!(
        server.parent_span_id,
        [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]
    );
    assert_eq!((server.trace_id.len(), server.span_id.len()), (16, 8));
    assert_eq!(
        server.end_time_unix_nano - server.start_time_unix_nano,
        5_000_000
    );
    assert_eq!(
        (server.end_time_unix_nano, server.flags),
        (1_000_000_000_000, 1)
    );
    // What the client did wrong is no error of the server.
    assert_eq!(server.status, None);
    let (_, given) = span(&answer("http://cart/carts/mine/total", 200)).expect("a span");
    assert_eq!(given.name, "GET /carts/{cart}/total");
    let mut record = answer("http://cart/items/4711", 404);
    record.direction = Direction::Egress;
    let (resource, client) = span(&record).expect("a span");
    assert_eq!(text(&resource, "service.name"), "web");
    assert_eq!(client.kind(), SpanKind::Client);
    assert_eq!(client.status.expect("a status").code(), StatusCode::Error);
}

#[test]
fn what_is_part_of_no_trace_that_is_kept_makes_no_span() {
    let with = |change: fn(&mut Http)| {
        let mut record = answer("http://cart/", 200);
        if let Event::Http(http) = &mut record.event {
            change(http);
        }
        span(&record)
    };
    assert!(with(|_| {}).is_some());
    assert!(with(|http| http.trace = None).is_none());
    assert!(
        with(|http| http.trace = http.trace.map(|trace| TraceParent { flags: 0, ..trace }))
            .is_none()
    );
    assert!(with(|http| http.kind = HttpKind::Request).is_none());
    assert!(span(&dropped(1)).is_none());
}

proptest! {
    #[test]
    fn any_text_makes_a_request_that_can_be_read(
        url in prop::collection::vec(any::<u8>(), 0..300),
        method in prop::collection::vec(any::<u8>(), 0..10),
        count in 1_usize..40,
    ) {
        let mut record = answer("", 200);
        if let Event::Http(http) = &mut record.event {
            http.url = record.text.push(&url);
            http.method = record.text.push(&method);
        }
        let request = logs(&vec![record; count]);
        // Each of these has endpoints of its own: one and the same is one resource.
        let records: usize = request.resource_logs.iter()
            .flat_map(|resource| &resource.scope_logs)
            .map(|scope| scope.log_records.len())
            .sum();
        prop_assert_eq!(records, count);
        prop_assert_eq!(request.resource_logs.len(), 1);
    }
}
