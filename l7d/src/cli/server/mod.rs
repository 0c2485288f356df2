//! Which server to ask, and how to reach it: a unix socket, TCP, or TLS.

mod flags;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::codegen::http::Uri;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

pub use flags::ServerFlags;
pub(super) use flags::default_server;

use super::failure::Failure;
use crate::server::STATUS_HEADER_BYTES;
use crate::tls;

/// Where an agent on this machine listens.
pub const AGENT_SOCKET: &str = "/run/l7d/l7d.sock";
/// Where a relay is usually forwarded to.
const RELAY: &str = "localhost:4245";
/// The largest answer a server may send: a status names its nodes, a flow its headers.
const MESSAGE_BYTES: usize = 64 << 20;
/// What a server may send before it hears from us: it need not wait for each piece to be read.
const WINDOW_BYTES: u32 = 1 << 20;

/// A server and how to reach it, after flags, environment and defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The address as it was given, for messages.
    pub shown: String,
    target: Target,
    timeout: Duration,
    request_timeout: Duration,
    tls: Option<Tls>,
    authorization: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Tcp(String),
    Unix(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tls {
    files: tls::ClientFiles,
    /// The name in the server's certificate, where it is not the host's.
    server_name: Option<String>,
}

impl Server {
    /// How long a single answer may take.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Channel, Failure> {
        match &self.target {
            Target::Unix(path) => self.connect_unix(path).await,
            Target::Tcp(host) => self.connect_tcp(host).await,
        }
    }

    async fn connect_unix(&self, path: &str) -> Result<Channel, Failure> {
        let path = path.to_owned();
        // The URI is needed by HTTP/2 and means nothing to a unix socket.
        Endpoint::from_static("http://localhost")
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_max_header_list_size(STATUS_HEADER_BYTES)
            .connect_timeout(self.timeout)
            .connect_with_connector(tower::service_fn(move |_uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
            .await
            .map_err(|error| self.unreachable(&error))
    }

    async fn connect_tcp(&self, host: &str) -> Result<Channel, Failure> {
        let endpoint = |scheme| {
            let endpoint =
                Endpoint::from_shared(format!("{scheme}://{host}")).map_err(|error| {
                    Failure::usage(format!("{}: not an address: {error}", self.shown))
                        .advise("use HOST:PORT, tls://HOST:PORT or unix://PATH")
                })?;
            Ok::<_, Failure>(
                endpoint
                    .initial_stream_window_size(WINDOW_BYTES)
                    .initial_connection_window_size(WINDOW_BYTES)
                    .http2_max_header_list_size(STATUS_HEADER_BYTES),
            )
        };
        let plain = endpoint("http")?
            .connect_timeout(self.timeout)
            .tcp_keepalive(Some(Duration::from_secs(30)));
        let Some(tls) = &self.tls else {
            let connected = plain.connect().await;
            return connected.map_err(|error| self.unreachable(&error));
        };
        let connector = tls.connector()?;
        // The connector does TLS; the server is to know.
        let connected = plain
            .origin(endpoint("https")?.uri().clone())
            .connect_with_connector(tower::service_fn(move |uri| {
                let connector = connector.clone();
                async move { connector.connect(&uri).await.map(TokioIo::new) }
            }))
            .await;
        connected.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &tonic::transport::Error) -> Failure {
        let cause = causes(error);
        let hint = match &self.target {
            Target::Unix(_) if cause.contains("ermission denied") => {
                "the socket belongs to another user: run it with sudo".to_owned()
            }
            Target::Unix(_) => {
                "is the agent running? start it with `sudo l7d agent --config FILE`, or name \
                 another server with --server"
                    .to_owned()
            }
            Target::Tcp(_) if cause.contains("certificate") => {
                "name the authority that signed it with --tls-ca-cert-files FILE, and the name in \
                 it with --tls-server-name NAME"
                    .to_owned()
            }
            Target::Tcp(host) => format!(
                "is a relay or an agent listening at {host}? name another server with --server \
                 (HOST:PORT, tls://HOST:PORT, unix://PATH)"
            ),
        };
        Failure::failed(format!("cannot reach the server at {}", self.shown), cause).advise(hint)
    }

    /// A client of the Observer service.
    pub async fn observer(&self) -> Result<super::Observer, Failure> {
        let channel = self.connect().await?;
        let channel = InterceptedService::new(channel, self.credentials()?);
        Ok(super::Observer::new(channel).max_decoding_message_size(MESSAGE_BYTES))
    }

    /// What is added to each request.
    pub fn credentials(&self) -> Result<Credentials, Failure> {
        let parsed = self.authorization.as_deref().map(str::parse).transpose();
        let authorization =
            parsed.map_err(|error: tonic::metadata::errors::InvalidMetadataValue| {
                Failure::failed("cannot send the credentials", error)
            })?;
        Ok(Credentials { authorization })
    }

    /// A failed request, for people.
    pub fn refused(&self, what: &str, status: &tonic::Status) -> Failure {
        if let Some(source) = status.source() {
            // Not the server's answer: the connection broke.
            return Failure::failed(format!("{what} failed"), causes(source)).advise(format!(
                "the connection to {} broke; does it speak the Hubble API, and TLS only if asked \
                 with --tls?",
                self.shown
            ));
        }
        let failure = match status.code() {
            // The server read the request and says what is wrong with it, in its own words.
            tonic::Code::Unknown | tonic::Code::InvalidArgument => {
                Failure::failed(format!("{what} was refused"), status.message())
            }
            code => Failure::failed(
                format!("{what} failed"),
                format!("{code}: {}", status.message()),
            ),
        };
        match status.code() {
            tonic::Code::Unimplemented => failure.advise(format!(
                "the server at {} does not offer this; agents and relays offer different parts",
                self.shown
            )),
            tonic::Code::DeadlineExceeded => failure.advise("allow more with --request-timeout"),
            _ => failure,
        }
    }
}

/// Adds credentials to requests.
#[derive(Debug, Clone)]
pub struct Credentials {
    authorization: Option<AsciiMetadataValue>,
}

impl Credentials {
    /// The header's value, where there is one.
    pub fn authorization(&self) -> Option<AsciiMetadataValue> {
        self.authorization.clone()
    }
}

impl tonic::service::Interceptor for Credentials {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(value) = &self.authorization {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Tls {
    fn connector(&self) -> Result<TlsConnector, Failure> {
        let setup = |error| Failure::failed("cannot set up TLS", error);
        let client = tls::Client::new(self.files.clone(), tls::Oldest::Tls12).map_err(setup)?;
        Ok(TlsConnector {
            client: Arc::new(client),
            server_name: self.server_name.clone(),
        })
    }
}

/// Connects, and does the handshake.
#[derive(Debug, Clone)]
struct TlsConnector {
    client: Arc<tls::Client>,
    server_name: Option<String>,
}

impl TlsConnector {
    async fn connect(&self, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        stream.set_nodelay(true)?;
        self.client.connect(stream, name).await
    }
}

/// The innermost cause of an error: the outer ones only say "transport error".
fn causes(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
