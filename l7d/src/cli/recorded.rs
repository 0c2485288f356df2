//! A file of flows as a server of the Hubble API, for who knows nothing of files.

use std::pin::Pin;

use futures_util::Stream;
use proto::observer::observer_server::Observer;
use proto::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse,
    GetFlowsRequest, GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse,
    GetNodesRequest, GetNodesResponse, ServerStatusRequest, ServerStatusResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::observe::input::{self, Lines};

/// Flows that are read ahead of who takes them.
const AHEAD: usize = 256;

/// A file of JSON lines; `-` is standard input, which can be asked for once.
#[derive(Debug)]
pub(super) struct Recorded(pub(super) String);

/// Answers that nobody gives.
type Nothing<T> = tokio_stream::Pending<Result<T, Status>>;
type Told<T> = Result<Response<T>, Status>;

fn none<T>() -> Told<T> {
    Err(Status::unimplemented("a file of flows has flows only"))
}

#[tonic::async_trait]
impl Observer for Recorded {
    type GetFlowsStream = Pin<Box<dyn Stream<Item = Result<GetFlowsResponse, Status>> + Send>>;
    type GetAgentEventsStream = Nothing<GetAgentEventsResponse>;
    type GetDebugEventsStream = Nothing<GetDebugEventsResponse>;

    /// All of the file, whatever is asked; who follows waits when it has ended.
    async fn get_flows(&self, request: Request<GetFlowsRequest>) -> Told<Self::GetFlowsStream> {
        let file = self.0.clone();
        let (sender, receiver) = mpsc::channel(AHEAD);
        let is_followed = request.into_inner().follow;
        // Reading waits for a disk, or for whoever writes to standard input.
        tokio::task::spawn_blocking(move || {
            if let Err(status) = read(&file, &sender) {
                // Who is gone needs no error.
                let _gone = sender.blocking_send(Err(status));
            }
        });
        let flows = ReceiverStream::new(receiver);
        if is_followed {
            let waiting = tokio_stream::pending();
            return Ok(Response::new(Box::pin(tokio_stream::StreamExt::chain(
                flows, waiting,
            ))));
        }
        Ok(Response::new(Box::pin(flows)))
    }

    async fn server_status(
        &self,
        _request: Request<ServerStatusRequest>,
    ) -> Told<ServerStatusResponse> {
        Ok(Response::new(ServerStatusResponse::default()))
    }

    async fn get_agent_events(
        &self,
        _request: Request<GetAgentEventsRequest>,
    ) -> Told<Self::GetAgentEventsStream> {
        none()
    }

    async fn get_debug_events(
        &self,
        _request: Request<GetDebugEventsRequest>,
    ) -> Told<Self::GetDebugEventsStream> {
        none()
    }

    async fn get_nodes(&self, _request: Request<GetNodesRequest>) -> Told<GetNodesResponse> {
        none()
    }

    async fn get_namespaces(
        &self,
        _request: Request<GetNamespacesRequest>,
    ) -> Told<GetNamespacesResponse> {
        none()
    }
}

fn read(file: &str, sender: &mpsc::Sender<Result<GetFlowsResponse, Status>>) -> Result<(), Status> {
    let failed =
        |failure: super::failure::Failure| Status::failed_precondition(failure.to_string());
    let mut lines = Lines::new(input::open(file).map_err(failed)?);
    while let Some((number, line)) = lines.next(file).map_err(failed)? {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match input::parse(line) {
            Ok(response) => {
                if sender.blocking_send(Ok(response)).is_err() {
                    return Ok(());
                }
            }
            Err(error) => tracing::warn!(file, number, %error, "not a flow, skipped"),
        }
    }
    Ok(())
}
