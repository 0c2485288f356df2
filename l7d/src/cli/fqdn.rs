//! `l7d fqdn`: what DNS has told the endpoints of a node.

use std::io;

use clap::{Args, Subcommand};
use proto::agent::agent_client::AgentClient;
use proto::agent::{GetNamesRequest, Name};
use tokio_stream::StreamExt as _;

use super::failure::Failure;
use super::list::{ListOutput, json};
use super::server::ServerFlags;
use crate::print::list;

const EXAMPLES: &str = "\
Examples:
  l7d fqdn list                          every name that was asked for, and its addresses
  l7d fqdn list --matching api.shop.io   who knows this name, and which rule means it
  l7d fqdn list --matching 192.0.2.7     why this address is allowed, or is not";

/// What can be done with names.
#[derive(Debug, Subcommand)]
pub enum Fqdn {
    /// Names that endpoints have asked for, the addresses that they got, and the `toFQDNs` that mean them
    #[command(after_help = EXAMPLES)]
    List(Box<FqdnArgs>),
}

/// Arguments of `l7d fqdn list`.
#[derive(Debug, Args)]
pub struct FqdnArgs {
    /// Only what has this text in its client, name or address
    #[arg(short, long, value_name = "TEXT")]
    pub matching: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    #[arg(help_heading = "Formatting")]
    pub output: ListOutput,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Runs the command.
pub async fn run(fqdn: &Fqdn) -> Result<(), Failure> {
    let Fqdn::List(args) = fqdn;
    let server = args.server.settle(|name| std::env::var(name).ok())?;
    let refused = |status| server.refused("the request for names", &status);
    let channel = server.connect().await?;
    let mut client = AgentClient::with_interceptor(channel, server.credentials()?);
    let mut request = tonic::Request::new(GetNamesRequest {});
    request.set_timeout(server.request_timeout());
    let response = client.get_names(request).await.map_err(refused)?;
    let mut stream = response.into_inner();
    let mut names = Vec::new();
    while let Some(name) = stream.next().await {
        let name = name.map_err(refused)?;
        if args.matching.as_deref().is_none_or(|text| has(&name, text)) {
            names.push(name);
        }
    }
    let mut out = io::stdout().lock();
    match args.output {
        ListOutput::Json => json(&mut out, &names)?,
        form => list::names(&mut out, form.columns(), &names)?,
    }
    Ok(())
}

fn has(name: &Name, text: &str) -> bool {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    [&name.client, &name.client_pod, &name.name, &name.address]
        .into_iter()
        .any(|field| field.contains(&text))
}
