//! Clients: one that reads all there is, or many that follow.

use std::time::Instant;

use futures_util::future::join_all;
use hyper_util::rt::TokioIo;
use proto::encoded::observer_client::ObserverClient as EncodedClient;
use proto::flow::FlowFilter;
use proto::flow::flow_filter::Experimental;
use proto::observer::GetFlowsRequest;
use proto::observer::observer_client::ObserverClient;
use proto::wire::{Pieces, Value};
use rustix::time::ClockId;
use serde_json::json;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::cpu_seconds;

/// What the stock command line asks for unless it is told otherwise.
const USUAL_MASK: &[&str] = &[
    "time",
    "verdict",
    "ethernet",
    "IP",
    "l4",
    "source.identity",
    "source.namespace",
    "source.pod_name",
    "destination.identity",
    "destination.namespace",
    "destination.pod_name",
    "Type",
    "node_name",
    "l7",
    "event_type",
    "source_service",
    "destination_service",
    "is_reply",
    "Summary",
    "ip_trace_id",
];

async fn connect(socket: &str) -> Channel {
    let socket = socket.to_owned();
    // As the command line has it.
    Endpoint::from_static("http://localhost")
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .connect_with_connector(tower::service_fn(move |_uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await
        .expect("a connection")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Reads everything, once.
pub(crate) fn one(socket: &str, how: &str) {
    let mut request = GetFlowsRequest::default();
    match how {
        "masked" => {
            let paths = USUAL_MASK.iter().map(|path| (*path).to_owned()).collect();
            request.field_mask = Some(pbjson_types::FieldMask { paths });
        }
        "denied" => {
            request.whitelist = vec![FlowFilter {
                drop_reason_desc: vec![133],
                ..FlowFilter::default()
            }];
        }
        "expression" => {
            let text = "_flow.drop_reason_desc == DropReason.POLICY_DENIED";
            request.whitelist = vec![FlowFilter {
                experimental: Some(Experimental {
                    cel_expression: vec![text.to_owned()],
                }),
                ..FlowFilter::default()
            }];
        }
        _ => {}
    }
    let is_encoded = how == "encoded";
    runtime().block_on(async {
        let channel = connect(socket).await;
        let (began, cpu) = (Instant::now(), cpu_seconds(ClockId::ProcessCPUTime));
        let (mut flows, mut bytes) = (0_u64, 0);
        if is_encoded {
            let mut client = EncodedClient::new(channel);
            let mut stream = client.get_flows(request).await.expect("flows").into_inner();
            while let Some(response) = stream.message().await.expect("flows") {
                flows += 1;
                bytes += response.0.len();
            }
        } else {
            let mut client = ObserverClient::new(channel);
            let mut stream = client.get_flows(request).await.expect("flows").into_inner();
            while let Some(response) = stream.message().await.expect("flows") {
                flows += u64::from(response.response_types.is_some());
            }
        }
        let figures = json!({
            "flows": flows,
            "bytes": bytes,
            "seconds": began.elapsed().as_secs_f64(),
            "cpu": cpu_seconds(ClockId::ProcessCPUTime) - cpu,
        });
        println!("{figures}");
    });
}

/// Follows with so many clients, each with a connection of its own, until each was given so many flows or
/// told that they are lost.
pub(crate) fn many(socket: &str, clients: u64, flows: u64) {
    runtime().block_on(async {
        let cpu = cpu_seconds(ClockId::ProcessCPUTime);
        let mut streams = Vec::new();
        for _ in 0..clients {
            let mut client = EncodedClient::new(connect(socket).await);
            let request = GetFlowsRequest {
                follow: true,
                ..GetFlowsRequest::default()
            };
            let stream = client.get_flows(request).await.expect("flows");
            streams.push(stream.into_inner());
        }
        println!("following");
        let each = streams.into_iter().map(|mut stream| async move {
            let (mut given, mut lost) = (0_u64, 0);
            while given + lost < flows {
                let response = stream.message().await.expect("flows").expect("more flows");
                match lost_events(&response.0) {
                    Some(count) => lost += count,
                    None => given += 1,
                }
            }
            (given, lost)
        });
        let counts = join_all(each).await;
        let given: u64 = counts.iter().map(|(given, _)| given).sum();
        let lost: u64 = counts.iter().map(|(_, lost)| lost).sum();
        let figures = json!({
            "given": given,
            "lost": lost,
            "cpu": cpu_seconds(ClockId::ProcessCPUTime) - cpu,
        });
        println!("{figures}");
    });
}

/// How many events a response says are lost, where it is about that.
fn lost_events(response: &[u8]) -> Option<u64> {
    let first = Pieces::of(response).next()?;
    let Value::Bytes(event) = first.value else {
        return None;
    };
    let mut fields = Pieces::of(event).filter(|_| first.number == 3);
    fields.find_map(|field| match field.value {
        Value::Varint(count) if field.number == 2 => Some(count),
        _ => None,
    })
}
