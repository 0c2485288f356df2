//! Filters are one language: what a filter lets pass of records, in an agent, it lets pass of the same
//! flows, in a file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use l7d::cli::matcher::Matcher;
use l7d::cli::observe::raw;
use l7d::clock::Timestamp;
use l7d::flow::filter::Filters;
use l7d::flow::view::{Interfaces, NodeView};
use l7d::record::{
    ConnState, Direction, Dns, DnsNames, DropReason, Endpoint, EndpointId, Event, Http, HttpKind,
    IdentityNumber, L4, Network, Outcome, Party, Record, Service, TcpHealth, Text, Trace,
    TraceParent, TracePoint, Translation, Verdict, Why, Workload,
};

fn node() -> Arc<NodeView> {
    let interfaces = Interfaces::default();
    interfaces.learn(7, "eth0");
    Arc::new(NodeView {
        name: "c1/n1".to_owned(),
        seed: 1,
        labels: vec!["zone=a".to_owned()].into(),
        interfaces,
        ..NodeView::default()
    })
}

fn party(name: &str, address: &str, identity: u32) -> Party {
    let addr = address.parse().unwrap();
    if name.is_empty() {
        return Party::unnamed(addr, IdentityNumber(identity));
    }
    let endpoint = Endpoint {
        id: EndpointId(20),
        identity: IdentityNumber(identity),
        cluster: "c1".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        labels: [format!("k8s:app={name}"), "k8s:tier=3".to_owned()].into(),
        workload: (name == "web").then(|| Workload {
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
        }),
    };
    Party {
        addr,
        identity: endpoint.identity,
        service: (name == "cart").then(|| {
            Arc::new(Service {
                name: "cart".to_owned(),
                namespace: "shop".to_owned(),
            })
        }),
        endpoint: Some(Arc::new(endpoint)),
    }
}

fn web() -> Party {
    party("web", "10.0.0.10:40000", 4711)
}

fn cart() -> Party {
    party("cart", "10.0.0.20:8080", 9042)
}

fn world() -> Party {
    party("", "203.0.113.9:443", 2)
}

fn http(kind: HttpKind, code: u16, url: &str) -> Record {
    let mut text = Text::default();
    let event = Event::Http(Http {
        kind,
        version: 11,
        code,
        method: text.push(b"GET"),
        url: text.push(url.as_bytes()),
        headers: text.push(b"content-type: text/plain\r\nhost: cart\r\n"),
        latency_ns: 1,
        outcome: Outcome::Passed,
        detail: text.push(b""),
        grpc: None,
        network: Network::default(),
        trace: TraceParent::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    });
    let ends = if kind == HttpKind::Response {
        (cart(), web())
    } else {
        (web(), cart())
    };
    let mut record = Record::new(Timestamp(1), ends.0, ends.1, event);
    record.text = text;
    record.reply = Some(kind == HttpKind::Response);
    record.direction = Direction::Ingress;
    record
}

fn dns() -> Record {
    let mut text = Text::default();
    let event = Event::Dns(Dns {
        is_response: false,
        query: text.push(b"api.example.com."),
        query_types: text.push(b"A"),
        ..Dns::default()
    });
    let mut record = Record::new(Timestamp(2), web(), world(), event);
    record.text = text;
    record.l4 = L4::Udp;
    record.reply = Some(false);
    record.direction = Direction::Egress;
    record
}

fn trace(l4: L4, point: TracePoint, ends: (Party, Party)) -> Record {
    let event = Event::Trace(Trace {
        point,
        state: ConnState::New,
        why: Why::First,
        packets: 1,
        bytes: 60,
        health: TcpHealth::default(),
    });
    let mut record = Record::new(Timestamp(3), ends.0, ends.1, event);
    record.l4 = l4;
    record.reply = Some(false);
    record.interface = 7;
    record
}

/// One of each kind, with everything that a filter can ask about.
fn records() -> Vec<Record> {
    let mut out = trace(
        L4::Tcp { flags: 0x12 },
        TracePoint::ToStack,
        (web(), world()),
    );
    out.direction = Direction::Egress;
    out.destination_names = Some(Arc::new(DnsNames(vec!["api.example.com".into()])));
    out.translation = Some(Arc::new(Translation {
        source: out.source.clone(),
        destination: out.destination.clone(),
        source_after: "192.0.2.1:1025".parse().unwrap(),
        destination_after: out.destination.clone(),
    }));
    let six = (
        party("web", "[fd00::a]:1", 4711),
        party("cart", "[fd00::14]:2", 9042),
    );
    let mut drop = Record::new(
        Timestamp(4),
        web(),
        cart(),
        Event::Drop {
            reason: DropReason::POLICY_DENIED,
            kernel: None,
        },
    );
    drop.verdict = Verdict::Dropped;
    drop.l4 = L4::Tcp { flags: 0x02 };
    let mut verdict = Record::new(
        Timestamp(5),
        world(),
        web(),
        Event::PolicyVerdict {
            match_type: 2,
            reason: None,
        },
    );
    verdict.verdict = Verdict::Redirected;
    verdict.interface = 8;
    verdict.l4 = L4::Sctp;
    let mut all = vec![
        http(HttpKind::Request, 0, "http://cart:8080/items/7?full=1"),
        http(HttpKind::Response, 404, "http://cart:8080/a%20b"),
        http(HttpKind::Response, 503, "cart:8080"),
        dns(),
        out,
        trace(
            L4::Icmp6 { kind: 128, code: 0 },
            TracePoint::ToEndpoint,
            six,
        ),
        trace(
            L4::Icmp4 { kind: 3, code: 3 },
            TracePoint::FromNetwork,
            (world(), web()),
        ),
        drop,
        verdict,
    ];
    // In a ring, times are unique.
    for (record, time) in all.iter_mut().zip(1..) {
        record.time = Timestamp(time);
    }
    all
}

/// Each is true of some of the records, and not of all.
const FILTERS: &[&str] = &[
    r#"{"source_ip":["10.0.0.10"]}"#,
    r#"{"source_ip":["10.0.0.0/28"]}"#,
    r#"{"destination_ip":["fd00::/64"]}"#,
    r#"{"source_ip_xlated":["192.0.2.0/24"]}"#,
    r#"{"source_pod":["shop/web"]}"#,
    r#"{"source_pod":["shop/"]}"#,
    r#"{"destination_pod":["/ca"]}"#,
    r#"{"destination_pod":["/"]}"#,
    r#"{"source_fqdn":["*"],"destination_fqdn":["*"]}"#,
    r#"{"destination_fqdn":["*.Example.com."]}"#,
    r#"{"source_label":["app=web,tier>2"]}"#,
    r#"{"source_label":["k8s:app in (cart)","!app"]}"#,
    r#"{"destination_label":["app notin(web)"]}"#,
    r#"{"destination_service":["shop/c"]}"#,
    r#"{"source_service":["/"]}"#,
    r#"{"source_workload":[{"kind":"Deployment"}]}"#,
    r#"{"destination_workload":[{"name":"web"}]}"#,
    r#"{"source_identity":[4711]}"#,
    r#"{"destination_identity":[2,9042]}"#,
    r#"{"source_cluster_name":["c*"]}"#,
    r#"{"destination_cluster_name":["c1"]}"#,
    r#"{"verdict":["DROPPED","REDIRECTED"]}"#,
    r#"{"drop_reason_desc":["POLICY_DENIED"]}"#,
    r#"{"traffic_direction":["EGRESS"]}"#,
    r#"{"traffic_direction":["TRAFFIC_DIRECTION_UNKNOWN"]}"#,
    r#"{"event_type":[{"type":129}]}"#,
    r#"{"event_type":[{"type":4,"match_sub_type":true,"sub_type":3}]}"#,
    r#"{"event_type":[{"type":0,"match_sub_type":true,"sub_type":10}]}"#,
    r#"{"reply":[true]}"#,
    r#"{"reply":[false]}"#,
    r#"{"http_status_code":["404"]}"#,
    r#"{"http_status_code":["5+","1+"]}"#,
    r#"{"http_method":["get"]}"#,
    r#"{"http_path":["^/items/[0-9]+$"]}"#,
    r#"{"http_path":["^/a b$","^$"]}"#,
    r#"{"http_url":["full=1"]}"#,
    r#"{"http_header":[{"key":"Host","value":"cart"}]}"#,
    r#"{"dns_query":["example\\.com\\.$"]}"#,
    r#"{"protocol":["http","icmp"]}"#,
    r#"{"protocol":["ICMPv4"]}"#,
    r#"{"protocol":["icmpv6","sctp"]}"#,
    r#"{"protocol":["tcp"]}"#,
    r#"{"protocol":["udp"]}"#,
    r#"{"protocol":["dns"]}"#,
    r#"{"source_port":["40000"]}"#,
    r#"{"destination_port":["443","2"]}"#,
    r#"{"tcp_flags":[{"SYN":true}]}"#,
    r#"{"tcp_flags":[{"SYN":true,"ACK":true}]}"#,
    r#"{"ip_version":["IPv6"]}"#,
    r#"{"trace_id":["0af7651916cd43dd8448eb211c80319c"]}"#,
    r#"{"interface":[{"name":"eth0"}]}"#,
    r#"{"interface":[{"index":8}]}"#,
    r#"{"interface":[{}]}"#,
    r#"{"experimental":{"cel_expression":["_flow.l4.TCP.flags.SYN || has(_flow.l7.dns)"]}}"#,
];

/// These are true of all records of a node, or of none.
const OF_ALL_OR_NONE: &[(&str, bool)] = &[
    ("{}", true),
    (r#"{"node_name":["c1/n1"]}"#, true),
    (r#"{"node_name":["n*"]}"#, true),
    (r#"{"node_name":["c2/"]}"#, false),
    (r#"{"node_labels":["zone in (a,b)"]}"#, true),
    (r#"{"node_labels":["zone=b","zone=a"]}"#, true),
    (r#"{"node_labels":["!zone"]}"#, false),
    (r#"{"encrypted":[false]}"#, true),
    (r#"{"encrypted":[true]}"#, false),
    (r#"{"ip_trace_id":["7"]}"#, false),
    (r#"{"uuid":["none"]}"#, false),
];

/// Which of the records pass, told by their place; both sides must agree.
fn passing(filter: &str) -> Vec<usize> {
    let node = node();
    let parsed = raw::parse(filter).unwrap();
    let filters = Filters::new(&parsed, &[], &node).unwrap();
    let matcher = Matcher::new(&parsed, &[]).unwrap();
    let mut passing = Vec::new();
    for (at, record) in records().iter().enumerate() {
        let flow = node.flow(record);
        let passes = filters.pass(record);
        assert_eq!(passes, matcher.passes(&flow), "{filter} of {flow:?}");
        passing.extend(passes.then_some(at));
    }
    passing
}

#[test]
fn a_filter_means_the_same_of_a_record_and_of_its_flow() {
    let all = records().len();
    for filter in FILTERS {
        let count = passing(filter).len();
        let is_never = *filter == r#"{"source_fqdn":["*"],"destination_fqdn":["*"]}"#;
        assert_eq!(is_never, count == 0, "{filter} passes {count}");
        assert!(count < all, "{filter} passes all");
    }
    for (filter, expected) in OF_ALL_OR_NONE {
        assert_eq!(
            passing(filter).len(),
            if *expected { all } else { 0 },
            "{filter}"
        );
    }
}

#[test]
fn a_flow_is_found_by_its_uuid() {
    let node = node();
    for (at, record) in records().iter().enumerate() {
        let uuid = node.flow(record).uuid;
        assert_eq!(
            passing(&format!(r#"{{"uuid":["{uuid}"]}}"#)),
            [at],
            "{uuid}"
        );
    }
}

#[test]
fn both_refuse_the_same() {
    for filter in [
        r#"{"source_ip":["10.0.0.300"]}"#,
        r#"{"source_ip":["10.0.0.0/33"]}"#,
        r#"{"source_pod":[""]}"#,
        r#"{"destination_service":[""]}"#,
        r#"{"source_fqdn":["a!"]}"#,
        r#"{"source_fqdn":["a.."]}"#,
        r#"{"source_label":["a in x"]}"#,
        r#"{"node_labels":["a b"]}"#,
        r#"{"source_cluster_name":[""]}"#,
        r#"{"source_port":["http"]}"#,
        r#"{"protocol":["htp"]}"#,
        r#"{"http_status_code":["600"]}"#,
        r#"{"http_path":["("]}"#,
        r#"{"dns_query":["("]}"#,
        r#"{"node_name":["a/b/c"]}"#,
        r#"{"node_name":[""]}"#,
        r#"{"http_method":["GET"],"event_type":[{"type":1}]}"#,
        r#"{"experimental":{"cel_expression":["_flow.verdict"]}}"#,
    ] {
        let parsed = raw::parse(filter).unwrap();
        assert!(Filters::new(&parsed, &[], &node()).is_err(), "{filter}");
        assert!(Matcher::new(&parsed, &[]).is_err(), "{filter}");
    }
}
