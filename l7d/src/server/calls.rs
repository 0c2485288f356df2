//! How many calls there are at a time, of one client and of all: each may hold a message, a filter, a
//! reader of the ring.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame};
use hyper::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};
use tower::{Layer, Service};

use crate::reception::{Guest, Place, Places};

/// Refuses calls beyond a number.
#[derive(Debug, Clone)]
pub(super) struct Bounded(pub(super) Arc<Places>);

impl<S> Layer<S> for Bounded {
    type Service = Bound<S>;

    fn layer(&self, inner: S) -> Bound<S> {
        Bound {
            inner,
            places: Arc::clone(&self.0),
        }
    }
}

/// A service with so many calls at most.
#[derive(Debug, Clone)]
pub(super) struct Bound<S> {
    inner: S,
    places: Arc<Places>,
}

impl<S> Service<Request<Body>> for Bound<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.places.enter(guest(&request)) {
            Ok(place) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    Ok(answer.await?.map(|body| {
                        Body::new(Held {
                            body,
                            _place: place,
                        })
                    }))
                })
            }
            Err(_counted) => {
                let refusal =
                    Status::resource_exhausted("too many calls at a time: ask again later");
                Box::pin(async move { Ok(refusal.into_http()) })
            }
        }
    }
}

/// Who asks.
fn guest(request: &Request<Body>) -> Guest {
    let extensions = request.extensions();
    let plain = extensions.get::<TcpConnectInfo>();
    let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
    let address = plain.or_else(|| tls.map(TlsConnectInfo::get_ref));
    if let Some(address) = address.and_then(TcpConnectInfo::remote_addr) {
        return Guest::at(address);
    }
    let process = extensions.get::<UdsConnectInfo>();
    Guest::of(process.and_then(|info| info.peer_cred))
}

/// The body of an answer, with the place of its call.
struct Held {
    body: Body,
    _place: Place,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
