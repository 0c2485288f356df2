//! Sending requests to a collector, and what of its answers means "later".

use std::sync::Arc;
use std::time::Duration;

use prost::bytes::BufMut as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::config::{Otlp, Signal};

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const SPANS: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The first pause before a request is tried again; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A collector. Nothing is connected before the first request.
#[derive(Debug, Clone)]
pub(super) struct Client {
    channel: Channel,
    path: PathAndQuery,
    metadata: MetadataMap,
    timeout: Duration,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// The collector has it, but for so many records, and says why.
    Taken { rejected: u64, message: String },
    /// It will never take it.
    Refused(String),
}

/// `ExportLogsServiceResponse` and `ExportTraceServiceResponse` are alike.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

impl Client {
    /// A client as configured.
    ///
    /// # Errors
    /// What cannot be used of it.
    pub(super) fn new(settings: &Otlp) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(settings.endpoint.clone());
        let mut endpoint = endpoint.map_err(|error| error.to_string())?;
        if settings.endpoint.starts_with("https://") {
            let tls = endpoint.tls_config(tls(settings)?);
            endpoint = tls.map_err(|error| error.to_string())?;
        }
        let mut metadata = MetadataMap::new();
        for (name, value) in &settings.headers {
            let key: AsciiMetadataKey = name
                .parse()
                .map_err(|_invalid| format!("`{name}` is not the name of a header"))?;
            let value: AsciiMetadataValue = value
                .parse()
                .map_err(|_invalid| format!("the value of header {name} is not one"))?;
            metadata.insert(key, value);
        }
        let path = match settings.signal {
            Signal::Logs => LOGS,
            Signal::Spans => SPANS,
        };
        Ok(Self {
            channel: endpoint.connect_timeout(settings.timeout).connect_lazy(),
            path: PathAndQuery::from_static(path),
            metadata,
            timeout: settings.timeout,
        })
    }

    /// Sends a request until the collector has decided about it; `trouble` is told why it has to be
    /// sent again.
    pub(super) async fn send(self, request: Arc<Vec<u8>>, trouble: impl Fn(&str)) -> Answer {
        let mut pause = PAUSE;
        loop {
            let sent = tokio::time::timeout(self.timeout, self.send_once(&request));
            let status = match sent.await {
                Ok(Ok(response)) => return Answer::of(response),
                Ok(Err(status)) => status,
                Err(_elapsed) => Status::deadline_exceeded("no answer in time"),
            };
            let why = told(&status);
            if !is_for_later(&status) {
                return Answer::Refused(why);
            }
            trouble(&why);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn send_once(&self, request: &Arc<Vec<u8>>) -> Result<Response, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let mut sent = Request::new(Arc::clone(request));
        *sent.metadata_mut() = self.metadata.clone();
        let answer = grpc.unary(sent, self.path.clone(), Encoded).await?;
        Ok(answer.into_inner())
    }
}

impl Answer {
    fn of(response: Response) -> Self {
        let partial = response.partial_success.unwrap_or_default();
        Self::Taken {
            rejected: u64::try_from(partial.rejected).unwrap_or_default(),
            message: partial.error_message,
        }
    }
}

/// What OTLP calls retryable, and a connection that broke off. Who is out of resources should say when
/// to ask again; collectors that are overrun do not, and mean "later" all the same.
fn is_for_later(status: &Status) -> bool {
    // What the collector itself says has no cause here.
    let is_broken = || std::error::Error::source(status).is_some();
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss
        | Code::ResourceExhausted => true,
        Code::Unknown | Code::Internal => is_broken(),
        _ => false,
    }
}

/// The status with its cause, which says what the connection died of.
fn told(status: &Status) -> String {
    let mut told = format!("{:?}: {}", status.code(), status.message());
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    told
}

fn tls(settings: &Otlp) -> Result<ClientTlsConfig, String> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut tls = ClientTlsConfig::new();
    tls = match &settings.ca {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
        None => tls.with_enabled_roots(),
    };
    if let Some((certificate, key)) = &settings.identity {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(tls)
}

/// Requests are encoded already.
#[derive(Debug, Clone, Copy)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Arc<Vec<u8>>;
    type Decode = Response;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Encoded {
    type Item = Arc<Vec<u8>>;
    type Error = Status;

    fn encode(&mut self, request: Self::Item, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&request);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Response;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Response>, Status> {
        let response = prost::Message::decode(from);
        response
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
