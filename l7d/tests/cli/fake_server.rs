//! A server of the Hubble API on a unix socket that answers with what it was asked.

use std::path::PathBuf;
use std::pin::Pin;
use std::thread::JoinHandle;

use futures_util::{Stream, StreamExt, stream};
use proto::Timestamp;
use proto::flow::Flow;
use proto::observer::get_flows_response::ResponseTypes;
use proto::observer::observer_server::{Observer, ObserverServer};
use proto::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse,
    GetFlowsRequest, GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse,
    GetNodesRequest, GetNodesResponse, Namespace, ServerStatusRequest, ServerStatusResponse,
};
use proto::peer::peer_server::{Peer, PeerServer};
use proto::peer::{ChangeNotification, ChangeNotificationType, NotifyRequest};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Stops, and removes its socket, when dropped.
pub(crate) struct FakeServer {
    directory: tempfile::TempDir,
    health: HealthReporter,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("l7d.sock");
        let (health, health_service) = tonic_health::server::health_reporter();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // Bound before any client is started.
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(&socket).unwrap()
        };
        let reporter = health.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                reporter
                    .set_service_status("hubble.server.Observer", ServingStatus::Serving)
                    .await;
                Server::builder()
                    .add_service(health_service)
                    .add_service(ObserverServer::new(Echo))
                    .add_service(PeerServer::new(Echo))
                    .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async {
                        let _stopped_or_dropped = stopped.await;
                    })
                    .await
                    .unwrap();
            });
        });
        Self {
            directory,
            health,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> String {
        let socket: PathBuf = self.directory.path().join("l7d.sock");
        format!("unix://{}", socket.display())
    }

    pub(crate) fn stop_serving(&self) {
        let reporter = self.health.clone();
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async move {
                reporter
                    .set_service_status("hubble.server.Observer", ServingStatus::NotServing)
                    .await;
            });
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the server failed"
            );
        }
    }
}

struct Echo;

#[tonic::async_trait]
impl Observer for Echo {
    type GetFlowsStream = Answer<GetFlowsResponse>;
    type GetAgentEventsStream = Answer<GetAgentEventsResponse>;
    type GetDebugEventsStream = Answer<GetDebugEventsResponse>;

    async fn get_flows(
        &self,
        request: Request<GetFlowsRequest>,
    ) -> Result<Response<Self::GetFlowsStream>, Status> {
        let request = request.into_inner();
        if request
            .whitelist
            .iter()
            .any(|filter| filter.http_path == ["("])
        {
            return Err(Status::unknown("bad regular expression"));
        }
        let time = Some(Timestamp {
            seconds: 1_772_615_727,
            nanos: 0,
        });
        let flow = Flow {
            time,
            verdict: 1,
            summary: format!(
                "asked for {}, {} filters",
                request.number,
                request.whitelist.len()
            ),
            ..Flow::default()
        };
        let response = GetFlowsResponse {
            node_name: "node-1".to_owned(),
            time,
            response_types: Some(ResponseTypes::Flow(flow)),
        };
        let once = stream::iter([Ok(response)]);
        let stream: Self::GetFlowsStream = if request.follow {
            Box::pin(once.chain(stream::pending()))
        } else {
            Box::pin(once)
        };
        Ok(Response::new(stream))
    }

    async fn get_agent_events(
        &self,
        _request: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        Err(Status::unimplemented("no events"))
    }

    async fn get_debug_events(
        &self,
        _request: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Err(Status::unimplemented("no events"))
    }

    async fn get_nodes(
        &self,
        _request: Request<GetNodesRequest>,
    ) -> Result<Response<GetNodesResponse>, Status> {
        Err(Status::unimplemented("no nodes"))
    }

    async fn get_namespaces(
        &self,
        _request: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        let namespace = Namespace {
            cluster: "default".to_owned(),
            namespace: "shop".to_owned(),
        };
        Ok(Response::new(GetNamespacesResponse {
            namespaces: vec![namespace],
        }))
    }

    async fn server_status(
        &self,
        _request: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        Ok(Response::new(ServerStatusResponse {
            num_flows: 7,
            max_flows: 4095,
            flows_rate: 1.5,
            ..ServerStatusResponse::default()
        }))
    }
}

#[tonic::async_trait]
impl Peer for Echo {
    type NotifyStream = Answer<ChangeNotification>;

    async fn notify(
        &self,
        _request: Request<NotifyRequest>,
    ) -> Result<Response<Self::NotifyStream>, Status> {
        let change = ChangeNotification {
            name: "node-1".to_owned(),
            address: "10.0.0.5:4244".to_owned(),
            r#type: ChangeNotificationType::PeerAdded.into(),
            tls: None,
        };
        Ok(Response::new(Box::pin(stream::iter([Ok(change)]))))
    }
}
