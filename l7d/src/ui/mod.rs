//! The web page: the service map, flows and what each of them means, of any server of the Hubble API.
//!
//! ```text
//!   Hubble API ─▶ follow ─▶ Model (timelines, flows, within bounds) ─▶ api ─▶ listener ─▶ page
//! ```
//!
//! | file | what it decides |
//! |---|---|
//! | `follow` | how flows come, and come again after the server was away |
//! | `model` | what is kept |
//! | [`flows`] | which flows are kept, and which are asked for |
//! | `api` | what is answered to which path |
//! | `row`, `detail`, `meaning` | a flow as a row, as a page, and in words |
//! | `guard` | who may ask |
//! | `listener` | connections of browsers |
//! | `page/` | HTML, CSS and JavaScript, embedded as they are |
//!
//! The page asks when it has drawn what it had, at most once a second and not while nobody looks at
//! it: counting is done here, and what a browser gets is bounded whatever the network does. All of this
//! runs in a thread of its own, so that a browser takes time of nobody.

mod api;
mod detail;
pub mod flows;
mod follow;
mod guard;
mod listener;
mod meaning;
mod model;
mod row;

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use parsers::template::Templates;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use crate::config::Tls;
use crate::tls;
use guard::Guard;
use model::Model;

/// Where the page is served, and to whom.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Address and port; port 0 takes any.
    pub address: SocketAddr,
    /// Certificates, which are read again when they change; who asks for browsers' ones lets in who has one.
    pub tls: Option<Tls>,
    /// What a browser must know to look.
    pub token: Option<String>,
}

/// A server of the Hubble API.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it is called on the page.
    pub shown: String,
    /// How to reach it.
    pub channel: Channel,
    /// What it wants to be sent with each request.
    pub authorization: Option<AsciiMetadataValue>,
}

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be listened on.
    #[error("page listener {address}: {cause}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// The network would see everything.
    #[error(
        "page listener {0}: without a token, or certificates of browsers, it is served to this machine alone, by a loopback address"
    )]
    Open(SocketAddr),
    /// A token that can be guessed.
    #[error("page token: {0} characters can be guessed, 16 are the least")]
    Token(usize),
    /// A certificate or key cannot be used.
    #[error("page TLS: {0}")]
    Tls(#[from] tls::Error),
    /// The thread cannot be started.
    #[error("page: {0}")]
    Thread(std::io::Error),
}

/// Serves the page of what `source` tells until `stop` tells to end, by a thread of its own. Returns as
/// soon as it listens, with the address that a browser opens, token included.
///
/// # Errors
/// Where it cannot listen, or may not.
pub async fn serve(
    listen: Listen,
    source: Source,
    templates: Templates,
    stop: watch::Receiver<bool>,
) -> Result<String, Error> {
    let address = listen.address;
    let asks_certificates = listen
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_ca.is_some());
    if !address.ip().is_loopback() && listen.token.is_none() && !asks_certificates {
        return Err(Error::Open(address));
    }
    if let Some(token) = &listen.token
        && token.len() < guard::TOKEN_LEAST
    {
        return Err(Error::Token(token.len()));
    }
    let fault = |cause| Error::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    // A listener belongs to the thread that waits for it.
    let listener = listener.into_std().map_err(fault)?;
    let url = url(bound, &listen);
    let files = listen.tls.as_ref();
    let tls = files
        .map(|files| tls::Server::new(files, tls::HTTP1))
        .transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Thread)?;
    let guard = Guard::new(bound, listen.token.as_deref());
    let thread = std::thread::Builder::new().name("l7d-ui".to_owned());
    let work = move || {
        runtime.block_on(async move {
            let model = Arc::new(Mutex::new(Model::new(source.shown.clone(), templates)));
            let followed = follow::follow(source, Arc::clone(&model), stop.clone());
            let served = listener::accept(listener, tls, Arc::new(guard), model, stop);
            let ((), served) = tokio::join!(followed, served);
            if let Err(error) = served {
                tracing::error!(%error, "the page has ended");
            }
        });
    };
    thread.spawn(work).map_err(Error::Thread)?;
    Ok(url)
}

fn url(bound: SocketAddr, listen: &Listen) -> String {
    let scheme = if listen.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let token = listen
        .token
        .as_deref()
        .map(|token| format!("?token={token}"));
    format!("{scheme}://{bound}/{}", token.unwrap_or_default())
}

#[cfg(test)]
mod tests;
