//! A Kubernetes API server to play with: `kubectl` and l7d take it for a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use apiserver_double::{Bind, Double, Options};
use clap::Parser;

/// Serves the API of a cluster in which nothing runs, until Ctrl-C
#[derive(Parser)]
#[command(name = "apiserver-double")]
struct Arguments {
    /// Where to listen; port 0 is any that is free
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write the configuration for clients here instead of printing it
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[expect(
    clippy::print_stdout,
    reason = "the configuration is this program's result"
)]
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let double = Double::with(Options {
        bind: Bind::to(arguments.listen),
        ..Options::default()
    })?;
    let config = double.kubeconfig(None);
    match arguments.kubeconfig {
        Some(file) => std::fs::write(&file, config).with_context(|| file.display().to_string())?,
        None => println!("{config}"),
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(tokio::signal::ctrl_c())?)
}
