//! TLS of listeners and of connections to servers, with certificates that are read again when their
//! files change.
//!
//! Files are looked at before each handshake, so that a certificate that was renewed is shown from the
//! next connection on; who is connected stays so. Files that cannot be used change nothing: a
//! certificate and its key are two files, and for a moment they do not belong together.
//!
//! Listeners speak TLS 1.3 only, as Hubble's.

mod client;
mod pem;
mod server;

use std::path::PathBuf;

use tokio_rustls::rustls;

pub use client::{Client, ClientFiles, Oldest, Trust};
pub use server::{Server, incoming};

/// What HTTP/2 is called where protocols are agreed on (RFC 9113 §3.1).
pub const HTTP2: &[u8] = b"h2";
/// What HTTP/1.1 is called there (RFC 7301 §6).
pub const HTTP1: &[u8] = b"http/1.1";

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or holds something else.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("{}: no certificate in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate and its key cannot be used, or do not belong together.
    #[error("{} and its key: {cause}", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
    /// An authority's certificate cannot be used.
    #[error("{}: {cause}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
    /// Clients cannot be verified.
    #[error("authorities of clients: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// This machine trusts nobody.
    #[error("this machine has no certificates of authorities: name them")]
    NoAuthorities,
    /// TLS itself cannot be set up.
    #[error("TLS: {0}")]
    Setup(#[from] rustls::Error),
}
