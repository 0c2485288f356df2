//! Somebody who asks the relay, and looks at the order.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use l7d::clock::Timestamp;
use l7d::relay::raw::{self, Raw};
use prost::Message as _;
use prost::bytes::Bytes;
use proto::observer::GetFlowsRequest;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

/// How an answer begins that tells of nodes: the key of its field 2, a message.
const NODE_STATUS: u8 = 0x12;

pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("relay.sock")
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    Live,
    Past,
}

/// A request that is being answered.
pub(super) struct Client {
    runtime: Runtime,
    stream: Streaming<Bytes>,
    last: Timestamp,
}

/// What was seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) flows: u64,
    pub(super) out_of_order: u64,
    /// From a flow's time to its arrival, in microseconds.
    delays: Vec<u64>,
}

impl Seen {
    /// The median and the 99th percentile, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn delays(&self) -> [f64; 2] {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        [50, 99].map(|percent| {
            let delay = delays
                .get(delays.len() * percent / 100)
                .copied()
                .unwrap_or_default();
            delay as f64 / 1000.0
        })
    }
}

/// Asks the relay, as soon as it listens.
pub(super) fn ask(folder: &Path, asked: Asked) -> Client {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let path = socket(folder);
    let request = GetFlowsRequest {
        follow: matches!(asked, Asked::Live),
        number: if matches!(asked, Asked::Past) {
            u64::MAX
        } else {
            0
        },
        ..GetFlowsRequest::default()
    };
    let request: Bytes = request.encode_to_vec().into();
    let stream = runtime.block_on(async {
        let endpoint = Endpoint::from_static("http://relay")
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20);
        let channel = loop {
            let path = path.clone();
            let connector = tower::service_fn(move |_uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            match endpoint.connect_with_connector(connector).await {
                Ok(channel) => break channel,
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/observer.Observer/GetFlows");
        let answer = client
            .server_streaming(Request::new(request), path, Raw)
            .await;
        answer.unwrap().into_inner()
    });
    Client {
        runtime,
        stream,
        last: Timestamp(0),
    }
}

impl Client {
    /// Reads for so long, or to the end.
    pub(super) fn read_for(&mut self, time: Duration) -> Seen {
        let end = Instant::now() + time;
        let mut seen = Seen::default();
        let (stream, last) = (&mut self.stream, &mut self.last);
        self.runtime.block_on(async {
            while Instant::now() < end {
                let Some(answer) = stream.message().await.unwrap() else {
                    return;
                };
                if answer.first() == Some(&NODE_STATUS) {
                    continue;
                }
                let time = raw::time(&answer).unwrap();
                seen.flows += 1;
                seen.out_of_order += u64::from(time < *last);
                *last = time;
                if seen.flows.is_multiple_of(16) {
                    seen.delays
                        .push(Timestamp::now().0.saturating_sub(time.0) / 1000);
                }
            }
        });
        seen
    }
}

pub(super) fn print(text: &str) {
    writeln!(std::io::stdout().lock(), "{text}").unwrap();
}
