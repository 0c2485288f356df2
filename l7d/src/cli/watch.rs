//! `l7d watch`: which peers an agent knows, and what becomes of them.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use proto::peer::NotifyRequest;
use proto::peer::peer_client::PeerClient;

use super::failure::Failure;
use super::observe::stream::interrupts;
use super::server::ServerFlags;
use crate::print::list;

/// What can be watched.
#[derive(Debug, Subcommand)]
pub enum Watch {
    /// Agents of other nodes, as they come and go
    #[command(visible_alias = "peer")]
    Peers(Box<WatchArgs>),
}

/// Arguments of `l7d watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Runs the command.
pub async fn run(watch: &Watch) -> Result<(), Failure> {
    let Watch::Peers(args) = watch;
    let server = args.server.settle(|name| std::env::var(name).ok())?;
    let refused = |status| server.refused("the request for peers", &status);
    let channel = server.connect().await?;
    let mut client = PeerClient::with_interceptor(channel, server.credentials()?);
    let mut stream = client
        .notify(NotifyRequest {})
        .await
        .map_err(refused)?
        .into_inner();
    let mut interrupts = interrupts()?;
    loop {
        let change = tokio::select! {
            change = stream.message() => change.map_err(refused)?,
            _interrupt = interrupts.recv() => None,
        };
        let Some(change) = change else { return Ok(()) };
        let mut out = io::stdout().lock();
        list::peer(&mut out, &change)?;
        out.flush()?;
    }
}
