//! Agents that say what they are told to, and nothing else.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream;
use l7d::clock::Timestamp;
use l7d::relay::raw::Raw;
use prost::Message as _;
use prost::bytes::Bytes;
use proto::flow::{Endpoint, Flow, Http, Ip, L7FlowType, Layer4, Layer7, Tcp, layer4, layer7};
use proto::observer::GetFlowsResponse;
use proto::observer::get_flows_response::ResponseTypes;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http;
use tonic::server::{NamedService, ServerStreamingService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What each agent says.
#[derive(Clone, Copy)]
pub(super) enum Load {
    /// A flow each period, told so many at a time.
    Live { period: Duration, burst: u64 },
    /// So many flows of the past.
    Past { each: usize },
}

/// They end when this is dropped.
pub(super) struct Agents {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Agents {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

pub(super) fn socket(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("agent-{number}.sock"))
}

/// Starts agents on a thread of their own.
pub(super) fn start(folder: &Path, count: usize, load: Load) -> Agents {
    let (stop, stopped) = oneshot::channel::<()>();
    let (teller, listening) = std::sync::mpsc::sync_channel(1);
    let folder = folder.to_owned();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            for number in 0..count {
                let path = socket(&folder, number);
                let _none = std::fs::remove_file(&path);
                let listener = UnixListener::bind(path).unwrap();
                let agent = Agent {
                    number,
                    load,
                    template: template(number),
                };
                let server = Server::builder().add_service(agent);
                tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
            }
            teller.send(()).unwrap();
            let _dropped = stopped.await;
        });
    });
    listening.recv().unwrap();
    Agents {
        stop: Some(stop),
        thread: Some(thread),
    }
}

/// Bytes of what is said of a flow.
pub(super) fn flow_bytes() -> usize {
    answer(&template(0), Timestamp::now()).len()
}

/// A request as an agent tells of it, but for its time.
fn template(number: usize) -> Arc<[u8]> {
    let end = |pod: &str, identity| Endpoint {
        identity,
        namespace: "prod-app".to_owned(),
        labels: [
            format!("k8s:app={pod}"),
            "k8s:io.cilium.k8s.policy.cluster=default".to_owned(),
            "k8s:io.kubernetes.pod.namespace=prod-app".to_owned(),
        ]
        .into(),
        pod_name: format!("{pod}-7d4b9c6f5-{number:05}"),
        ..Endpoint::default()
    };
    let http = Http {
        method: "GET".to_owned(),
        url: "http://user-service.prod-app/api/v1/users/4711?fields=name".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        ..Http::default()
    };
    let tcp = Tcp {
        source_port: 41_234,
        destination_port: 8080,
        flags: None,
    };
    let flow = Flow {
        time: Some(proto::Timestamp {
            seconds: 1_700_000_000,
            nanos: 1,
        }),
        uuid: "18e9ecf1-afa8-41f8-880e-9c4549381958".to_owned(),
        verdict: 1,
        ip: Some(Ip {
            source: "10.244.1.10".to_owned(),
            destination: "10.244.2.17".to_owned(),
            ip_version: 1,
            ..Ip::default()
        }),
        l4: Some(Layer4 {
            protocol: Some(layer4::Protocol::Tcp(tcp)),
        }),
        l7: Some(Layer7 {
            r#type: L7FlowType::Request.into(),
            latency_ns: 0,
            record: Some(layer7::Record::Http(http)),
        }),
        source: Some(end("api-gateway", 40_001)),
        destination: Some(end("user-service", 40_002)),
        r#type: 2,
        node_name: format!("node-{number:03}"),
        is_reply: Some(false.into()),
        summary: "HTTP/1.1 GET http://user-service.prod-app/api/v1/users/4711?fields=name"
            .to_owned(),
        ..Flow::default()
    };
    let response = GetFlowsResponse {
        node_name: format!("node-{number:03}"),
        time: None,
        response_types: Some(ResponseTypes::Flow(flow)),
    };
    response.encode_to_vec().into()
}

/// An answer with its time: fields may stand in any order.
fn answer(template: &[u8], time: Timestamp) -> Bytes {
    let (seconds, nanos) = time.to_parts();
    let envelope = GetFlowsResponse {
        time: Some(proto::Timestamp { seconds, nanos }),
        ..GetFlowsResponse::default()
    };
    let mut bytes = Vec::with_capacity(template.len() + 24);
    bytes.extend_from_slice(template);
    bytes.extend(envelope.encode_to_vec());
    bytes.into()
}

#[derive(Clone)]
struct Agent {
    number: usize,
    load: Load,
    template: Arc<[u8]>,
}

impl NamedService for Agent {
    const NAME: &'static str = "observer.Observer";
}

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl Service<http::Request<Body>> for Agent {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let agent = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Raw);
            Ok(grpc.server_streaming(agent, request).await)
        })
    }
}

impl ServerStreamingService<Bytes> for Agent {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = std::future::Ready<Result<Response<Answers>, Status>>;

    fn call(&mut self, _request: Request<Bytes>) -> Self::Future {
        let answers = match self.load {
            Load::Live { period, burst } => self.live(period, burst),
            Load::Past { each } => self.past(each),
        };
        std::future::ready(Ok(Response::new(answers)))
    }
}

impl Agent {
    /// Flows at their times, told when the last one of a burst has happened.
    fn live(&self, period: Duration, burst: u64) -> Answers {
        let period = u64::try_from(period.as_nanos()).unwrap();
        let template = Arc::clone(&self.template);
        // Agents do not beat together.
        let first = Timestamp::now().0 + period * burst * self.number as u64 / 100;
        let next = (first, 0);
        Box::pin(stream::unfold(next, move |(time, place)| {
            let template = Arc::clone(&template);
            async move {
                if place == 0 {
                    let last = time + period * (burst - 1);
                    let wait = last.saturating_sub(Timestamp::now().0);
                    tokio::time::sleep(Duration::from_nanos(wait)).await;
                }
                let answer = answer(&template, Timestamp(time));
                Some((Ok(answer), (time + period, (place + 1) % burst)))
            }
        }))
    }

    /// Flows of the last hour, an agent's between those of the others.
    fn past(&self, each: usize) -> Answers {
        let template = Arc::clone(&self.template);
        let begin = Timestamp::now().0 - 3_600_000_000_000;
        let step = 3_600_000_000_000 / each as u64;
        let own = step * self.number as u64 / 100;
        let answers = (0..each as u64)
            .map(move |place| Ok(answer(&template, Timestamp(begin + place * step + own))));
        Box::pin(stream::iter(answers))
    }
}
