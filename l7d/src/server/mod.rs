//! The Hubble API: listeners and services.

mod audits;
mod names;
mod observer;
mod peer;
mod status;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use proto::agent::agent_server::AgentServer;
use proto::observer::observer_server::ObserverServer;
use proto::peer::peer_server::PeerServer;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::service::RoutesBuilder;
use tonic::transport::{Certificate, Identity, Server as Transport, ServerTlsConfig};

pub use audits::audited_policy;
pub use names::KnownName;
pub use status::{AgentStatus, MapRoom};

use crate::config::{Api, Tcp, Tls};
use crate::flow::FlowRing;
use crate::flow::view::NodeView;
use crate::policy::AuditedPolicy;

/// The health service's name for the Observer, which stock clients ask for.
const HEALTH_NAME: &str = "hubble.server.Observer";
/// Calls of one client at a time.
const STREAMS_MAX: u32 = 128;

/// What the services read.
#[derive(Clone)]
pub struct Sources {
    /// Flows.
    pub ring: Arc<FlowRing>,
    /// This node.
    pub node: Arc<NodeView>,
    /// What `l7d status` shows beyond Hubble's.
    pub status: Arc<dyn Fn() -> AgentStatus + Send + Sync>,
    /// Names that DNS has told.
    pub names: Arc<dyn Fn() -> Vec<KnownName> + Send + Sync>,
    /// What audited policies would have denied.
    pub audits: Arc<dyn Fn() -> Vec<AuditedPolicy> + Send + Sync>,
    /// `address:port` that peers are told.
    pub address: String,
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
    #[error("API certificates ({}): {cause}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
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
    if let Some(path) = socket {
        let socket = bind_socket(path)?;
        let service = Transport::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .add_routes(routes(sources).await?)
            .serve_with_incoming_shutdown(UnixListenerStream::new(socket), stopped(stop.clone()));
        tokio::spawn(report("socket", service));
    }
    if let Some(tcp) = tcp {
        let fault = |cause| Error::Listen {
            address: tcp.listen,
            cause,
        };
        let listener = TcpListener::bind(tcp.listen).await.map_err(fault)?;
        let mut transport = Transport::builder().max_concurrent_streams(STREAMS_MAX);
        if let Some(tls) = &tcp.tls {
            transport = transport.tls_config(tls_config(tls)?)?;
        }
        let service = transport
            .add_routes(routes(sources).await?)
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped(stop.clone()));
        tokio::spawn(report("tcp", service));
    }
    Ok(())
}

async fn routes(sources: &Sources) -> Result<tonic::service::Routes, Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_service_status(HEALTH_NAME, tonic_health::ServingStatus::Serving)
        .await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
    };
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(ObserverServer::new(observer::Observer::new(
            sources.clone(),
        )))
        .add_service(PeerServer::new(peer::Peer::new(sources.clone())))
        .add_service(AgentServer::new(names::Agent::new(sources.clone())))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(routes.routes())
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

fn tls_config(tls: &Tls) -> Result<ServerTlsConfig, Error> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|cause| Error::Certificate {
            path: path.clone(),
            cause,
        })
    };
    let identity = Identity::from_pem(read(&tls.certificate)?, read(&tls.key)?);
    let config = ServerTlsConfig::new().identity(identity);
    Ok(match &tls.client_ca {
        Some(path) => config.client_ca_root(Certificate::from_pem(read(path)?)),
        None => config,
    })
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
