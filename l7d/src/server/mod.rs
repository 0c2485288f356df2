//! The Hubble API: listeners and services.

mod agent_events;
mod audits;
mod calls;
mod cluster_status;
mod encoding;
mod flows;
mod in_process;
mod names;
mod namespaces;
mod observer;
mod peer;
mod peers;
mod status;
mod untold;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proto::agent::agent_server::AgentServer;
use proto::encoded::observer_server::ObserverServer;
use proto::peer::peer_server::PeerServer;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server as Transport;

pub use audits::audited_policy;
use calls::Bounded;
pub use cluster_status::{ClusterStatus, KindRow, StateStatus};
pub(crate) use flows::source as loss_source;
pub use in_process::{channel, in_process};
pub use names::KnownName;
use namespaces::Namespaces;
pub use peers::{Peer, Peers, node_name, tls_name};
pub use status::{
    AgentStatus, ClientRow, ExportRow, KernelDrops, LedgerRow, MapRoom, MemoryStatus,
    STATUS_HEADER, STATUS_HEADER_BYTES,
};
pub(crate) use untold::Untold;

use crate::config::{Api, Tcp};
use crate::flow::FlowRing;
use crate::flow::agent_events::AgentEvents;
use crate::flow::view::NodeView;
use crate::metrics::CallsLayer;
use crate::policy::AuditedPolicy;
use crate::reception::{Guest, admitted};
use crate::tls;

/// The health service's name for the Observer, which stock clients ask for.
pub const HEALTH_NAME: &str = "hubble.server.Observer";
/// Calls of one connection at a time.
const STREAMS_MAX: u32 = 128;
/// The largest message that is taken: filters, in words.
pub(crate) const REQUEST_BYTES: usize = 256 << 10;
/// The longest head of a call, credentials and all.
const HEAD_BYTES: u32 = 16 << 10;
/// What a client may send before it is read: of a call, and of a connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// A client that says nothing is asked whether it is there: one whose machine has gone would keep its place.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What the services read.
#[derive(Clone)]
pub struct Sources {
    /// Flows.
    pub ring: Arc<FlowRing>,
    /// Agent events.
    pub events: Arc<AgentEvents>,
    /// This node.
    pub node: Arc<NodeView>,
    /// Who counts calls.
    pub calls: CallsLayer,
    /// What `l7d status` shows beyond Hubble's.
    pub status: Arc<dyn Fn() -> AgentStatus + Send + Sync>,
    /// Names that DNS has told.
    pub names: Arc<dyn Fn() -> Vec<KnownName> + Send + Sync>,
    /// What audited policies would have denied.
    pub audits: Arc<dyn Fn() -> Vec<AuditedPolicy> + Send + Sync>,
    /// Agents of the cluster, this one among them.
    pub peers: watch::Receiver<Arc<Peers>>,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be made.
    #[error("API socket {}: {cause}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The port cannot be listened on.
    #[error("API listener {address}: {cause}")]
    Listen {
        /// Address and port.
        address: std::net::SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("API certificates: {0}")]
    Tls(#[from] tls::Error),
    /// The services cannot be set up.
    #[error("API: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// Reflection cannot be set up.
    #[error("API reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The running API; it ends when `stop` tells so.
pub async fn start(
    api: &Api,
    sources: &Sources,
    stop: &watch::Receiver<bool>,
) -> Result<(), Error> {
    start_on(Some(&api.socket), api.tcp.as_ref(), sources, stop).await
}

/// The same on what is given of a socket and a port.
pub async fn start_on(
    socket: Option<&PathBuf>,
    tcp: Option<&Tcp>,
    sources: &Sources,
    stop: &watch::Receiver<bool>,
) -> Result<(), Error> {
    let namespaces = Arc::new(Namespaces::of(&sources.ring));
    serve(
        routes(sources, Arc::clone(&namespaces)).await?,
        &sources.calls,
        socket,
        tcp,
        stop,
    )
    .await?;
    let stop = stopped(stop.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = namespaces.keep_looking() => {}
            () = stop => {}
        }
    });
    Ok(())
}

/// Serves any services there, and counts their calls.
pub(crate) async fn serve(
    routes: Routes,
    calls: &CallsLayer,
    socket: Option<&PathBuf>,
    tcp: Option<&Tcp>,
    stop: &watch::Receiver<bool>,
) -> Result<(), Error> {
    let transport = || {
        Transport::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_header_list_size(HEAD_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .layer(calls.clone())
            .layer(Bounded(Arc::clone(&calls.0.places)))
            .add_routes(routes.clone())
    };
    if let Some(path) = socket {
        let listener = Arc::new(bind_socket(path)?);
        let incoming = admitted(Arc::clone(&calls.0.connections), move || {
            let listener = Arc::clone(&listener);
            async move {
                let (stream, _unnamed) = listener.accept().await?;
                let guest = Guest::of(stream.peer_cred().ok());
                Ok((stream, guest))
            }
        });
        let service = transport().serve_with_incoming_shutdown(incoming, stopped(stop.clone()));
        tokio::spawn(report("socket", service));
    }
    let Some(tcp) = tcp else { return Ok(()) };
    let tls = tcp
        .tls
        .as_ref()
        .map(|files| tls::Server::new(files, tls::HTTP2));
    let tls = tls.transpose()?;
    let fault = |cause| Error::Listen {
        address: tcp.listen,
        cause,
    };
    let listener = TcpListener::bind(tcp.listen).await.map_err(fault)?;
    let stop = stopped(stop.clone());
    if let Some(tls) = tls {
        let incoming = tls::incoming(listener, Arc::new(tls), Arc::clone(&calls.0.connections));
        let service = transport().serve_with_incoming_shutdown(incoming, stop);
        tokio::spawn(report("tls", service));
    } else {
        let listener = Arc::new(listener);
        let incoming = admitted(Arc::clone(&calls.0.connections), move || {
            let listener = Arc::clone(&listener);
            async move {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((stream, Guest::at(from)))
            }
        });
        let service = transport().serve_with_incoming_shutdown(incoming, stop);
        tokio::spawn(report("tcp", service));
    }
    Ok(())
}

async fn routes(sources: &Sources, namespaces: Arc<Namespaces>) -> Result<Routes, Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_service_status(HEALTH_NAME, tonic_health::ServingStatus::Serving)
        .await;
    let mut routes = RoutesBuilder::default();
    let observer = observer::Observer::new(sources.clone(), namespaces);
    let peer = peer::Peer::new(sources);
    let agent = names::Agent::new(sources.clone());
    routes
        .add_service(ObserverServer::new(observer).max_decoding_message_size(REQUEST_BYTES))
        .add_service(PeerServer::new(peer).max_decoding_message_size(REQUEST_BYTES))
        .add_service(AgentServer::new(agent).max_decoding_message_size(REQUEST_BYTES))
        .add_service(health_service.max_decoding_message_size(REQUEST_BYTES));
    add_reflection(&mut routes)?;
    Ok(routes.routes())
}

/// What services there are, for who asks.
pub(crate) fn add_reflection(
    routes: &mut RoutesBuilder,
) -> Result<(), tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
    };
    routes
        .add_service(
            reflection()
                .build_v1()?
                .max_decoding_message_size(REQUEST_BYTES),
        )
        .add_service(
            reflection()
                .build_v1alpha()?
                .max_decoding_message_size(REQUEST_BYTES),
        );
    Ok(())
}

/// Readable by root and its group only; a socket that a dead agent left is replaced.
fn bind_socket(path: &PathBuf) -> Result<UnixListener, Error> {
    let fault = |cause| Error::Socket {
        path: path.clone(),
        cause,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fault)?;
    }
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(fault(cause)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(fault)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(fault)?;
    Ok(listener)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the agent is gone, which is a stop as well.
    if let Err(error) = stop.wait_for(|stop| *stop).await {
        tracing::debug!(%error, "the API ends");
    }
}

async fn report(
    name: &'static str,
    service: impl Future<Output = Result<(), tonic::transport::Error>>,
) {
    if let Err(error) = service.await {
        tracing::error!(%error, listener = name, "the API has ended");
    }
}
