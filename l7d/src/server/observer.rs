//! The Observer: flows on request.

use std::pin::Pin;
use std::sync::Arc;

use pbjson_types::FieldMask;
use proto::encoded::{Encoded, observer_server};
use proto::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse,
    GetFlowsRequest, GetNamespacesRequest, GetNamespacesResponse, GetNodesRequest,
    GetNodesResponse, Node, ServerStatusRequest, ServerStatusResponse, Tls,
};
use proto::relay::NodeState;
use tokio_stream::Stream;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

use super::Sources;
use super::agent_events;
use super::encoding::Forms;
use super::flows::Answer;
use super::namespaces::Namespaces;
use super::status::STATUS_HEADER;
use crate::clock::Timestamp;
use crate::flow::filter::Filters;
use crate::flow::reader::{Reader, Window};
use crate::flow::view::Mask;

/// Flows of this long ago make the flow rate.
const RATE_NS: u64 = 60_000_000_000;

/// The service.
pub(super) struct Observer {
    sources: Sources,
    forms: Forms,
    namespaces: Arc<Namespaces>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Observer {
    pub(super) fn new(sources: Sources, namespaces: Arc<Namespaces>) -> Self {
        Self {
            sources,
            forms: Forms::default(),
            namespaces,
        }
    }

    fn status(&self) -> ServerStatusResponse {
        let ring = &self.sources.ring;
        ServerStatusResponse {
            num_flows: ring.len(),
            max_flows: ring.capacity(),
            seen_flows: ring.end(),
            uptime_ns: Timestamp::now().0.saturating_sub(ring.started().0),
            version: format!("l7d v{}", env!("CARGO_PKG_VERSION")),
            flows_rate: ring.rate(RATE_NS),
            ..ServerStatusResponse::default()
        }
    }
}

#[tonic::async_trait]
impl observer_server::Observer for Observer {
    type GetFlowsStream = Responses<Encoded>;
    type GetAgentEventsStream = Responses<GetAgentEventsResponse>;
    type GetDebugEventsStream = Responses<GetDebugEventsResponse>;

    async fn get_flows(
        &self,
        request: Request<GetFlowsRequest>,
    ) -> Result<Response<Self::GetFlowsStream>, Status> {
        let peer = peer(&request);
        let request = request.into_inner();
        let node = Arc::clone(&self.sources.node);
        let filters = Filters::new(&request.whitelist, &request.blacklist, &node)
            .map_err(|error| Status::unknown(error.to_string()))?;
        let mask = mask(request.field_mask.as_ref())?;
        let window = window(
            (request.number, request.first, request.follow),
            (request.since, request.until),
        )?;
        let ring = &self.sources.ring;
        let client = ring.clients().join(&peer, window.follow);
        let reader = Reader::new(ring, window, filters, client);
        let form = self.forms.form(mask, &node);
        let answer = Answer::new(self.sources.clone(), form, reader, window.follow);
        Ok(Response::new(Box::pin(answer.stream())))
    }

    async fn get_agent_events(
        &self,
        request: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        let peer = peer(&request);
        let request = request.into_inner();
        let window = window(
            (request.number, request.first, request.follow),
            (request.since, request.until),
        )?;
        let client = self.sources.ring.clients().join(&peer, window.follow);
        let reader = self.sources.events.read(window, client);
        let answer = agent_events::answer(reader, self.sources.node.name.clone());
        Ok(Response::new(Box::pin(answer)))
    }

    async fn get_debug_events(
        &self,
        _request: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Err(Status::unimplemented("this agent makes no debug events"))
    }

    /// An agent knows one node: itself. Relays know all.
    async fn get_nodes(
        &self,
        _request: Request<GetNodesRequest>,
    ) -> Result<Response<GetNodesResponse>, Status> {
        let status = self.status();
        let name = &self.sources.node.name;
        let own = self.sources.peers.borrow().get(name).cloned();
        let own = own.unwrap_or_default();
        let node = Node {
            name: name.clone(),
            version: status.version,
            address: own.address,
            state: NodeState::NodeConnected.into(),
            tls: own.tls_name.map(|server_name| Tls {
                enabled: true,
                server_name,
            }),
            uptime_ns: status.uptime_ns,
            num_flows: status.num_flows,
            max_flows: status.max_flows,
            seen_flows: status.seen_flows,
        };
        Ok(Response::new(GetNodesResponse { nodes: vec![node] }))
    }

    async fn get_namespaces(
        &self,
        _request: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        let namespaces = self.namespaces.list().await;
        Ok(Response::new(GetNamespacesResponse { namespaces }))
    }

    async fn server_status(
        &self,
        request: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        let mut response = Response::new(self.status());
        if !request.metadata().contains_key(STATUS_HEADER) {
            return Ok(response);
        }
        let status = (self.sources.status)().bounded();
        let status = serde_json::to_string(&status).unwrap_or_default();
        // Header values are printable ASCII; JSON escapes the rest.
        let ascii: String = status.chars().flat_map(escape).collect();
        if let Ok(value) = ascii.parse() {
            response.metadata_mut().insert(STATUS_HEADER, value);
        }
        Ok(response)
    }
}

/// The part that a request asks for: how many, from the first, following; since, until.
fn window(
    (number, first, follow): (u64, bool, bool),
    (since, until): (Option<proto::Timestamp>, Option<proto::Timestamp>),
) -> Result<Window, Status> {
    if first && follow {
        return Err(Status::invalid_argument(
            "first cannot be specified with follow",
        ));
    }
    Ok(Window {
        number,
        first,
        follow,
        since: time(since)?,
        until: time(until)?,
    })
}

fn mask(mask: Option<&FieldMask>) -> Result<Option<Mask>, Status> {
    let paths = mask.map_or(&[] as &[String], |mask| &mask.paths);
    Mask::new(paths).map_err(|error| Status::unknown(error.to_string()))
}

/// Where a request comes from: an address, or a process of this host.
fn peer<T>(request: &Request<T>) -> String {
    if let Some(address) = request.remote_addr() {
        return address.to_string();
    }
    let info = request.extensions().get::<UdsConnectInfo>();
    let pid = info.and_then(|info| info.peer_cred?.pid());
    pid.map_or_else(String::new, |pid| format!("pid {pid}"))
}

fn escape(c: char) -> Vec<char> {
    if c.is_ascii() && !c.is_ascii_control() {
        return vec![c];
    }
    let mut units = [0; 2];
    let units = c.encode_utf16(&mut units);
    units
        .iter()
        .flat_map(|unit| format!("\\u{unit:04x}").chars().collect::<Vec<_>>())
        .collect()
}

fn time(time: Option<proto::Timestamp>) -> Result<Option<Timestamp>, Status> {
    let Some(time) = time else { return Ok(None) };
    let fault = || Status::invalid_argument("since and until must be times after 1970");
    let seconds = u64::try_from(time.seconds).map_err(|_negative| fault())?;
    let nanos = u64::try_from(time.nanos).map_err(|_negative| fault())?;
    Ok(Some(Timestamp(
        seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
    )))
}
