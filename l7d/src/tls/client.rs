//! The side that connects.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, version,
};

use super::{Error, HTTP2, pem};
use crate::renewed::Renewed;

/// Whom to trust, and what to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Which servers.
    pub trust: Trust,
    /// PEM files of a certificate chain and its key, for servers that want them.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Which servers are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those with a certificate of one of the authorities in these PEM files, of the system's where
    /// there are none.
    Authorities(Vec<PathBuf>),
    /// Whoever answers. What is said can be read and changed on the way.
    Anybody,
}

impl Default for Trust {
    fn default() -> Self {
        Self::Authorities(Vec::new())
    }
}

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oldest {
    /// TLS 1.2, for servers of others.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// TLS to servers of HTTP/2.
#[derive(Debug)]
pub struct Client {
    files: ClientFiles,
    oldest: Oldest,
    config: Renewed<ClientConfig>,
}

impl Client {
    /// With what is in the files now.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn new(files: ClientFiles, oldest: Oldest) -> Result<Self, Error> {
        let mut paths: Vec<PathBuf> = Vec::new();
        if let Trust::Authorities(authorities) = &files.trust {
            paths.extend(authorities.iter().cloned());
        }
        if let Some((certificate, key)) = &files.identity {
            paths.extend([certificate.clone(), key.clone()]);
        }
        Ok(Self {
            config: Renewed::new("certificates", paths, || make(&files, oldest))?,
            files,
            oldest,
        })
    }

    /// Does the handshake with a server that must have a certificate for `name`.
    ///
    /// # Errors
    /// What the handshake says.
    pub async fn connect(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = self.config.current(|| make(&self.files, self.oldest));
        TlsConnector::from(config).connect(name, stream).await
    }
}

fn make(files: &ClientFiles, oldest: Oldest) -> Result<ClientConfig, Error> {
    let provider = pem::provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = match oldest {
        Oldest::Tls12 => builder.with_safe_default_protocol_versions()?,
        Oldest::Tls13 => builder.with_protocol_versions(&[&version::TLS13])?,
    };
    let builder = match &files.trust {
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer::new(&provider))),
        Trust::Authorities(paths) => builder.with_root_certificates(roots(paths)?),
    };
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let config = builder.with_client_auth_cert(pem::chain(certificate)?, pem::key(key)?);
            config.map_err(|cause| Error::Certificate {
                path: certificate.clone(),
                cause,
            })?
        }
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

fn roots(paths: &[PathBuf]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for path in paths {
        pem::authorities(&mut roots, path)?;
    }
    if paths.is_empty() {
        let (_added, _unusable) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(Error::NoAuthorities);
        }
    }
    Ok(roots)
}

/// Takes any certificate, of whoever has its key.
#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl AnyServer {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
