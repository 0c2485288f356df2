//! Connections of browsers.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

use super::api;
use super::guard::Guard;
use super::model::Shared;
use crate::reception::{Guest, Places, admitted};
use crate::tls;

/// Connections at a time; a browser opens six.
const CONNECTIONS_MOST: usize = 64;
/// How long a browser may take for TLS, and between its requests.
const GREETING: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_mins(2);
/// Room for the head of a request.
const HEAD_BYTES: usize = 16 << 10;

/// Serves browsers until `stop` tells to end.
pub(super) async fn accept(
    listener: std::net::TcpListener,
    tls: Option<tls::Server>,
    guard: Arc<Guard>,
    model: Shared,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let next = || async {
        let (stream, from) = listener.accept().await?;
        Ok((stream, Guest::at(from)))
    };
    let mut browsers = pin!(admitted(Places::new(CONNECTIONS_MOST), next));
    loop {
        let accepted = tokio::select! {
            accepted = browsers.next() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let Some(Ok(stream)) = accepted else {
            continue;
        };
        let (guard, model) = (Arc::clone(&guard), Arc::clone(&model));
        let acceptor = tls.as_ref().map(tls::Server::acceptor);
        tokio::spawn(async move {
            let Some(acceptor) = acceptor else {
                return converse(stream, guard, model).await;
            };
            let greeting = tokio::time::timeout(GREETING, acceptor.accept(stream));
            if let Ok(Ok(stream)) = greeting.await {
                converse(stream, guard, model).await;
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, guard: Arc<Guard>, model: Shared) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = api::answer(
            request.method(),
            request.uri(),
            request.headers(),
            &guard,
            &model,
        );
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a browser is gone");
    }
}
