//! `l7d list`: nodes of a relay, namespaces that had traffic.

use std::io::{self, Write};

use clap::{Args, Subcommand, ValueEnum};
use proto::observer::{GetNamespacesRequest, GetNodesRequest};
use serde::Serialize;

use super::failure::Failure;
use super::server::ServerFlags;
use crate::print::list::{self, Columns};

/// What can be listed.
#[derive(Debug, Subcommand)]
pub enum List {
    /// Nodes that a relay knows, with their state and load
    #[command(visible_alias = "node")]
    Nodes(Box<ListArgs>),
    /// Namespaces with flows in the last hour
    #[command(visible_aliases = ["namespace", "ns"])]
    Namespaces(Box<ListArgs>),
}

/// Arguments of `l7d list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    #[arg(help_heading = "Formatting")]
    pub output: ListOutput,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Forms of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListOutput {
    /// A JSON array
    Json,
    /// Aligned columns
    Table,
    /// Aligned columns, more of them
    Wide,
}

impl ListOutput {
    pub(super) fn columns(self) -> Columns {
        if self == Self::Wide {
            Columns::Wide
        } else {
            Columns::Usual
        }
    }
}

/// Runs the command.
pub async fn run(list: &List) -> Result<(), Failure> {
    match list {
        List::Nodes(args) => nodes(args).await,
        List::Namespaces(args) => namespaces(args).await,
    }
}

async fn nodes(args: &ListArgs) -> Result<(), Failure> {
    let server = args.server.settle(|name| std::env::var(name).ok())?;
    let mut request = tonic::Request::new(GetNodesRequest {});
    request.set_timeout(server.request_timeout());
    let response = server.observer().await?.get_nodes(request).await;
    let response = response.map_err(|status| server.refused("the request for nodes", &status))?;
    let nodes = response.into_inner().nodes;
    let mut out = io::stdout().lock();
    match args.output {
        ListOutput::Json => json(&mut out, &nodes)?,
        form => list::nodes(&mut out, form.columns(), nodes)?,
    }
    Ok(())
}

async fn namespaces(args: &ListArgs) -> Result<(), Failure> {
    let server = args.server.settle(|name| std::env::var(name).ok())?;
    let mut request = tonic::Request::new(GetNamespacesRequest {});
    request.set_timeout(server.request_timeout());
    let response = server.observer().await?.get_namespaces(request).await;
    let response =
        response.map_err(|status| server.refused("the request for namespaces", &status))?;
    let namespaces = response.into_inner().namespaces;
    let mut out = io::stdout().lock();
    match args.output {
        ListOutput::Json => json(&mut out, &namespaces)?,
        form => list::namespaces(&mut out, form.columns(), &namespaces)?,
    }
    Ok(())
}

pub(super) fn json<T: Serialize>(out: &mut impl Write, list: &[T]) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, list)?;
    writeln!(out)
}
