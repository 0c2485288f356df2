//! A capture's flows on the Hubble API, for clients that know nothing of captures.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::ReplayArgs;
use crate::cli::failure::Failure;
use crate::cli::observe::stream::interrupts;
use crate::cli::ui;
use crate::config::Tcp;
use crate::flow::FlowRing;
use crate::flow::view::NodeView;
use crate::metrics::CallsLayer;
use crate::server::{self, AgentStatus, Peer, Peers, Sources};
use crate::ui::Source;

/// Where flows are offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Socket(PathBuf),
    Loopback(SocketAddr),
}

impl Address {
    /// Reads `unix://PATH` or `host:port`; a capture is nothing for the network.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("unix://") {
            // The stock CLI takes what stands behind `unix://` for a host unless it begins with a slash.
            let path = std::path::absolute(path)
                .map_err(|error| Failure::usage(format!("--serve {text}: {error}")))?;
            return Ok(Self::Socket(path));
        }
        let host = text.strip_prefix("localhost:");
        let numeric = host.map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
        match numeric.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Ok(address) => Err(Failure::usage(format!(
                "--serve {address}: only loopback is served without TLS"
            ))
            .advise("use 127.0.0.1, or a unix:// socket and whatever tunnel you trust")),
            Err(error) => Err(Failure::usage(format!("--serve {text}: {error}"))
                .advise("unix://PATH or 127.0.0.1:4245")),
        }
    }
}

impl Address {
    fn listeners(&self) -> (Option<&PathBuf>, Option<Tcp>) {
        match self {
            Self::Socket(path) => (Some(path), None),
            Self::Loopback(listen) => {
                let tcp = Tcp {
                    listen: *listen,
                    tls: None,
                    insecure: true,
                };
                (None, Some(tcp))
            }
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Socket(path) => format!("unix://{}", path.display()),
            Self::Loopback(address) => address.to_string(),
        }
    }
}

/// Offers the flows of `ring` until interrupted, on the API, as a page, or both.
pub(super) async fn until_interrupted(
    args: &ReplayArgs,
    address: Option<&Address>,
    ring: Arc<FlowRing>,
    node: NodeView,
) -> Result<(), Failure> {
    let (stop, stopped) = watch::channel(false);
    let count = ring.len();
    let peers = Peers::only(&node.name, Peer::default());
    let sources = Sources {
        calls: CallsLayer::default(),
        events: Arc::default(),
        names: Arc::new(Vec::new),
        audits: Arc::new(Vec::new),
        ring,
        node: Arc::new(node),
        status: Arc::new(AgentStatus::default),
        peers: watch::channel(Arc::new(peers)).1,
    };
    let cannot = |error| Failure::failed("the flows cannot be served", error);
    let mut interrupts = interrupts()?;
    if let Some(address) = address {
        let (socket, tcp) = address.listeners();
        server::start_on(socket, tcp.as_ref(), &sources, &stopped)
            .await
            .map_err(cannot)?;
        let shown = address.shown();
        writeln!(
            io::stderr().lock(),
            "l7d: serving {count} flows at {shown} until Ctrl-C: hubble observe --server {shown} --last {count}"
        )?;
    }
    if let Some(listen) = &args.ui {
        let channel = server::channel(&sources, stopped.clone()).await;
        let source = Source {
            shown: shown(&args.files),
            channel: channel.map_err(cannot)?,
            authorization: None,
        };
        let templates = args.templates.templates()?;
        ui::serve(&args.page, listen, source, templates, stopped).await?;
    }
    interrupts.recv().await;
    stop.send_replace(true);
    if let Some(Address::Socket(path)) = address {
        // A socket that somebody took away already is away.
        let _gone = std::fs::remove_file(path);
    }
    Ok(())
}

/// The names of captures.
fn shown(files: &[PathBuf]) -> String {
    let name = |file: &PathBuf| {
        let name = file.file_name().unwrap_or(file.as_os_str());
        name.to_string_lossy().into_owned()
    };
    files.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_served() {
        assert!(matches!(
            Address::parse("unix://capture.sock"),
            Ok(Address::Socket(path)) if path.is_absolute() && path.ends_with("capture.sock")
        ));
        assert!(Address::parse("unix://").is_err());
        assert!(matches!(
            Address::parse("localhost:4245"),
            Ok(Address::Loopback(_))
        ));
        assert!(Address::parse("0.0.0.0:4245").is_err());
        assert!(Address::parse("somewhere").is_err());
    }
}
