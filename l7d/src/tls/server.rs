//! The side that listens.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use super::{Error, pem};
use crate::config::Tls;
use crate::reception::{Admitted, Guest, Places, Refusal};
use crate::renewed::Renewed;

/// Handshakes at a time: each costs a signature.
const HANDSHAKES_MAX: usize = 64;
/// How long one may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Where no connection can be accepted, the next one is tried after this time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// TLS 1.3 of a listener; clients must show a certificate where the files name an authority for them.
#[derive(Debug)]
pub struct Server {
    files: Tls,
    protocol: &'static [u8],
    config: Renewed<ServerConfig>,
}

impl Server {
    /// With what is in the files now; `protocol` is what connections are for.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn new(files: &Tls, protocol: &'static [u8]) -> Result<Self, Error> {
        let mut paths = vec![files.certificate.clone(), files.key.clone()];
        paths.extend(files.client_ca.clone());
        Ok(Self {
            config: Renewed::new("certificates", paths, || make(files, protocol))?,
            files: files.clone(),
            protocol,
        })
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.current(|| make(&self.files, self.protocol));
        TlsAcceptor::from(config)
    }
}

fn make(files: &Tls, protocol: &[u8]) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(pem::provider())
        .with_protocol_versions(&[&version::TLS13])?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            pem::authorities(&mut roots, path)?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), pem::provider());
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let (chain, key) = (pem::chain(&files.certificate)?, pem::key(&files.key)?);
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|cause| Error::Certificate {
        path: files.certificate.clone(),
        cause,
    })?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// Connections to a listener that found a place, their handshakes done. A client that is slow with its own
/// delays nobody, and one with many leaves handshakes for others. Ends when the stream is dropped.
pub fn incoming(
    listener: TcpListener,
    server: Arc<Server>,
    places: Arc<Places>,
) -> ReceiverStream<Result<Admitted<TlsStream<TcpStream>>, io::Error>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, server, places, sender.clone()) => {}
            () = sender.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn accept(
    listener: TcpListener,
    server: Arc<Server>,
    places: Arc<Places>,
    sender: mpsc::Sender<Result<Admitted<TlsStream<TcpStream>>, io::Error>>,
) {
    let handshakes = Places::new(HANDSHAKES_MAX);
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a client cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let guest = Guest::at(from);
        let Ok(handshake) = handshakes.enter(guest) else {
            places.refuse(Refusal::Crowd);
            continue;
        };
        let Ok(place) = places.enter(guest) else {
            continue;
        };
        let (acceptor, sender) = (server.acceptor(), sender.clone());
        tokio::spawn(async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "small answers will wait for more");
            }
            let greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
            drop(handshake);
            match greeted {
                // Where nobody takes it, the listener is closing.
                Ok(Ok(stream)) => drop(sender.send(Ok(Admitted::new(stream, place))).await),
                Ok(Err(error)) => tracing::debug!(%error, %from, "a TLS handshake failed"),
                Err(_elapsed) => {
                    place.note_silence();
                    tracing::debug!(%from, "a TLS handshake took too long");
                }
            }
        });
    }
}
