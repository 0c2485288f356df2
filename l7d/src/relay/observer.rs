//! The Observer of all nodes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use prost::bytes::Bytes;
use proto::observer::observer_client::ObserverClient;
use proto::observer::observer_server::{self, ObserverServer};
use proto::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse,
    GetFlowsRequest, GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse,
    GetNodesRequest, GetNodesResponse, Namespace, Node, ServerStatusRequest, ServerStatusResponse,
    Tls,
};
use proto::relay::NodeState;
use tokio::sync::{Semaphore, watch};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http;
use tonic::server::{NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};

use super::answer::{Answer, Wanted};
use super::connection::Connection;
use super::gauges::Counters;
use super::merge::Settings;
use super::pool::{self, Nodes, State};
use super::raw::Raw;
use super::telling::Telling;
use super::{GET_FLOWS, MESSAGE_BYTES};
use crate::server;

/// How long an agent may take for an answer that is one message.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Clients that read flows at a time: agents answer no more requests at a time over one connection.
const CLIENTS_MAX: usize = 100;
/// Nodes that a status names.
const NAMED_MAX: usize = 10;

/// What all answers are made of.
#[derive(Clone)]
pub(super) struct Relay {
    pub(super) name: Arc<str>,
    pub(super) nodes: watch::Receiver<Arc<Nodes>>,
    pub(super) settings: Settings,
    pub(super) counters: Arc<Counters>,
    places: Arc<Semaphore>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Relay {
    pub(super) fn new(
        name: &str,
        nodes: watch::Receiver<Arc<Nodes>>,
        settings: Settings,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            name: name.into(),
            nodes,
            settings,
            counters,
            places: Arc::new(Semaphore::new(CLIENTS_MAX)),
        }
    }

    /// The service.
    pub(super) fn observer(self) -> Observer {
        Observer {
            rest: ObserverServer::new(self.clone())
                .max_decoding_message_size(server::REQUEST_BYTES),
            relay: self,
        }
    }

    fn flows(&self, request: Request<Bytes>) -> Result<Response<Responses<Bytes>>, Status> {
        let wanted = Wanted::read(request)?;
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_full| {
            Status::resource_exhausted(format!("{CLIENTS_MAX} clients read flows already"))
        })?;
        let telling = Telling::new(self.name.to_string());
        let counting = (Arc::clone(&self.counters), place);
        let answer = Answer::new(wanted, self.nodes.clone(), self.settings, telling, counting);
        Ok(Response::new(Box::pin(answer.stream())))
    }

    fn nodes(&self) -> Arc<Nodes> {
        Arc::clone(&self.nodes.borrow())
    }

    /// Asks every agent that is there; the answers of those that give one in time.
    async fn ask<T, F>(
        &self,
        nodes: &Nodes,
        ask: impl Fn(ObserverClient<Connection>) -> F,
    ) -> Vec<(String, T)>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let asked = nodes.ready().map(|(name, connection)| {
            let client = ObserverClient::with_origin(connection.clone(), Connection::origin());
            let answer = ask(client.max_decoding_message_size(MESSAGE_BYTES));
            async move {
                let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
                match answer {
                    Ok(Ok(answer)) => Some((name.clone(), answer.into_inner())),
                    Ok(Err(status)) => {
                        tracing::debug!(node = %name, %status, "an agent refuses a request");
                        None
                    }
                    Err(_elapsed) => None,
                }
            }
        });
        let asked: FuturesUnordered<_> = asked.collect();
        let mut answers: Vec<(String, T)> = asked.filter_map(async |answer| answer).collect().await;
        answers.sort_by(|(a, _), (b, _)| a.cmp(b));
        answers
    }

    async fn statuses(&self, nodes: &Nodes) -> Vec<(String, ServerStatusResponse)> {
        self.ask(nodes, |mut client| async move {
            client.server_status(ServerStatusRequest {}).await
        })
        .await
    }
}

/// The sum of what agents say of themselves.
fn sum(nodes: &Nodes, statuses: &[(String, ServerStatusResponse)]) -> ServerStatusResponse {
    let answered: BTreeSet<&String> = statuses.iter().map(|(name, _)| name).collect();
    let silent = nodes.nodes.keys().filter(|name| !answered.contains(name));
    let silent: Vec<&String> = silent.collect();
    let count = |count: usize| Some(u32::try_from(count).unwrap_or(u32::MAX).into());
    let start = ServerStatusResponse {
        version: format!("l7d relay v{}", env!("CARGO_PKG_VERSION")),
        num_connected_nodes: count(statuses.len()),
        num_unavailable_nodes: count(silent.len()),
        unavailable_nodes: silent.into_iter().take(NAMED_MAX).cloned().collect(),
        ..ServerStatusResponse::default()
    };
    statuses
        .iter()
        .fold(start, |sum, (_, status)| ServerStatusResponse {
            num_flows: sum.num_flows.saturating_add(status.num_flows),
            max_flows: sum.max_flows.saturating_add(status.max_flows),
            seen_flows: sum.seen_flows.saturating_add(status.seen_flows),
            uptime_ns: sum.uptime_ns.max(status.uptime_ns),
            flows_rate: sum.flows_rate + status.flows_rate,
            ..sum
        })
}

/// A node as it is listed, with what its agent says, where that answers.
fn listed(name: &str, node: &pool::Node, status: Option<&ServerStatusResponse>) -> Node {
    let state = match (&node.state, status) {
        (State::Ready(_), Some(_)) => NodeState::NodeConnected,
        (State::Ready(_), None) => NodeState::NodeError,
        (State::Connecting | State::Failed(_), _) => NodeState::NodeUnavailable,
    };
    let told = status.cloned().unwrap_or_default();
    let tls_name = node.peer.tls_name.clone();
    Node {
        name: name.to_owned(),
        version: told.version,
        address: node.peer.address.clone(),
        state: state.into(),
        tls: Some(Tls {
            enabled: tls_name.is_some(),
            server_name: tls_name.unwrap_or_default(),
        }),
        uptime_ns: told.uptime_ns,
        num_flows: told.num_flows,
        max_flows: told.max_flows,
        seen_flows: told.seen_flows,
    }
}

#[tonic::async_trait]
impl observer_server::Observer for Relay {
    type GetFlowsStream = Responses<GetFlowsResponse>;
    type GetAgentEventsStream = Responses<GetAgentEventsResponse>;
    type GetDebugEventsStream = Responses<GetDebugEventsResponse>;

    async fn get_flows(
        &self,
        _request: Request<GetFlowsRequest>,
    ) -> Result<Response<Self::GetFlowsStream>, Status> {
        Err(Status::internal("flows are answered as bytes"))
    }

    async fn get_agent_events(
        &self,
        _request: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        Err(Status::unimplemented(
            "a relay has no agent events: ask an agent",
        ))
    }

    async fn get_debug_events(
        &self,
        _request: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Err(Status::unimplemented(
            "a relay has no debug events: ask an agent",
        ))
    }

    async fn get_nodes(
        &self,
        _request: Request<GetNodesRequest>,
    ) -> Result<Response<GetNodesResponse>, Status> {
        let nodes = self.nodes();
        let statuses = self.statuses(&nodes).await;
        let status = |name| {
            let place = statuses.binary_search_by(|(node, _)| node.cmp(name));
            place.ok().and_then(|place| statuses.get(place))
        };
        let each = nodes.nodes.iter();
        let nodes = each
            .map(|(name, node)| listed(name, node, status(name).map(|(_, status)| status)))
            .collect();
        Ok(Response::new(GetNodesResponse { nodes }))
    }

    async fn get_namespaces(
        &self,
        _request: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        let answers = self
            .ask(&self.nodes(), |mut client| async move {
                client.get_namespaces(GetNamespacesRequest {}).await
            })
            .await;
        let each = answers
            .into_iter()
            .flat_map(|(_, answer)| answer.namespaces);
        let all: BTreeSet<(String, String)> = each.map(|at| (at.cluster, at.namespace)).collect();
        let namespaces = all
            .into_iter()
            .map(|(cluster, namespace)| Namespace { cluster, namespace })
            .collect();
        Ok(Response::new(GetNamespacesResponse { namespaces }))
    }

    async fn server_status(
        &self,
        _request: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        let nodes = self.nodes();
        let statuses = self.statuses(&nodes).await;
        Ok(Response::new(sum(&nodes, &statuses)))
    }
}

/// The service, of which flows pass as bytes.
#[derive(Clone)]
pub(super) struct Observer {
    relay: Relay,
    rest: ObserverServer<Relay>,
}

impl NamedService for Observer {
    const NAME: &'static str = <ObserverServer<Relay> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for Observer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != GET_FLOWS {
            return self.rest.call(request);
        }
        let flows = Flows(self.relay.clone());
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Raw)
                .apply_max_message_size_config(Some(server::REQUEST_BYTES), None);
            Ok(grpc.server_streaming(flows, request).await)
        })
    }
}

/// `GetFlows`.
struct Flows(Relay);

impl ServerStreamingService<Bytes> for Flows {
    type Response = Bytes;
    type ResponseStream = Responses<Bytes>;
    type Future = std::future::Ready<Result<Response<Responses<Bytes>>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        std::future::ready(self.0.flows(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Peer;

    fn node(state: State) -> pool::Node {
        pool::Node {
            peer: Peer {
                address: "10.0.0.1:4244".to_owned(),
                tls_name: Some("a.example".to_owned()),
            },
            state,
        }
    }

    fn status(flows: u64) -> ServerStatusResponse {
        ServerStatusResponse {
            num_flows: flows,
            max_flows: 4095,
            seen_flows: 10 * flows,
            uptime_ns: flows,
            flows_rate: 0.5,
            version: "l7d v0".to_owned(),
            ..ServerStatusResponse::default()
        }
    }

    #[test]
    fn a_status_is_the_sum_of_all() {
        let mut nodes = Nodes::default();
        for number in 0..14 {
            let failed = State::Failed("gone".into());
            nodes.nodes.insert(format!("n{number:02}"), node(failed));
        }
        let statuses = [("n00".to_owned(), status(5)), ("n01".to_owned(), status(7))];
        let sum = sum(&nodes, &statuses);
        assert_eq!(
            (sum.num_flows, sum.max_flows, sum.seen_flows),
            (12, 8190, 120)
        );
        assert_eq!((sum.uptime_ns, sum.flows_rate), (7, 1.0));
        assert_eq!(sum.num_connected_nodes.map(|n| n.value), Some(2));
        assert_eq!(sum.num_unavailable_nodes.map(|n| n.value), Some(12));
        assert_eq!(sum.unavailable_nodes.len(), NAMED_MAX);
        assert_eq!(sum.unavailable_nodes[0], "n02");
        assert!(sum.version.starts_with("l7d relay v"));
    }

    #[test]
    fn a_node_that_is_not_there_is_listed_with_what_is_known() {
        let listed = listed("a", &node(State::Connecting), None);
        assert_eq!(listed.state(), NodeState::NodeUnavailable);
        assert_eq!(listed.address, "10.0.0.1:4244");
        assert_eq!(
            listed.tls.map(|tls| (tls.enabled, tls.server_name)),
            Some((true, "a.example".to_owned()))
        );
    }
}
