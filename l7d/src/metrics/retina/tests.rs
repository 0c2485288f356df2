//! Retina's metrics, line by line.

use crate::config;
use crate::metrics::tests::{Bench, record};
use crate::record::{
    ConnState, Direct, Direction, Dns, DropReason, DropSite, End, EndedBy, Event, KernelDrop, L4,
    Record, Sink as _, TcpHealth, Trace, TracePoint, Verdict, Why,
};

fn bench(yaml: &str) -> Bench {
    let text = format!("metrics: {{ hubble: [], retina: {{ {yaml} }} }}");
    let config = config::read_config("l7d.yaml", &text).expect("a configuration");
    let bench = Bench::new(&config.metrics);
    bench.counting.set(&config.metrics, Vec::new());
    bench
}

fn trace(direction: Direction, flags: u8, retransmits: u32) -> Record {
    let mut record = record(Event::Trace(Trace {
        point: TracePoint::ToEndpoint,
        state: ConnState::Established,
        why: Why::Interval,
        packets: 10,
        bytes: 1000,
        health: TcpHealth {
            retransmits,
            ..TcpHealth::default()
        },
    }));
    record.direction = direction;
    record.reply = Some(false);
    record.l4 = L4::Tcp { flags };
    record
}

fn end(retransmits: u32) -> Record {
    let direct = |untold_packets, retransmits| Direct {
        untold_packets,
        untold_bytes: 100 * untold_packets,
        health: TcpHealth {
            retransmits,
            handshake_us: 1200,
            srtt_us: 700,
            ..TcpHealth::default()
        },
        ..Direct::default()
    };
    let mut record = record(Event::End(End {
        point: TracePoint::ToEndpoint,
        how: EndedBy::NoAnswer,
        duration_ns: 1,
        sent: direct(2, retransmits),
        received: direct(3, 0),
    }));
    record.direction = Direction::Egress;
    record
}

fn dropped() -> Record {
    let mut record = trace(Direction::Ingress, 0x02, 0);
    record.verdict = Verdict::Dropped;
    let said = KernelDrop {
        reason: "NETFILTER_DROP".into(),
        place: "".into(),
        meaning: "".into(),
        site: DropSite::Node,
        bytes: 60,
        queue: None,
        netfilter: None,
    };
    record.event = Event::Drop {
        reason: DropReason::UNKNOWN,
        kernel: Some(said.into()),
    };
    record
}

fn answer() -> Record {
    let mut record = trace(Direction::Egress, 0, 0);
    let query = record.text.push(b"db.shop.");
    let query_types = record.text.push(b"A\n");
    let addresses = record.text.push(b"10.0.0.7\n10.0.0.8\n");
    record.event = Event::Dns(Dns {
        is_response: true,
        query,
        query_types,
        addresses,
        ..Dns::default()
    });
    record
}

#[test]
fn of_the_node_there_are_sums_and_what_the_kernel_counts() {
    let bench = bench("node: true");
    for record in [
        trace(Direction::Egress, 0x10, 0),
        end(0),
        dropped(),
        answer(),
    ] {
        bench.counting.record(&record);
    }
    let line = |family: &str| bench.lines(&format!("networkobservability_{family}"));
    // Both ends of this connection are pods of the node: what nothing told passed both.
    assert_eq!(
        line("forward_count{"),
        [
            "networkobservability_forward_count{direction=\"egress\"} 15",
            "networkobservability_forward_count{direction=\"ingress\"} 5",
        ]
    );
    assert_eq!(
        line("forward_bytes{")
            .first()
            .map(|line| line.ends_with(" 1500")),
        Some(true)
    );
    let labels = "reason=\"IPTABLE_RULE_DROP\",direction=\"ingress\"";
    let drops = line("drop_");
    assert!(
        drops.contains(&format!("networkobservability_drop_count{{{labels}}} 1")),
        "{drops:?}"
    );
    assert!(
        drops.contains(&format!("networkobservability_drop_bytes{{{labels}}} 60")),
        "{drops:?}"
    );
    assert!(
        line("dns_response_count")
            .iter()
            .any(|line| line.ends_with(" 1"))
    );
    assert_eq!(line("tcp_state{").len(), 11);
    assert!(
        line("tcp_connection_stats{")
            .iter()
            .any(|line| line.contains("\"TCPTimeouts\""))
    );
    assert!(line("interface_stats{interface_name=\"lo\",statistic_name=\"rx_bytes\"}").len() == 1);
}

#[test]
fn of_pods_there_are_the_labels_that_were_asked_for() {
    let bench = bench(
        "contextOptions: [ { metricName: forward_count, sourceLabels: [podname, namespace], \
         additionalLabels: [is_reply] }, { metricName: tcp_retransmission_count, sourceLabels: [workload] }, \
         { metricName: tcp_flag_gauges }, { metricName: dns_response_count, sourceLabels: [ip] } ]",
    );
    let records = [
        trace(Direction::Egress, 0x12, 3),
        trace(Direction::Ingress, 0x10, 3),
        end(5),
        answer(),
    ];
    for record in records {
        bench.counting.record(&record);
    }
    let line = |family: &str| bench.lines(&format!("networkobservability_adv_{family}"));
    let forwarded = line("forward_count{direction=\"egress\",namespace=\"shop\",podname=\"web-1\"");
    assert_eq!(
        forwarded.first().map(String::as_str),
        Some(
            "networkobservability_adv_forward_count{direction=\"egress\",namespace=\"shop\",podname=\"web-1\",\
             is_reply=\"\"} 2"
        )
    );
    assert_eq!(
        line(
            "forward_count{direction=\"ingress\",namespace=\"shop\",podname=\"db-0\",is_reply=\"false\"}"
        ),
        [
            "networkobservability_adv_forward_count{direction=\"ingress\",namespace=\"shop\",podname=\"db-0\",\
             is_reply=\"false\"} 10"
        ]
    );
    // Three were told while the connection went on, once; its end tells two more.
    assert_eq!(
        line("tcpretrans_count{"),
        [
            "networkobservability_adv_tcpretrans_count{workload_kind=\"Deployment\",workload_name=\"web\"} 5"
        ]
    );
    assert_eq!(
        line("tcpflags_count{flag=\"ACK\"}"),
        ["networkobservability_adv_tcpflags_count{flag=\"ACK\"} 2"]
    );
    assert_eq!(
        line("dns_response_count{"),
        [
            "networkobservability_adv_dns_response_count{return_code=\"NOERROR\",query_type=\"A\",\
             query=\"db.shop.\",response=\"10.0.0.7,10.0.0.8\",num_response=\"2\",ip=\"10.0.0.1\"} 1"
        ]
    );
}

#[test]
fn with_remote_context_both_ends_are_told_and_namespaces_can_be_left_out() {
    let bench = bench(
        "remoteContext: true, contextOptions: [ { metricName: drop_count, sourceLabels: [podname], \
         destinationLabels: [podname, port] } ]",
    );
    bench.counting.record(&dropped());
    assert_eq!(
        bench.lines("networkobservability_adv_drop_count{"),
        [
            "networkobservability_adv_drop_count{reason=\"IPTABLE_RULE_DROP\",direction=\"ingress\",\
             source_podname=\"web-1\",destination_podname=\"db-0\",destination_port=\"1\"} 1"
        ]
    );
    let bench = self::bench(
        "contextOptions: [ { metricName: drop_count } ], namespaces: { exclude: [ shop ] }",
    );
    bench.counting.record(&dropped());
    assert!(
        bench
            .lines("networkobservability_adv_drop_count{")
            .is_empty()
    );
}

#[test]
fn the_api_server_is_measured_at_the_end_of_connections() {
    let bench = bench(
        "contextOptions: [ { metricName: node_apiserver_latency }, { metricName: \
         node_apiserver_handshake_latency }, { metricName: node_apiserver_no_response } ]",
    );
    let mut to_api = end(0);
    let server = to_api
        .destination
        .endpoint
        .as_deref()
        .expect("a server")
        .clone();
    to_api.destination.endpoint = Some(std::sync::Arc::new(crate::record::Endpoint {
        labels: ["reserved:kube-apiserver".to_owned()].into(),
        ..server
    }));
    bench.counting.record(&end(0));
    bench.counting.record(&to_api);
    let line =
        |family: &str| bench.lines(&format!("networkobservability_adv_node_apiserver_{family}"));
    assert!(
        line("latency_sum")
            .first()
            .is_some_and(|line| line.ends_with(" 0.7"))
    );
    let handshakes = line("tcp_handshake_latency_bucket");
    assert_eq!(handshakes.len(), 65);
    let bucket = |at: usize| handshakes.get(at).map(|line| line.ends_with(" 1"));
    assert_eq!((bucket(0), bucket(1)), (Some(false), Some(true)));
    assert_eq!(line("no_response{").len(), 1);
}
