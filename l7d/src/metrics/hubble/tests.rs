//! Hubble's metrics, line by line.

use std::sync::Arc;

use crate::config::{self, HubbleMetric};
use crate::flow::filter::Filters;
use crate::flow::view::{Interfaces, NodeView};
use crate::metrics::Wanted;
use crate::metrics::tests::{Bench, party, record};
use crate::record::{
    ConnState, Direction, Dns, DnsNames, DropReason, Endpoint, EndpointId, Event, Grpc, Http,
    HttpKind, IdentityNumber, L4, Network, Outcome, Party, Record, Sink as _, Span, TcpHealth,
    Trace, TraceParent, TracePoint, Verdict, Why,
};

fn trace(flags: u8) -> Record {
    let mut record = record(Event::Trace(Trace {
        point: TracePoint::ToEndpoint,
        state: ConnState::New,
        why: Why::First,
        packets: 1,
        bytes: 60,
        health: TcpHealth::default(),
    }));
    record.direction = Direction::Ingress;
    record.reply = Some(false);
    record.destination.addr.set_port(8080);
    record.l4 = L4::Tcp { flags };
    record
}

fn dropped(reason: DropReason) -> Record {
    let mut record = trace(0x02);
    record.event = Event::Drop {
        reason,
        kernel: None,
    };
    record.verdict = Verdict::Dropped;
    record
}

fn http(kind: HttpKind, code: u16, grpc: Option<u32>) -> Record {
    let mut record = trace(0);
    if kind == HttpKind::Response {
        std::mem::swap(&mut record.source, &mut record.destination);
    }
    let method = record.text.push(b"GET");
    let url = record.text.push(b"http://db.shop/items/7?x");
    record.event = Event::Http(Http {
        kind,
        version: 20,
        code,
        method,
        url,
        headers: Span::default(),
        latency_ns: 7_000_000,
        outcome: Outcome::Passed,
        detail: Span::default(),
        grpc: grpc.map(|status| Grpc {
            status: Some(status),
            ..Grpc::default()
        }),
        network: Network::default(),
        trace: None,
    });
    record
}

fn dns(is_response: bool, rcode: u16) -> Record {
    let mut record = trace(0);
    record.l4 = L4::Udp;
    record.reply = Some(is_response);
    let query = record.text.push(b"db.shop.");
    let query_types = record.text.push(b"A\n");
    let addresses = record.text.push(if is_response {
        b"10.0.0.7\n10.0.0.8\n"
    } else {
        b""
    });
    let record_types = record
        .text
        .push(if is_response { b"CNAME\nA\n" } else { b"" });
    record.event = Event::Dns(Dns {
        is_response,
        query,
        query_types,
        rcode,
        addresses,
        record_types,
        ..Dns::default()
    });
    record
}

fn world() -> Party {
    Party {
        endpoint: Some(Arc::new(Endpoint {
            id: EndpointId(0),
            identity: IdentityNumber::WORLD,
            cluster: String::new(),
            namespace: String::new(),
            name: String::new(),
            labels: ["reserved:world".to_owned()].into(),
            workload: None,
        })),
        ..Party::unnamed(([1, 1, 1, 1], 443).into(), IdentityNumber::WORLD)
    }
}

/// Lines of Hubble's metrics with values, after these records.
fn lines(hubble: &str, records: &[Record]) -> Vec<String> {
    let bench = Bench::counting(hubble);
    for record in records {
        bench.counting.record(record);
    }
    let lines = bench.lines("hubble_");
    let is_own = |line: &String| !line.starts_with("hubble_lost_events");
    lines.into_iter().filter(is_own).collect()
}

#[test]
fn flows_are_counted_by_what_they_tell_of() {
    let records = [
        trace(0x02),
        dropped(DropReason::POLICY_DENIED),
        http(HttpKind::Request, 0, None),
    ];
    assert_eq!(
        lines("flow:destinationContext=pod", &records),
        [
            "hubble_flows_processed_total{protocol=\"HTTP\",type=\"L7\",subtype=\"HTTP\",\
             verdict=\"FORWARDED\",destination=\"shop/db-0\"} 1",
            "hubble_flows_processed_total{protocol=\"TCP\",type=\"Drop\",subtype=\"\",\
             verdict=\"DROPPED\",destination=\"shop/db-0\"} 1",
            "hubble_flows_processed_total{protocol=\"TCP\",type=\"Trace\",subtype=\"to-endpoint\",\
             verdict=\"FORWARDED\",destination=\"shop/db-0\"} 1",
        ]
    );
}

#[test]
fn drops_have_their_reason_and_those_of_messages_none() {
    let mut denied = http(HttpKind::Request, 0, None);
    denied.verdict = Verdict::Dropped;
    let records = [dropped(DropReason::POLICY_DENIED), denied, trace(0x02)];
    let text =
        "drop:labelsContext=source_pod,source_namespace;sourceContext=reserved-identity|pod-name";
    let ends = "source_pod=\"web-1\",source_namespace=\"shop\",source=\"web-1\"";
    assert_eq!(
        lines(text, &records),
        [
            format!(
                "hubble_drop_total{{{ends},reason=\"DROP_REASON_UNKNOWN\",protocol=\"HTTP\"}} 1"
            ),
            format!("hubble_drop_total{{{ends},reason=\"POLICY_DENIED\",protocol=\"TCP\"}} 1"),
        ]
    );
}

#[test]
fn queries_and_answers_are_counted_with_what_was_asked() {
    let mut denied = dns(false, 0);
    denied.verdict = Verdict::Dropped;
    let mut unanswered = dns(true, 0);
    if let Event::Dns(dns) = &mut unanswered.event {
        dns.outcome = Outcome::NoResponse;
    }
    let records = [dns(false, 0), dns(true, 3), denied, unanswered];
    let rest = "qtypes=\"A\",ips_returned";
    assert_eq!(
        lines("dns:query", &records),
        [
            format!("hubble_dns_queries_total{{rcode=\"\",{rest}=\"0\",query=\"db.shop.\"}} 1"),
            format!(
                "hubble_dns_queries_total{{rcode=\"Policy denied\",{rest}=\"0\",query=\"db.shop.\"}} 1"
            ),
            format!(
                "hubble_dns_responses_total{{rcode=\"Non-Existent Domain\",{rest}=\"2\",query=\"db.shop.\"}} 1"
            ),
            "hubble_dns_response_types_total{type=\"A\",qtypes=\"A\",query=\"db.shop.\"} 1"
                .to_owned(),
            "hubble_dns_response_types_total{type=\"CNAME\",qtypes=\"A\",query=\"db.shop.\"} 1"
                .to_owned(),
        ]
    );
    let mut six = dns(false, 0);
    if let Event::Dns(dns) = &mut six.event {
        dns.query_types = six.text.push(b"AAAA\n");
    }
    assert!(lines("dns:ignoreAAAA", &[six]).is_empty());
}

#[test]
fn requests_and_responses_are_counted_apart_or_from_the_clients_view() {
    let records = [
        http(HttpKind::Request, 0, None),
        http(HttpKind::Response, 200, None),
    ];
    let counters = |text: &str| {
        let lines = lines(text, &records).into_iter();
        let is_count = |line: &String| line.contains("_total{") || line.contains("_count{");
        lines.filter(is_count).collect::<Vec<_>>()
    };
    assert_eq!(
        counters("http:sourceContext=pod-name"),
        [
            "hubble_http_requests_total{source=\"web-1\",method=\"GET\",protocol=\"HTTP/2\",\
             reporter=\"server\"} 1",
            "hubble_http_responses_total{source=\"db-0\",method=\"GET\",protocol=\"HTTP/2\",\
             status=\"200\",reporter=\"server\"} 1",
            "hubble_http_request_duration_seconds_count{source=\"db-0\",method=\"GET\",\
             reporter=\"server\"} 1",
        ]
    );
    assert_eq!(
        counters("httpV2:labelsContext=destination_pod,source_pod,traffic_direction"),
        [
            "hubble_http_requests_total{source_pod=\"web-1\",destination_pod=\"db-0\",\
             traffic_direction=\"ingress\",method=\"GET\",protocol=\"HTTP/2\",status=\"200\",\
             reporter=\"server\"} 1",
            "hubble_http_request_duration_seconds_count{source_pod=\"web-1\",destination_pod=\"db-0\",\
             traffic_direction=\"ingress\",method=\"GET\",reporter=\"server\"} 1",
        ]
    );
}

#[test]
fn turned_contexts_are_looked_up_as_hubble_does() {
    // The client is the destination of the response: what is configured for destinations finds it.
    let text = "httpV2:sourceContext=ip;destinationContext=pod-name";
    let found = lines(text, &[http(HttpKind::Response, 200, None)]);
    let count = found.first().expect("a line");
    assert!(
        count.contains("source=\"web-1\",destination=\"10.0.0.1\""),
        "{count}"
    );
}

#[test]
fn requests_are_timed_in_prometheus_own_buckets() {
    let found = lines("httpV2", &[http(HttpKind::Response, 200, None)]);
    let times: Vec<&String> = found
        .iter()
        .filter(|line| line.contains("duration"))
        .collect();
    assert_eq!(times.len(), 14);
    let has = |part: &str| times.iter().any(|line| line.contains(part));
    assert!(
        has("_sum{method=\"GET\",reporter=\"server\"} 0.007"),
        "{times:?}"
    );
    let bucket = |bound: &str, count: &str| {
        let mut lines = times.iter();
        let label = format!("{{le=\"{bound}\",");
        lines.any(|line| line.contains(&label) && line.ends_with(count))
    };
    assert!(bucket("0.005", " 0") && bucket("0.01", " 1"), "{times:?}");
    assert!(bucket("10.0", " 1") && bucket("+Inf", " 1"), "{times:?}");
}

#[test]
fn the_status_of_grpc_is_a_label_where_it_is_wanted() {
    let records = [
        http(HttpKind::Response, 200, Some(5)),
        http(HttpKind::Response, 404, None),
    ];
    let found = lines("httpV2:grpcStatus", &records);
    let has = |end: &str| found.iter().any(|line| line.ends_with(end));
    assert!(
        has("status=\"200\",reporter=\"server\",grpc_status=\"5\"} 1"),
        "{found:?}"
    );
    assert!(
        has("status=\"404\",reporter=\"server\",grpc_status=\"\"} 1"),
        "{found:?}"
    );
}

#[test]
fn traces_are_exemplars_where_they_are_wanted() {
    let mut traced = http(HttpKind::Response, 200, None);
    if let Event::Http(http) = &mut traced.event {
        http.trace = Some(TraceParent {
            trace: *b"\x00\x01\xfe89abcdefghijk",
            span: [1; 8],
            flags: 1,
        });
    }
    let plain = http(HttpKind::Response, 200, None);
    let records = [traced, plain];
    let label = "# {traceID=\"0001fe3839616263646566676869";
    for metric in ["http", "httpV2"] {
        let found = lines(&format!("{metric}:exemplars=true"), &records);
        let with: Vec<&String> = found.iter().filter(|line| line.contains(label)).collect();
        let has = |part: &str| with.iter().any(|line| line.contains(part));
        assert!(has("_total{") && has("_bucket{le=\"0.01\","), "{found:?}");
        assert_eq!(with.len(), 2, "{found:?}");
        let count = with
            .iter()
            .find(|line| line.contains("_total{"))
            .expect("a count");
        assert!(count.contains("} 2 # {traceID="), "{count}");
        assert!(!lines(metric, &records).join("").contains("traceID"));
    }
}

#[test]
fn messages_of_icmp_have_their_names() {
    let mut unreachable = trace(0);
    unreachable.l4 = L4::Icmp4 { kind: 3, code: 3 };
    let mut echo = trace(0);
    echo.l4 = L4::Icmp6 { kind: 128, code: 0 };
    assert_eq!(
        lines("icmp", &[unreachable, echo]),
        [
            "hubble_icmp_total{family=\"IPv4\",type=\"DestinationUnreachable(Port)\"} 1",
            "hubble_icmp_total{family=\"IPv4\",type=\"EchoRequest\"} 1",
        ]
    );
}

#[test]
fn verdicts_are_counted_of_connections_and_of_messages() {
    let verdict = |match_type| {
        let mut record = trace(0x02);
        record.event = Event::PolicyVerdict {
            match_type,
            reason: None,
        };
        record
    };
    let mut from_host = verdict(1);
    from_host.source.identity = IdentityNumber::HOST;
    let mut denied = http(HttpKind::Request, 0, None);
    denied.verdict = Verdict::Dropped;
    denied.direction = Direction::Unknown;
    let records = [verdict(2), from_host, denied, dns(true, 0), trace(0x02)];
    assert_eq!(
        lines("policy", &records),
        [
            "hubble_policy_verdicts_total{direction=\"ingress\",match=\"l3-l4\",action=\"forwarded\"} 1",
            "hubble_policy_verdicts_total{direction=\"ingress\",match=\"l7/dns\",action=\"forwarded\"} 1",
            "hubble_policy_verdicts_total{direction=\"traffic_direction_unknown\",match=\"l7/http\",\
             action=\"dropped\"} 1",
        ]
    );
}

#[test]
fn ports_are_those_of_who_was_asked() {
    let mut reply = trace(0x12);
    reply.reply = Some(true);
    let mut unknown = trace(0);
    unknown.reply = None;
    let mut echo = trace(0);
    echo.l4 = L4::Icmp4 { kind: 8, code: 0 };
    let records = [
        trace(0x02),
        reply,
        unknown,
        echo,
        dropped(DropReason::POLICY_DENIED),
    ];
    assert_eq!(
        lines("port-distribution", &records),
        [
            "hubble_port_distribution_total{protocol=\"ICMPv4\",port=\"0\"} 1",
            "hubble_port_distribution_total{protocol=\"TCP\",port=\"8080\"} 1",
        ]
    );
}

#[test]
fn flags_are_counted_of_packets_that_passed() {
    let records = [
        trace(0x02),
        trace(0x12),
        trace(0x15),
        trace(0x10),
        dropped(DropReason::UNKNOWN),
    ];
    let found = lines("tcp", &records);
    let expected = ["FIN", "RST", "SYN", "SYN-ACK"]
        .map(|flag| format!("hubble_tcp_flags_total{{flag=\"{flag}\",family=\"IPv4\"}} 1"));
    assert_eq!(found, expected);
}

#[test]
fn flows_to_the_world_are_those_that_leave() {
    let to_world = |mut record: Record| {
        record.destination = world();
        record
    };
    let mut reply = to_world(trace(0x12));
    reply.reply = Some(true);
    let records = [
        to_world(trace(0x02)),
        to_world(trace(0x10)),
        to_world(dropped(DropReason::POLICY_DENIED)),
        to_world(dropped(DropReason::INVALID_PACKET)),
        reply,
        trace(0x02),
    ];
    let count = |text: &str| {
        let found = lines(text, &records).into_iter();
        found
            .map(|line| line.replace("hubble_flows_to_world_total", ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        count("flows-to-world:port"),
        [
            "{protocol=\"TCP\",verdict=\"DROPPED\",port=\"443\"} 1",
            "{protocol=\"TCP\",verdict=\"FORWARDED\",port=\"443\"} 2",
        ]
    );
    assert_eq!(
        count("flows-to-world:any-drop;syn-only"),
        [
            "{protocol=\"TCP\",verdict=\"DROPPED\"} 2",
            "{protocol=\"TCP\",verdict=\"FORWARDED\"} 1",
        ]
    );
}

#[test]
fn an_end_is_called_by_the_first_identifier_that_says_something() {
    let mut outwards = trace(0x02);
    outwards.direction = Direction::Egress;
    outwards.destination = world();
    outwards.destination_names = Some(Arc::new(DnsNames(vec![
        "a.example".into(),
        "b.example".into(),
    ])));
    let inwards = trace(0x02);
    for (text, record, label) in [
        ("sourceContext=workload", &outwards, "source=\"shop/web\""),
        ("sourceContext=workload-name", &outwards, "source=\"web\""),
        ("sourceContext=app|namespace", &outwards, "source=\"shop\""),
        (
            "destinationContext=dns",
            &outwards,
            "destination=\"a.example,b.example\"",
        ),
        (
            "destinationContext=pod|reserved-identity",
            &outwards,
            "destination=\"reserved:world\"",
        ),
        (
            "destinationContext=identity",
            &outwards,
            "destination=\"reserved:world\"",
        ),
        (
            "destinationContext=dns|ip",
            &inwards,
            "destination=\"10.0.0.1\"",
        ),
        (
            "sourceEgressContext=ip;sourceIngressContext=pod-name",
            &outwards,
            "source=\"10.0.0.1\"",
        ),
        (
            "sourceEgressContext=ip;sourceIngressContext=pod-name",
            &inwards,
            "source=\"web-1\"",
        ),
        (
            "sourceContext=namespace;sourceEgressContext=ip",
            &inwards,
            "source=\"shop\"",
        ),
    ] {
        let found = lines(&format!("tcp:{text}"), std::slice::from_ref(record));
        assert!(
            found.iter().all(|line| line.contains(label)),
            "{text}: {found:?}"
        );
        assert_eq!(found.len(), 1, "{text}");
    }
}

#[test]
fn what_stays_goes_on_counting_while_the_rest_changes() {
    let bench = Bench::counting("tcp drop");
    bench.counting.record(&trace(0x02));
    bench.set_hubble("tcp flow");
    bench.counting.record(&trace(0x02));
    assert_eq!(
        bench.lines("hubble_tcp_flags_total"),
        ["hubble_tcp_flags_total{flag=\"SYN\",family=\"IPv4\"} 2"]
    );
    assert_eq!(bench.lines("hubble_flows_processed_total").len(), 1);
    assert!(!bench.scrape().contains("hubble_drop"));
    // Other labels are other series.
    bench.set_hubble("tcp:sourceContext=pod-name");
    bench.counting.record(&trace(0x02));
    assert_eq!(
        bench.lines("hubble_tcp_flags_total"),
        ["hubble_tcp_flags_total{flag=\"SYN\",family=\"IPv4\",source=\"web-1\"} 1"]
    );
    bench.set_hubble("");
    bench.counting.record(&trace(0x02));
    assert!(bench.lines("hubble_tcp").is_empty());
}

#[test]
fn filters_say_what_counts_and_change_while_records_come() {
    let node = Arc::new(NodeView {
        name: "node".to_owned(),
        version: String::new(),
        seed: 1,
        labels: Vec::new().into(),
        interfaces: Interfaces::default(),
    });
    let bench = Bench::counting("");
    let set = |include: &str, exclude: &str| {
        let read = |text: &str| {
            let filters = text
                .split_whitespace()
                .map(|text| serde_json::from_str(text).expect("a filter"));
            filters.collect::<Vec<_>>()
        };
        let filters = Filters::new(&read(include), &read(exclude), &node).expect("filters");
        let metric = HubbleMetric::parse("tcp").expect("a metric");
        let wanted = vec![Wanted { metric, filters }];
        bench.counting.set(&config::Metrics::default(), wanted);
    };
    let count = || {
        bench.counting.record(&trace(0x02));
        let lines = bench.lines("hubble_tcp_flags_total").join("");
        lines.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    set(r#"{"source_pod":["shop/"]}"#, "");
    assert_eq!(count(), "1");
    set(r#"{"source_pod":["other/"]}"#, "");
    assert_eq!(count(), "1");
    set("", r#"{"destination_port":["8080"]}"#);
    assert_eq!(count(), "1");
    set("", r#"{"destination_port":["81"]}"#);
    assert_eq!(count(), "2");
}

#[test]
fn beyond_the_bound_labels_with_few_values_stay() {
    let settings = config::Metrics {
        max_series: 3,
        ..config::Metrics::default()
    };
    let bench = Bench::new(&settings);
    let wanted = |text: &str| Wanted {
        metric: HubbleMetric::parse(text).expect("a metric"),
        filters: Filters::default(),
    };
    bench
        .counting
        .set(&settings, vec![wanted("drop:sourceContext=pod-name")]);
    for number in 0..10 {
        let mut record = dropped(DropReason::POLICY_DENIED);
        record.source = party(&format!("web-{number}"), None);
        bench.counting.record(&record);
    }
    let lines = bench.lines("hubble_drop_total");
    let others =
        "hubble_drop_total{source=\"(others)\",reason=\"POLICY_DENIED\",protocol=\"TCP\"} 7";
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some(others));
    assert!(bench.counting.is_full());
    assert_eq!(bench.lines("l7d_series "), ["l7d_series 3"]);
    // What is no longer wanted makes room.
    bench.counting.set(&settings, Vec::new());
    assert_eq!(bench.lines("l7d_series "), ["l7d_series 0"]);
}
