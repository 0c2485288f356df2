//! A collector made from OpenTelemetry's own messages.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use testbed::Host;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A log record, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) event_name: String,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) resource: Vec<KeyValue>,
}

/// A span, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) resource: Vec<KeyValue>,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<(Vec<Log>, Vec<Span>)>>);

/// It runs until this is dropped.
pub(crate) struct Collector {
    received: Received,
    _stop: oneshot::Sender<()>,
}

impl Collector {
    /// Listens on loopback of a host.
    pub(crate) fn start(host: &Host, port: u16) -> anyhow::Result<Self> {
        let listener = host.inside(|| {
            let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?;
        let received = Received::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let services = received.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let server = tonic::transport::Server::builder()
                    .add_service(LogsServiceServer::new(services.clone()))
                    .add_service(TraceServiceServer::new(services))
                    .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                        let _gone = stopped.await;
                    });
                server.await.map_err(std::io::Error::other)
            })
        });
        Ok(Self {
            received,
            _stop: stop,
        })
    }

    pub(crate) fn logs(&self) -> Vec<Log> {
        self.received.with(|(logs, _)| logs.clone())
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.received.with(|(_, spans)| spans.clone())
    }
}

impl Received {
    #[expect(clippy::expect_used, reason = "a test that has panicked has failed")]
    fn with<T>(&self, look: impl FnOnce(&mut (Vec<Log>, Vec<Span>)) -> T) -> T {
        look(&mut self.0.lock().expect("a lock"))
    }
}

fn attributes(resource: Option<Resource>) -> Vec<KeyValue> {
    resource
        .map(|resource| resource.attributes)
        .unwrap_or_default()
}

#[tonic::async_trait]
impl LogsService for Received {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        for of in request.into_inner().resource_logs {
            let resource = attributes(of.resource);
            let records = of
                .scope_logs
                .into_iter()
                .flat_map(|scope| scope.log_records);
            let logs = records.map(|record| Log {
                event_name: record.event_name,
                attributes: record.attributes,
                resource: resource.clone(),
            });
            self.with(|(all, _)| all.extend(logs));
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of in request.into_inner().resource_spans {
            let resource = attributes(of.resource);
            let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| Span {
                name: span.name,
                resource: resource.clone(),
            });
            self.with(|(_, all)| all.extend(spans));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The text of an attribute, or none.
pub(crate) fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|pair| pair.key == name);
    match found.and_then(|pair| pair.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        _ => String::new(),
    }
}

impl Log {
    /// Whether an attribute is this number.
    pub(crate) fn is(&self, name: &str, number: i64) -> bool {
        let found = self.attributes.iter().find(|pair| pair.key == name);
        let value = found.and_then(|pair| pair.value.clone()?.value);
        value == Some(Value::IntValue(number))
    }
}
