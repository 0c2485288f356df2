//! Certificates and keys, from their files.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};

use super::Error;

/// A chain of certificates, the leaf first.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(fault(path))?;
    let chain: Vec<_> = certificates
        .collect::<Result<_, _>>()
        .map_err(fault(path))?;
    if chain.is_empty() {
        return Err(Error::Empty {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(fault(path))
}

/// All authorities in a file.
pub(super) fn authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), Error> {
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|cause| Error::Authority {
            path: path.to_owned(),
            cause,
        })?;
    }
    Ok(())
}

/// Who computes; named, since a process may have several.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn fault(path: &Path) -> impl Fn(pem::Error) -> Error {
    move |cause| Error::File {
        path: path.to_owned(),
        cause,
    }
}
