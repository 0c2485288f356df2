//! A server over a ring that the test writes into.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper_util::rt::TokioIo;
use l7d::clock::Timestamp;
use l7d::config::Tcp;
use l7d::flow::FlowRing;
use l7d::flow::agent_events::AgentEvents;
use l7d::flow::view::NodeView;
use l7d::metrics::Calls;
use l7d::record::{
    Direction, DropReason, Endpoint, EndpointId, Event, IdentityNumber, L4, Party, Record,
    Sink as _, Verdict,
};
use l7d::server::{AgentStatus, Peer, Peers, Sources, start_on};
use proto::flow::Flow;
use proto::observer::get_flows_response::ResponseTypes;
use proto::observer::observer_client::ObserverClient;
use proto::observer::{GetFlowsRequest, GetFlowsResponse};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint as Target};

/// Ends with everything of it when it is dropped.
pub(crate) struct Served {
    pub(crate) ring: Arc<FlowRing>,
    pub(crate) events: Arc<AgentEvents>,
    /// Where it is served in plaintext.
    pub(crate) tcp: SocketAddr,
    pub(crate) calls: Arc<Calls>,
    folder: tempfile::TempDir,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// A ring of so many records, and nothing in it.
    pub(crate) fn new(capacity: usize) -> Self {
        let ring = Arc::new(FlowRing::new(capacity, Arc::default()));
        let events = Arc::new(AgentEvents::default());
        let folder = tempfile::tempdir().unwrap();
        let (stop, stopped) = watch::channel(false);
        let sources = sources(&ring, &events);
        let calls = Arc::clone(&sources.calls.0);
        let tcp = free_port();
        let listen = Tcp {
            listen: tcp,
            tls: None,
            insecure: false,
        };
        let socket = socket(folder.path());
        let (teller, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            run(async {
                start_on(Some(&socket), Some(&listen), &sources, &stopped)
                    .await
                    .unwrap();
                teller.send(()).unwrap();
                let mut stop = stopped.clone();
                stop.wait_for(|stop| *stop).await.unwrap();
            });
        });
        started.recv().unwrap();
        Self {
            ring,
            events,
            tcp,
            calls,
            folder,
            stop,
            thread: Some(thread),
        }
    }

    /// Records drops from these ports, which are told apart by them; times are those of now.
    pub(crate) fn record(&self, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            self.ring.record(&dropped(port, Timestamp::now()));
        }
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Channel {
        connect(&socket(self.folder.path())).await
    }

    pub(crate) async fn observer(&self) -> ObserverClient<Channel> {
        ObserverClient::new(self.connect().await)
    }

    /// Flows as they come.
    pub(crate) async fn flows(&self, request: GetFlowsRequest) -> Streaming<GetFlowsResponse> {
        let answer = self.observer().await.get_flows(request).await;
        answer.unwrap().into_inner()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the server failed"
            );
        }
    }
}

/// A port of loopback where nobody listens.
pub(crate) fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap()
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("l7d.sock")
}

async fn connect(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    Target::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await
        .unwrap()
}

fn sources(ring: &Arc<FlowRing>, events: &Arc<AgentEvents>) -> Sources {
    let peer = Peer {
        address: "192.0.2.1:4244".to_owned(),
        tls_name: None,
    };
    Sources {
        calls: l7d::metrics::CallsLayer::default(),
        ring: Arc::clone(ring),
        events: Arc::clone(events),
        node: Arc::new(NodeView {
            name: "n1".to_owned(),
            seed: 1,
            ..NodeView::default()
        }),
        status: Arc::new(AgentStatus::default),
        names: Arc::new(Vec::new),
        audits: Arc::new(Vec::new),
        peers: watch::Sender::new(Arc::new(Peers::only("n1", peer))).subscribe(),
    }
}

/// A packet of a pod that did not get to another one.
pub(crate) fn dropped(port: u16, time: Timestamp) -> Record {
    let party = |name: &str, address: [u8; 4], port| {
        let endpoint = Endpoint {
            id: EndpointId(0),
            identity: IdentityNumber(300),
            cluster: "default".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: [format!("k8s:app={name}")].into(),
            workload: None,
        };
        Party {
            addr: (address, port).into(),
            identity: endpoint.identity,
            endpoint: Some(Arc::new(endpoint)),
            service: None,
        }
    };
    let event = Event::Drop {
        reason: DropReason::POLICY_DENIED,
        kernel: None,
    };
    let (web, cart) = (
        party("web", [10, 0, 0, 1], port),
        party("cart", [10, 0, 0, 2], 80),
    );
    let mut record = Record::new(time, web, cart, event);
    record.verdict = Verdict::Dropped;
    record.direction = Direction::Egress;
    record.l4 = L4::Tcp { flags: 0x02 };
    record
}

/// Runs to the end, on this thread.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// The next flow; what is lost, or the end, fails.
pub(crate) async fn flow(stream: &mut Streaming<GetFlowsResponse>) -> Flow {
    match stream
        .message()
        .await
        .unwrap()
        .and_then(|response| response.response_types)
    {
        Some(ResponseTypes::Flow(flow)) => flow,
        other => panic!("no flow: {other:?}"),
    }
}

/// From which port it was sent.
pub(crate) fn port(flow: &Flow) -> u16 {
    let l4 = flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref());
    let Some(proto::flow::layer4::Protocol::Tcp(tcp)) = l4 else {
        panic!("no TCP: {flow:?}");
    };
    tcp.source_port.try_into().unwrap()
}

/// Ports of all flows up to the end.
pub(crate) async fn ports(mut stream: Streaming<GetFlowsResponse>) -> Vec<u16> {
    let mut ports = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        match response.response_types {
            Some(ResponseTypes::Flow(flow)) => ports.push(port(&flow)),
            other => panic!("no flow: {other:?}"),
        }
    }
    ports
}
