//! What it costs to count a record, by what kind of record it is and by what is counted.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use l7d::clock::Timestamp;
use l7d::config;
use l7d::flow::FlowRing;
use l7d::flow::filter::Filters;
use l7d::metrics::{Counting, Wanted};
use l7d::record::{
    ConnState, Direction, Dns, Endpoint, EndpointId, Event, Http, HttpKind, IdentityNumber, L4,
    Ledger, Network, Outcome, Party, Record, Sink, Span, TcpHealth, Trace, TracePoint, Verdict,
    Why, Workload,
};

/// Takes records and does nothing with them.
struct Nowhere;

impl Sink for Nowhere {
    fn record(&self, record: &Record) {
        black_box(record);
    }
}

fn party(name: &str, port: u16) -> Party {
    let labels = ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"];
    Party {
        endpoint: Some(Arc::new(Endpoint {
            id: EndpointId(1),
            identity: IdentityNumber(300),
            cluster: String::new(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: labels.map(str::to_owned).into(),
            workload: Some(Workload {
                kind: "Deployment".to_owned(),
                name: name.split('-').next().unwrap_or_default().to_owned(),
            }),
        })),
        ..Party::unnamed(([10, 0, 0, 1], port).into(), IdentityNumber(300))
    }
}

fn record(event: Event) -> Record {
    let (client, server) = (
        party("web-5d8f9c7b6-x2v4p", 40_000),
        party("cart-7f6d5-q8w2z", 80),
    );
    let mut record = Record::new(Timestamp(1), client, server, event);
    record.direction = Direction::Egress;
    record.reply = Some(false);
    record.verdict = Verdict::Forwarded;
    record.connection = 7;
    record
}

fn trace(why: Why, flags: u8) -> Record {
    let mut record = record(Event::Trace(Trace {
        point: TracePoint::ToStack,
        state: ConnState::Established,
        why,
        packets: 100,
        bytes: 100_000,
        health: TcpHealth {
            srtt_us: 400,
            ..TcpHealth::default()
        },
    }));
    record.l4 = L4::Tcp { flags };
    record
}

fn response() -> Record {
    let mut record = record(Event::Opaque(l7d::record::Opaque {
        note: Span::default(),
        sent: 0,
        received: 0,
        duration_ns: 0,
        outcome: Outcome::Passed,
        detail: Span::default(),
        network: Network::default(),
    }));
    std::mem::swap(&mut record.source, &mut record.destination);
    record.reply = Some(true);
    let method = record.text.push(b"GET");
    let url = record
        .text
        .push(b"http://cart.shop:80/users/4711/orders/3fa85f64-5717-4562-b3fc-2c963f66afa6?page=2");
    record.event = Event::Http(Http {
        kind: HttpKind::Response,
        version: 11,
        code: 200,
        method,
        url,
        headers: Span::default(),
        latency_ns: 7_000_000,
        outcome: Outcome::Passed,
        detail: Span::default(),
        grpc: None,
        network: Network::default(),
        trace: None,
    });
    record
}

fn answer() -> Record {
    let mut record = record(Event::Dns(Dns::default()));
    record.l4 = L4::Udp;
    record.reply = Some(true);
    let query = record.text.push(b"cart.shop.svc.cluster.local.");
    let query_types = record.text.push(b"A\n");
    let addresses = record.text.push(b"10.96.0.17\n");
    let record_types = record.text.push(b"A\n");
    record.event = Event::Dns(Dns {
        is_response: true,
        query,
        query_types,
        addresses,
        record_types,
        ..Dns::default()
    });
    record
}

fn counting(hubble: Option<&str>) -> Counting {
    let ring = FlowRing::new(7, Arc::new(Ledger::default()));
    let settings = config::Metrics::default();
    let counting = Counting::new(&settings, &ring, Arc::new(Nowhere));
    let metrics = match hubble {
        None => Vec::new(),
        Some("") => settings.hubble.clone(),
        Some(text) => text
            .split(' ')
            .filter_map(|metric| config::HubbleMetric::parse(metric).ok())
            .collect(),
    };
    let wanted = metrics.into_iter().map(|metric| Wanted {
        metric,
        filters: Filters::default(),
    });
    counting.set(&settings, wanted.collect());
    counting
}

/// As clusters have it whose dashboards tell of workloads.
const LABELLED: &str = "dns:query;sourceContext=workload-name|reserved-identity \
    drop:labelsContext=source_namespace,source_pod,destination_namespace,destination_pod \
    flow:sourceContext=workload-name|reserved-identity;destinationContext=workload-name|reserved-identity \
    httpV2:labelsContext=source_namespace,source_workload,destination_namespace,destination_workload,traffic_direction \
    port-distribution tcp:sourceContext=pod;destinationContext=pod";

fn cost(criterion: &mut Criterion) {
    let records = [
        ("packets", trace(Why::Interval, 0x10)),
        ("syn", trace(Why::First, 0x02)),
        ("response", response()),
        ("answer", answer()),
    ];
    for (name, hubble) in [
        ("own", None),
        ("usual", Some("")),
        ("labelled", Some(LABELLED)),
    ] {
        let mut group = criterion.benchmark_group(name);
        let counting = counting(hubble);
        for (kind, record) in &records {
            group.bench_function(BenchmarkId::from_parameter(kind), |bencher| {
                bencher.iter(|| counting.record(black_box(record)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, cost);
criterion_main!(benches);
