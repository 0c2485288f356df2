//! The API for who is in the same process: the same services and messages, without a socket.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server as Transport};

use super::{Error, Namespaces, Sources, report, routes, stopped};

/// Bytes on their way between both sides.
const ROOM: usize = 256 << 10;

/// A channel to `routes`, which are served until `stop` tells to end.
pub fn in_process(routes: Routes, stop: watch::Receiver<bool>) -> Channel {
    let (sender, receiver) = mpsc::channel::<io::Result<DuplexStream>>(1);
    let service = Transport::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(receiver), stopped(stop));
    tokio::spawn(report("in process", service));
    let connector = tower::service_fn(move |_uri| {
        let sender = sender.clone();
        async move {
            let (near, far) = duplex(ROOM);
            sender.send(Ok(far)).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(TokioIo::new(near))
        }
    });
    // The name is needed by HTTP/2 and means nothing here.
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
}

/// A channel to the services of an agent, or of a replay.
///
/// # Errors
/// When the services cannot be set up.
pub async fn channel(sources: &Sources, stop: watch::Receiver<bool>) -> Result<Channel, Error> {
    let namespaces = Arc::new(Namespaces::of(&sources.ring));
    Ok(in_process(routes(sources, namespaces).await?, stop))
}
