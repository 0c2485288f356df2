//! How a server starts.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How a listener comes to be, each time the server comes back.
#[derive(Clone)]
pub struct Bind(pub(super) Arc<dyn Fn(u16) -> io::Result<TcpListener> + Send + Sync>);

impl Bind {
    /// On an address of this process's network namespace; port 0 is any that is free, and stays the same
    /// when the server comes back.
    pub fn to(address: SocketAddr) -> Self {
        Self::by(address.port(), move |port| {
            TcpListener::bind(SocketAddr::new(address.ip(), port))
        })
    }

    /// By a function that is given a port: for other namespaces.
    pub fn by(
        port: u16,
        bind: impl Fn(u16) -> io::Result<TcpListener> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |again| {
            bind(if again == 0 { port } else { again })
        }))
    }
}

impl fmt::Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bind")
    }
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For the server's address; clients get it as the authority that they trust.
    pub certificate: String,
    /// Of the certificate.
    pub key: String,
}

/// How to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub bind: Bind,
    /// Without it, plain HTTP. `kubectl` sends tokens over TLS only.
    pub tls: Option<Tls>,
    /// How often watches that want bookmarks get one.
    pub bookmarks: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: Bind::to(SocketAddr::from(([127, 0, 0, 1], 0))),
            tls: None,
            bookmarks: Duration::from_mins(1),
        }
    }
}

/// What meets clients.
pub(super) fn acceptor(tls: &Tls) -> anyhow::Result<TlsAcceptor> {
    let certificates = CertificateDer::pem_slice_iter(tls.certificate.as_bytes());
    let certificates: Vec<_> = certificates
        .collect::<Result<_, _>>()
        .context("certificate")?;
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes()).context("key")?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
