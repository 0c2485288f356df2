//! A connection to an agent, of which it is known when it ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, Uri};

use super::address::{Address, NoAddress};
use crate::server::Peer;
use crate::tls;

/// How much an agent may send of one answer before that is read.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same of all answers of a connection: a client that does not read keeps a window of its own, and no
/// other client waits for it.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// Requests name the agent so; nobody looks at it.
const ORIGIN: &str = "http://agent";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody knows where the agent is.
    #[error("its address is not known")]
    Unknown,
    /// Its address is none.
    #[error(transparent)]
    Address(#[from] NoAddress),
    /// It speaks TLS, and nothing was given to speak it with.
    #[error("it speaks TLS (as {0}), and TLS to agents is off")]
    UnexpectedTls(String),
    /// It does not, and must.
    #[error("TLS to agents is on, and it has told no name for its certificate")]
    MissingTls,
    /// The name that its certificate is to have is none.
    #[error("`{0}` is no name of a certificate: {1}")]
    Name(String, InvalidDnsNameError),
    /// It cannot be reached, or TLS does not succeed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("no connection within {0:?}")]
    Late(Duration),
    /// It does not speak HTTP/2.
    #[error("no HTTP/2: {0}")]
    Http(#[from] hyper::Error),
}

/// Connects to agents.
#[derive(Debug)]
pub struct Connector {
    /// Where agents speak TLS.
    pub tls: Option<tls::Client>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Connector {
    /// Connects.
    ///
    /// # Errors
    /// Why that did not succeed.
    pub async fn connect(&self, peer: &Peer) -> Result<Connection, ConnectError> {
        let connecting = tokio::time::timeout(self.timeout, self.open(peer));
        connecting
            .await
            .unwrap_or_else(|_elapsed| Err(ConnectError::Late(self.timeout)))
    }

    async fn open(&self, peer: &Peer) -> Result<Connection, ConnectError> {
        if peer.address.is_empty() {
            return Err(ConnectError::Unknown);
        }
        let (host, port) = match Address::parse(&peer.address)? {
            Address::Socket(path) => {
                return Connection::over(UnixStream::connect(path).await?).await;
            }
            Address::Host(host, port) => (host, port),
        };
        let name = peer.tls_name.as_deref().filter(|name| !name.is_empty());
        match (&self.tls, name) {
            (None, Some(name)) => Err(ConnectError::UnexpectedTls(name.to_owned())),
            (Some(_), None) => Err(ConnectError::MissingTls),
            (None, None) => Connection::over(tcp(&host, port).await?).await,
            (Some(tls), Some(name)) => {
                let server = ServerName::try_from(name.to_owned())
                    .map_err(|fault| ConnectError::Name(name.to_owned(), fault))?;
                let stream = tcp(&host, port).await?;
                Connection::over(tls.connect(stream, server).await?).await
            }
        }
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An open connection; requests of many clients share it. It is closed when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    sender: SendRequest<Body>,
    alive: watch::Receiver<()>,
    driver: Arc<Driver>,
    number: u64,
}

/// The task that reads and writes, until this is dropped.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

impl Connection {
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, ConnectError> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        let (living, alive) = watch::channel(());
        let task = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection to an agent broke");
            }
            drop(living);
        });
        Ok(Self {
            sender,
            alive,
            driver: Arc::new(Driver(task.abort_handle())),
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// What tells it from others.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What clients of services want to know beside it.
    pub fn origin() -> Uri {
        Uri::from_static(ORIGIN)
    }

    /// Waits until it has ended.
    pub async fn closed(&self) {
        let mut alive = self.alive.clone();
        // Nothing is ever sent: this ends when the task does.
        while alive.changed().await.is_ok() {}
    }

    /// Ends it, and all requests on it.
    pub fn close(&self) {
        self.driver.0.abort();
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
