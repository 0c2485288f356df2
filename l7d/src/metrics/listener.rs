//! Serves metrics over HTTP, with TLS where there are certificates.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

use super::exposition::{Exposition, Format};
use crate::clock::Monotonic;
use crate::config::Tcp;
use crate::reception::{Guest, admitted};
use crate::tls;

/// `OpenMetrics` 1.0, which every Prometheus since 2.5 reads.
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What everybody else reads.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long a scraper may take for TLS.
const GREETING: Duration = Duration::from_secs(10);
/// How long it may take to ask, and until it asks again.
const IDLE: Duration = Duration::from_mins(2);
/// Room for the head of a request.
const HEAD_BYTES: usize = 16 << 10;

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be listened on.
    #[error("metrics listener {address}: {cause}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("metrics certificates: {0}")]
    Tls(#[from] tls::Error),
}

/// Serves metrics until `stop` tells to end. Returns as soon as it listens.
///
/// # Errors
/// Where it cannot listen.
pub async fn serve(
    tcp: &Tcp,
    exposition: Arc<Exposition>,
    stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let files = tcp.tls.as_ref();
    let tls = files
        .map(|files| tls::Server::new(files, tls::HTTP1))
        .transpose()?;
    let address = tcp.listen;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|cause| Error::Listen { address, cause })?;
    tokio::spawn(accept(listener, tls, exposition, stop));
    Ok(())
}

async fn accept(
    listener: TcpListener,
    tls: Option<tls::Server>,
    exposition: Arc<Exposition>,
    mut stop: watch::Receiver<bool>,
) {
    let next = || async {
        let (stream, from) = listener.accept().await?;
        Ok((stream, Guest::at(from)))
    };
    let mut scrapers = pin!(admitted(Arc::clone(exposition.places()), next));
    loop {
        let accepted = tokio::select! {
            accepted = scrapers.next() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some(Ok(stream)) = accepted else {
            continue;
        };
        let acceptor = tls.as_ref().map(tls::Server::acceptor);
        let exposition = Arc::clone(&exposition);
        tokio::spawn(async move {
            match acceptor {
                None => converse(stream, exposition).await,
                Some(acceptor) => {
                    let greeting = tokio::time::timeout(GREETING, acceptor.accept(stream));
                    if let Ok(Ok(stream)) = greeting.await {
                        converse(stream, exposition).await;
                    }
                }
            }
        });
    }
}

/// One connection: Prometheus keeps it open for its next scrape.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, exposition: Arc<Exposition>) {
    let service = service_fn(move |request| {
        let began = Monotonic::now();
        let response = answer(&request, &exposition);
        exposition.note(response.status().as_u16(), began);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a scraper is gone");
    }
}

fn answer(request: &Request<Incoming>, exposition: &Exposition) -> Response<String> {
    let mut response = Response::default();
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        "metrics are at /metrics\n".clone_into(response.body_mut());
        return response;
    }
    let headers = response.headers_mut();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response;
    }
    let (format, kind) = if wants_open(request.headers()) {
        (Format::Open, OPEN)
    } else {
        (Format::Classic, CLASSIC)
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    match exposition.text(format) {
        Some(text) => *response.body_mut() = text,
        None => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}

/// Prometheus names the formats that it reads.
fn wants_open(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter();
    accepted.any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.contains("application/openmetrics-text")
    })
}
