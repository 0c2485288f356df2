//! Calls of the gRPC services, under the names that go-grpc-prometheus made usual.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Bytes, Frame};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use tonic::body::Body;
use tower::{Layer, Service};

use super::count::Count;
use super::family::{Family, Label, Moment, Shape};
use super::histogram::{Histogram, REQUESTS};
use super::key::Key;
use super::reception;
use crate::clock::Monotonic;
use crate::reception::Places;

/// Methods that are counted, by their type; a client may ask for any name.
const METHODS: [(&str, &str, &str); 13] = [
    ("server_stream", "agent.Agent", "GetAudits"),
    ("server_stream", "agent.Agent", "GetNames"),
    ("unary", "grpc.health.v1.Health", "Check"),
    ("server_stream", "grpc.health.v1.Health", "Watch"),
    (
        "bidi_stream",
        "grpc.reflection.v1.ServerReflection",
        "ServerReflectionInfo",
    ),
    (
        "bidi_stream",
        "grpc.reflection.v1alpha.ServerReflection",
        "ServerReflectionInfo",
    ),
    ("server_stream", "observer.Observer", "GetAgentEvents"),
    ("server_stream", "observer.Observer", "GetDebugEvents"),
    ("server_stream", "observer.Observer", "GetFlows"),
    ("unary", "observer.Observer", "GetNamespaces"),
    ("unary", "observer.Observer", "GetNodes"),
    ("unary", "observer.Observer", "ServerStatus"),
    ("server_stream", "peer.Peer", "Notify"),
];
/// Names of status codes, from 0.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
/// A client that went before its answer.
const CANCELED: usize = 1;
/// Bytes in front of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A method that is counted.
type Method = &'static (&'static str, &'static str, &'static str);

/// Connections of clients at a time: commands, pages, relays.
const CONNECTIONS_MAX: usize = 256;
/// Calls at a time, of all of them.
const CALLS_MAX: usize = 512;

/// Calls of a server, and places for them.
#[derive(Debug)]
pub struct Calls {
    started: Family<Count>,
    handled: Family<Count>,
    received: Family<Count>,
    sent: Family<Count>,
    times: Family<Histogram>,
    /// Places of the connections of the listeners.
    pub connections: Arc<Places>,
    /// Places of calls, of all connections.
    pub places: Arc<Places>,
}

impl Default for Calls {
    fn default() -> Self {
        let shape = |name, help, unit, has_code: bool| {
            let names = ["grpc_type", "grpc_service", "grpc_method"];
            let labels = names.into_iter().chain(has_code.then_some("grpc_code"));
            Shape {
                name,
                help,
                unit,
                labels: labels.map(Label::few).collect(),
            }
        };
        let counter =
            |name, help, has_code| Family::few(shape(name, help, None, has_code), Count::default);
        let times = shape(
            "grpc_server_handling",
            "Response latency of calls until they were handled",
            Some(Unit::Seconds),
            false,
        );
        Self {
            started: counter("grpc_server_started", "Calls started", false),
            handled: counter("grpc_server_handled", "Calls completed, by status", true),
            received: counter("grpc_server_msg_received", "Messages received", false),
            sent: counter("grpc_server_msg_sent", "Messages sent", false),
            times: Family::few(times, || Histogram::new(&REQUESTS)),
            connections: Places::new(CONNECTIONS_MAX),
            places: Places::new(CALLS_MAX),
        }
    }
}

impl Calls {
    fn end(&self, method: Method, code: usize, began: Monotonic) {
        let now = Monotonic::now();
        let moment = Moment::new(now.0);
        let with_code = |key: &mut Key| {
            write(method, key);
            key.push(CODES.get(code).copied().unwrap_or("Unknown"));
        };
        self.handled.with(&moment, with_code, Count::one);
        let time = now.nanos_since(began);
        let observe = |times: &Histogram| times.observe(time);
        self.times.with(&moment, |key| write(method, key), observe);
    }
}

fn count(family: &Family<Count>, method: Method, more: u64) {
    if more > 0 {
        let moment = Moment::new(Monotonic::recent().0);
        family.with(&moment, |key| write(method, key), |count| count.add(more));
    }
}

fn write(method: Method, key: &mut Key) {
    let (kind, service, name) = method;
    for value in [kind, service, name] {
        key.push(value);
    }
}

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in [&self.started, &self.handled, &self.received, &self.sent] {
            family.encode(&mut encoder)?;
        }
        self.times.encode(&mut encoder)?;
        let refused = [("connection", &self.connections), ("call", &self.places)];
        reception::encode(&mut encoder, "l7d_api_refused", &refused)
    }
}

/// Counts calls of a server's services.
#[derive(Debug, Clone, Default)]
pub struct CallsLayer(pub Arc<Calls>);

impl<S> Layer<S> for CallsLayer {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            calls: Arc::clone(&self.0),
        }
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    calls: Arc<Calls>,
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(method) = method(request.uri().path()) else {
            return Box::pin(self.inner.call(request));
        };
        let mut call = Call {
            calls: Arc::clone(&self.calls),
            method,
            began: Monotonic::now(),
            code: CANCELED,
        };
        count(&call.calls.started, method, 1);
        let received = Messages::default();
        let calls = Arc::clone(&self.calls);
        let request = request.map(|body| {
            Body::new(Watched {
                body,
                messages: received,
                see: move |event: Seen<'_>| {
                    if let Seen::Messages(more) = event {
                        count(&calls.received, method, more);
                    }
                },
            })
        });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // A refusal may have nothing but a head.
            call.note(response.headers());
            Ok(response.map(|body| {
                Body::new(Watched {
                    body,
                    messages: Messages::default(),
                    see: move |event: Seen<'_>| match event {
                        Seen::Messages(more) => count(&call.calls.sent, method, more),
                        Seen::Trailers(trailers) => call.note(trailers),
                    },
                })
            }))
        })
    }
}

fn method(path: &str) -> Option<Method> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    let mut methods = METHODS.iter();
    methods.find(|(_, of_service, method)| *of_service == service && *method == name)
}

/// A call under way; where it ends is told by its drop.
struct Call {
    calls: Arc<Calls>,
    method: Method,
    began: Monotonic,
    code: usize,
}

impl Call {
    fn note(&mut self, fields: &HeaderMap) {
        let status = fields
            .get("grpc-status")
            .and_then(|value| value.to_str().ok());
        if let Some(code) = status.and_then(|code| code.parse().ok()) {
            self.code = code;
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.end(self.method, self.code, self.began);
    }
}

/// What passes in a body.
enum Seen<'b> {
    /// So many messages began.
    Messages(u64),
    Trailers(&'b HeaderMap),
}

/// Where messages begin among the bytes of a body.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; PREFIX],
    have: usize,
    /// Bytes of the present message that are still to come.
    left: usize,
}

impl Messages {
    /// Messages that begin in these bytes.
    fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while !bytes.is_empty() {
            let passed = self.left.min(bytes.len());
            self.left -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let wanted = (PREFIX - self.have).min(bytes.len());
            let (head, rest) = bytes.split_at_checked(wanted).unwrap_or_default();
            if let Some(into) = self.prefix.get_mut(self.have..self.have + head.len()) {
                into.copy_from_slice(head);
            }
            self.have += head.len();
            bytes = rest;
            if self.have == PREFIX {
                let [_, length @ ..] = self.prefix;
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.have = 0;
                count += 1;
            }
        }
        count
    }
}

/// A body that is looked at.
struct Watched<F> {
    body: Body,
    messages: Messages,
    see: F,
}

impl<F: FnMut(Seen<'_>) + Unpin> HttpBody for Watched<F> {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let watched = self.get_mut();
        let frame = ready!(Pin::new(&mut watched.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                (watched.see)(Seen::Messages(watched.messages.count(data)));
            } else if let Some(trailers) = frame.trailers_ref() {
                (watched.see)(Seen::Trailers(trailers));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_wherever_bytes_are_split() {
        let bytes = [&b"\0\0\0\0\x03abc"[..], b"\0\0\0\0\0", b"\x01\0\0\0\x01x"].concat();
        for size in 1..=bytes.len() {
            let mut messages = Messages::default();
            let counts = bytes.chunks(size).map(|chunk| messages.count(chunk));
            assert_eq!(counts.sum::<u64>(), 3, "{size}");
        }
    }

    #[test]
    fn only_methods_that_are_known_have_series() {
        let known = method("/observer.Observer/GetFlows").map(|(kind, ..)| *kind);
        assert_eq!(known, Some("server_stream"));
        assert!(method("/observer.Observer/Made").is_none());
        assert!(method("/made/up").is_none());
    }
}
