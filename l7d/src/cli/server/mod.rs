//! Which server to ask, and how to reach it: a unix socket, TCP, or TLS.

mod flags;

use std::error::Error;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

pub use flags::ServerFlags;

use super::failure::Failure;

/// Where an agent on this machine listens.
pub const AGENT_SOCKET: &str = "/run/l7d/l7d.sock";
/// Where a relay is usually forwarded to.
const RELAY: &str = "localhost:4245";
/// The largest answer a server may send: a status names its nodes, a flow its headers.
const MESSAGE_BYTES: usize = 64 << 20;

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
    authorities: Vec<String>,
    identity: Option<(String, String)>,
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
            .connect_timeout(self.timeout)
            .connect_with_connector(tower::service_fn(move |_uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
            .await
            .map_err(|error| self.unreachable(&error))
    }

    async fn connect_tcp(&self, host: &str) -> Result<Channel, Failure> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{host}"))
            .map_err(|error| {
                Failure::usage(format!("{}: not an address: {error}", self.shown))
                    .advise("use HOST:PORT, tls://HOST:PORT or unix://PATH")
            })?
            .connect_timeout(self.timeout)
            .tcp_keepalive(Some(Duration::from_secs(30)));
        if let Some(tls) = &self.tls {
            endpoint = endpoint
                .tls_config(tls.config()?)
                .map_err(|error| Failure::failed("cannot set up TLS", causes(&error)))?;
        }
        endpoint
            .connect()
            .await
            .map_err(|error| self.unreachable(&error))
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
    fn config(&self) -> Result<ClientTlsConfig, Failure> {
        let read = |file: &String| {
            std::fs::read(file)
                .map_err(|error| Failure::failed(format!("cannot read {file}"), error))
        };
        let mut config = ClientTlsConfig::new();
        if self.authorities.is_empty() {
            config = config.with_native_roots();
        }
        for file in &self.authorities {
            config = config.ca_certificate(Certificate::from_pem(read(file)?));
        }
        if let Some((certificate, key)) = &self.identity {
            config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        Ok(config)
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
