//! A relay: the Hubble API of all agents at once.
//!
//! ```text
//!  source ── peers ──▶ pool ── connections ──▶ answer ◀── merge
//!  (Peer.Notify,         │                       │  ▲
//!   a list, a file)      └──── states ──▶ telling ┘  └ streams of agents
//! ```
//!
//! [`source`] knows which agents there are, [`pool`] keeps a connection to each. A client's request for
//! flows goes to all of them as it is; [`merge`] puts their answers in the order of time, and the client is
//! told of nodes that come, go or fail. Flows pass as the bytes that agents sent ([`raw`]).
//!
//! Where it listens, and how its API is served, is [`crate::server`]'s.

mod address;
mod answer;
pub mod connection;
mod gauges;
mod health;
pub mod merge;
mod observer;
pub mod pool;
pub mod raw;
pub mod source;
mod telling;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::service::{Routes, RoutesBuilder};

pub use address::{Address, NoAddress};

use crate::config::Tcp;
use crate::{metrics, server};
use connection::Connector;
use observer::Relay;
use source::{Known, Source};

/// The method whose answers pass as bytes.
const GET_FLOWS: &str = "/observer.Observer/GetFlows";
/// The largest message that an agent may send.
const MESSAGE_BYTES: usize = 16 << 20;

/// What a relay is made of.
pub struct Settings {
    /// Its name in what it tells of nodes.
    pub name: String,
    /// Who says which agents there are.
    pub source: Box<dyn Source>,
    /// Connects to them.
    pub connector: Arc<Connector>,
    /// Where clients ask: a unix socket, a port, or both.
    pub socket: Option<PathBuf>,
    /// The same.
    pub tcp: Option<Tcp>,
    /// Where its health is told in plaintext, for probes that know no TLS.
    pub health: Option<SocketAddr>,
    /// Where metrics are told.
    pub metrics: Option<Tcp>,
    /// How streams are merged; whether they end is the client's.
    pub merge: merge::Settings,
}

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API cannot be served.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// Metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
}

/// Starts a relay; it ends when `stop` tells so. Returns when it listens, with its services for who is in
/// the same process.
///
/// # Errors
/// Where it cannot listen.
pub async fn start(settings: Settings, stop: &watch::Receiver<bool>) -> Result<Routes, Error> {
    let (known_teller, known) = watch::channel(Known::default());
    let (nodes_teller, nodes) = watch::channel(Arc::default());
    let counters = Arc::default();
    let relay = Relay::new(
        &settings.name,
        nodes.clone(),
        settings.merge,
        Arc::clone(&counters),
    );
    let (health, keeping) = health::service(nodes.clone());
    let health = health.max_decoding_message_size(server::REQUEST_BYTES);
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(relay.observer())
        .add_service(health.clone());
    server::add_reflection(&mut routes).map_err(server::Error::from)?;
    let (socket, tcp) = (settings.socket.as_ref(), settings.tcp.as_ref());
    let calls = metrics::CallsLayer::default();
    let services = routes.routes();
    server::serve(services.clone(), &calls, socket, tcp, stop).await?;
    if let Some(listen) = settings.health {
        let mut routes = RoutesBuilder::default();
        routes.add_service(health);
        let tcp = Tcp {
            listen,
            tls: None,
            insecure: true,
        };
        server::serve(routes.routes(), &calls, None, Some(&tcp), stop).await?;
    }
    if let Some(tcp) = &settings.metrics {
        let mut registry = gauges::registry(nodes, counters);
        registry.register_collector(Box::new(calls.0));
        let exposition = metrics::Exposition::new(registry);
        metrics::serve(tcp, Arc::new(exposition), stop.clone()).await?;
    }
    let mut stop = stop.clone();
    let following = settings.source.follow(known_teller);
    let pooling = pool::keep(settings.connector, known, nodes_teller);
    tokio::spawn(async move {
        tokio::select! {
            () = following => {}
            () = pooling => {}
            () = keeping => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
    Ok(services)
}
