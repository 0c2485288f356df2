//! The Observer: flows on request.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use proto::flow::{LostEvent, LostEventSource};
use proto::observer::get_flows_response::ResponseTypes;
use proto::observer::observer_server;
use proto::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse,
    GetFlowsRequest, GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse,
    GetNodesRequest, GetNodesResponse, Namespace, ServerStatusRequest, ServerStatusResponse,
};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Sources;
use crate::clock::Timestamp;
use crate::flow::Read;
use crate::flow::filter::Filters;
use crate::flow::reader::{Next, Reader, Window};
use crate::flow::view::timestamp;
use crate::record::Place;

/// Responses that may wait for one client; beyond that the reader waits, and the ring goes on.
const QUEUE: usize = 256;
/// Flows of this long ago make the flow rate.
const RATE_NS: u64 = 60_000_000_000;
/// Namespaces seen this long ago are listed.
const NAMESPACES_NS: u64 = 3_600_000_000_000;

pub(super) struct Observer {
    sources: Sources,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Observer {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources }
    }

    /// Calls `visit` with each record not older than `age_ns`, newest first.
    fn recent(&self, age_ns: u64, mut visit: impl FnMut(&crate::record::Record)) {
        let ring = &self.sources.ring;
        let oldest = Timestamp::now().0.saturating_sub(age_ns);
        let mut position = ring.end();
        while position > ring.start() {
            position -= 1;
            match ring.read(position) {
                Read::Record(record) if record.time.0 >= oldest => visit(&record),
                Read::Record(_) | Read::Overtaken(_) => return,
                Read::Nothing => {}
            }
        }
    }

    /// Flows per second over the last minute, or since the start if that is shorter.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn rate(&self) -> f64 {
        let mut count = 0_u64;
        self.recent(RATE_NS, |_| count += 1);
        let age = Timestamp::now()
            .0
            .saturating_sub(self.sources.ring.started().0)
            .min(RATE_NS);
        if age == 0 {
            0.0
        } else {
            count as f64 * 1e9 / age as f64
        }
    }
}

#[tonic::async_trait]
impl observer_server::Observer for Observer {
    type GetFlowsStream = Responses<GetFlowsResponse>;
    type GetAgentEventsStream = Responses<GetAgentEventsResponse>;
    type GetDebugEventsStream = Responses<GetDebugEventsResponse>;

    async fn get_flows(
        &self,
        request: Request<GetFlowsRequest>,
    ) -> Result<Response<Self::GetFlowsStream>, Status> {
        let request = request.into_inner();
        if request.first && request.follow {
            return Err(Status::invalid_argument(
                "first cannot be specified with follow",
            ));
        }
        let node = Arc::clone(&self.sources.node);
        let filters = Filters::new(&request.whitelist, &request.blacklist, &node)
            .map_err(|error| Status::unknown(error.to_string()))?;
        let window = Window {
            number: request.number,
            first: request.first,
            follow: request.follow,
            since: time(request.since)?,
            until: time(request.until)?,
        };
        let reader = Reader::new(&self.sources.ring, window, filters);
        let (out, responses) = mpsc::channel(QUEUE);
        tokio::spawn(stream_flows(self.sources.clone(), reader, out));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }

    async fn get_agent_events(
        &self,
        _request: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        Err(Status::unimplemented(
            "this agent keeps no agent events yet",
        ))
    }

    async fn get_debug_events(
        &self,
        _request: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Err(Status::unimplemented("this agent makes no debug events"))
    }

    async fn get_nodes(
        &self,
        _request: Request<GetNodesRequest>,
    ) -> Result<Response<GetNodesResponse>, Status> {
        Err(Status::unimplemented(
            "GetNodes not implemented: ask a relay",
        ))
    }

    async fn get_namespaces(
        &self,
        _request: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        let mut seen = BTreeSet::new();
        self.recent(NAMESPACES_NS, |record| {
            for party in [&record.source, &record.destination] {
                if !party.namespace().is_empty() {
                    seen.insert(party.namespace().to_owned());
                }
            }
        });
        let namespaces = seen
            .into_iter()
            .map(|namespace| Namespace {
                cluster: "default".to_owned(),
                namespace,
            })
            .collect();
        Ok(Response::new(GetNamespacesResponse { namespaces }))
    }

    async fn server_status(
        &self,
        _request: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        let ring = &self.sources.ring;
        let mut response = Response::new(ServerStatusResponse {
            num_flows: ring.len(),
            max_flows: ring.capacity(),
            seen_flows: ring.end(),
            uptime_ns: Timestamp::now().0.saturating_sub(ring.started().0),
            version: format!("l7d v{}", env!("CARGO_PKG_VERSION")),
            flows_rate: self.rate(),
            ..ServerStatusResponse::default()
        });
        let status = serde_json::to_string(&(self.sources.status)()).unwrap_or_default();
        // Header values are printable ASCII; JSON escapes the rest.
        let ascii: String = status.chars().flat_map(escape).collect();
        if let Ok(value) = ascii.parse() {
            response.metadata_mut().insert("l7d-agent-status", value);
        }
        Ok(response)
    }
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

/// Sends what the reader finds until the request is answered or the client is gone. A slow client
/// makes its own reader late, and is told what it missed.
async fn stream_flows(
    sources: Sources,
    mut reader: Reader,
    out: mpsc::Sender<Result<GetFlowsResponse, Status>>,
) {
    let mut news = sources.ring.news();
    loop {
        let response = match reader.next(&sources.ring) {
            Next::End => return,
            Next::Wait => {
                tokio::select! {
                    changed = news.changed() => if changed.is_err() { return },
                    () = out.closed() => return,
                }
                continue;
            }
            Next::Record(record) => {
                let flow = sources.node.flow(&record);
                response(&sources, record.time, ResponseTypes::Flow(flow))
            }
            Next::Lost(count) => {
                sources.ring.ledger().lose(Place::FlowRing, count);
                response(
                    &sources,
                    Timestamp::now(),
                    ResponseTypes::LostEvents(lost(count)),
                )
            }
        };
        if out.send(Ok(response)).await.is_err() {
            return;
        }
    }
}

fn response(sources: &Sources, time: Timestamp, what: ResponseTypes) -> GetFlowsResponse {
    GetFlowsResponse {
        response_types: Some(what),
        node_name: sources.node.name.clone(),
        time: Some(timestamp(time)),
    }
}

fn lost(count: u64) -> LostEvent {
    LostEvent {
        source: LostEventSource::HubbleRingBuffer.into(),
        num_events_lost: count,
        ..LostEvent::default()
    }
}
