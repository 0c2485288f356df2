//! What exports cost: flows of HTTP requests through each form of export, to a file and to a collector
//! in this process. Prints one JSON object of figures, for `cargo xtask bench export`.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program whose output is its purpose; it measures what we wrote ourselves"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use l7d::clock::Timestamp;
use l7d::config::read_config;
use l7d::export::{Exports, Spec};
use l7d::flow::FlowRing;
use l7d::flow::filter::Filters;
use l7d::flow::view::NodeView;
use l7d::record::{
    Direction, Endpoint, EndpointId, Event, Http, HttpKind, IdentityNumber, Network, Outcome,
    Party, Record, Sink as _, Text, TraceParent, Workload,
};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use parsers::template::Templates;
use serde_json::{Value, json};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Fits into the largest ring, so that nothing is lost.
const FLOWS: u32 = 60_000;
const ROUNDS: u32 = 5;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = collector();
    let file = |name: &str, more: &str| {
        let path = folder.path().join(name).join("flows.jsonl");
        let path = path.display();
        format!("{{ name: {name}, file: {{ path: {path}, maxBytes: 67108864{more} }} }}")
    };
    let line = |name: &str, more: &str| file(name, "").replace(" } }", &format!(" }}, {more} }}"));
    let fields = "fields: [time, verdict, source.pod_name, destination.pod_name, l7.http]";
    let grouped = "aggregate: { fields: [source.pod_name, destination.pod_name, l7.http.method] }";
    let otlp = |name: &str| {
        format!("{{ name: {name}, otlp: {{ endpoint: \"http://{collector}\", signal: {name} }} }}")
    };
    let filtered = line("filtered", "allow: [ { verdict: [DROPPED] } ]");
    let figures = json!({
        "flows": FLOWS,
        "lines": measure(&file("lines", "")),
        "compressed": measure(&file("compressed", ", compress: true")),
        "masked": measure(&line("masked", fields)),
        "grouped": measure(&line("grouped", grouped)),
        "filtered": measure(&filtered),
        "logs": measure(&otlp("logs")),
        "spans": measure(&otlp("spans")),
        "sample": first_line(&folder.path().join("lines")),
    });
    println!("{figures}");
}

/// The export's own CPU time, and the time until everything has arrived, of the best round.
fn measure(export: &str) -> Value {
    let rounds: Vec<(f64, f64, u64)> = (0..ROUNDS).map(|_| round(export)).collect();
    let cpu = rounds
        .iter()
        .map(|(cpu, _, _)| *cpu)
        .fold(f64::MAX, f64::min);
    let wall = rounds
        .iter()
        .map(|(_, wall, _)| *wall)
        .fold(f64::MAX, f64::min);
    let bytes = rounds.first().map_or(0, |(_, _, bytes)| *bytes);
    let flows = f64::from(FLOWS);
    json!({
        "cpu_ns": (cpu * 1e9 / flows).round(),
        "per_second_of_cpu": (flows / cpu).round(),
        "per_second": (flows / wall).round(),
        "bytes": bytes / u64::from(FLOWS),
    })
}

fn round(export: &str) -> (f64, f64, u64) {
    let config = read_config("bench", &format!("exports: [ {export} ]")).expect("a configuration");
    let node = Arc::new(NodeView {
        name: "node-1".to_owned(),
        version: "1.0.0".to_owned(),
        ..NodeView::default()
    });
    let ring = Arc::new(FlowRing::new(65_535, Arc::default()));
    let mut exports = Exports::new(Arc::clone(&ring), node, Templates::default());
    let allow = config.exports[0].allow.iter();
    let allow: Vec<_> = allow
        .map(|filter| serde_json::from_str(filter).expect("a filter"))
        .collect();
    let filters = Filters::new(&allow, &[], &Arc::new(NodeView::default())).expect("filters");
    let spec = Spec::new(config.exports[0].clone(), filters).expect("an export");
    let records = [message(HttpKind::Request), message(HttpKind::Response)];
    exports.apply(vec![spec]);
    let started = Instant::now();
    for _ in 0..FLOWS / 2 {
        for record in &records {
            ring.record(record);
        }
    }
    let is_done = || {
        let tally = exports.board().list()[0].tally;
        tally.seen == u64::from(FLOWS)
    };
    while !is_done() {
        pause();
    }
    let is_grouped = export.contains("aggregate");
    while !is_grouped && exports.board().list()[0].tally.waiting() > 0 {
        pause();
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_of("l7d-export"));
    let bytes = exports.board().list()[0].bytes;
    assert_eq!(exports.board().list()[0].tally.lost, 0);
    exports.stop();
    (cpu, wall, bytes)
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever measures has nothing to wait for"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Seconds of CPU of the thread of that name.
fn cpu_of(name: &str) -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let times = tasks.flatten().filter_map(|task| {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).ok();
        let nanos: f64 = read("schedstat")?.split(' ').next()?.parse().ok()?;
        (read("comm")?.trim() == name).then_some(nanos / 1e9)
    });
    times.sum()
}

/// A request of one pod to another, or its answer.
fn message(kind: HttpKind) -> Record {
    let mut text = Text::default();
    let is_answer = kind == HttpKind::Response;
    let headers: &[u8] = if is_answer {
        b"Content-Type: application/json\r\nContent-Length: 512\r\nServer: nginx\r\n"
    } else {
        b"Host: cart.shop.svc:8080\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nAuthorization: HUBBLE_REDACTED\r\n"
    };
    let http = Http {
        kind,
        version: 11,
        code: if is_answer { 200 } else { 0 },
        method: text.push(b"GET"),
        url: text.push(b"http://cart.shop.svc:8080/carts/4711/items?full=true"),
        headers: text.push(headers),
        latency_ns: if is_answer { 3_214_567 } else { 0 },
        outcome: Outcome::Passed,
        detail: text.push(b""),
        grpc: None,
        network: Network::default(),
        trace: TraceParent::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    };
    let (web, cart) = (pod("web", 10, 41_000), pod("cart", 11, 8080));
    let (source, destination) = if is_answer { (cart, web) } else { (web, cart) };
    let mut record = Record::new(Timestamp::now(), source, destination, Event::Http(http));
    record.text = text;
    record.reply = Some(is_answer);
    record.direction = Direction::Ingress;
    record.connection = 0x1234_5678;
    record
}

fn pod(name: &str, last: u8, port: u16) -> Party {
    let endpoint = Endpoint {
        id: EndpointId(last.into()),
        identity: IdentityNumber(40_000 + u32::from(last)),
        cluster: "default".to_owned(),
        namespace: "shop".to_owned(),
        name: format!("{name}-7d5b8c9f6b-x2x4z"),
        labels: [
            format!("k8s:app={name}"),
            "k8s:io.cilium.k8s.policy.cluster=default".to_owned(),
            "k8s:io.cilium.k8s.policy.serviceaccount=default".to_owned(),
            "k8s:io.kubernetes.pod.namespace=shop".to_owned(),
        ]
        .into(),
        workload: Some(Workload {
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
        }),
    };
    Party {
        addr: ([10, 244, 1, last], port).into(),
        identity: endpoint.identity,
        endpoint: Some(Arc::new(endpoint)),
        service: None,
    }
}

fn first_line(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("flows.jsonl")).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Takes everything, and throws it away.
struct Collector;

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        _request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        _request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector on loopback, until the end: where it listens.
fn collector() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            tonic::transport::Server::builder()
                .add_service(LogsServiceServer::new(Collector))
                .add_service(TraceServiceServer::new(Collector))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .expect("it serves");
        });
    });
    address
}
