//! Both sides of gRPC calls, small enough that a bench measures what stands between them.
//!
//! ```text
//! calls serve PORT
//! calls ask unary|stream URL CONNECTIONS STREAMS SECONDS
//! calls pace unary|stream URL CONNECTIONS STREAMS SECONDS RATE
//! ```
//!
//! `ask` begins a call when the one before has been answered; `pace` begins them at fixed times,
//! whether others have been answered or not, and counts from those times: a stall is seen in every
//! call that it delays. Both write one line: how many, and their median and 99th percentile in
//! microseconds.

mod client;
mod pace;
mod server;

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::task::LocalSet;

use client::{Answered, Connections, Shape};

/// A message of 32 bytes behind its prefix: not compressed, and how long it is.
const MESSAGE: Bytes = Bytes::from_static(b"\0\0\0\0\x20one hat, two scarves, three caps");
/// As long as `MESSAGE`.
const MESSAGE_BYTES: usize = 37;
/// Large enough that no message ever waits for a window.
const WINDOW_BYTES: u32 = 1 << 24;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, run(&words))
}

async fn run(words: &[&str]) -> anyhow::Result<()> {
    match *words {
        ["serve", port] => server::serve(port.parse()?).await,
        ["ask", shape, url, connections, streams, seconds] => {
            let connections =
                Connections::open(url, connections.parse()?, streams.parse()?).await?;
            let seconds = Duration::from_secs(seconds.parse()?);
            tell(client::ask(connections, shape.parse()?, seconds).await?)
        }
        ["pace", shape, url, connections, streams, seconds, rate] => {
            let connections =
                Connections::open(url, connections.parse()?, streams.parse()?).await?;
            let seconds = Duration::from_secs(seconds.parse()?);
            tell(pace::run(connections, shape.parse()?, seconds, rate.parse()?).await?)
        }
        _ => bail!("see the head of testbed/examples/calls/main.rs"),
    }
}

#[expect(clippy::print_stdout, reason = "the figures are the program's result")]
fn tell(mut answered: Answered) -> anyhow::Result<()> {
    answered.sort_unstable();
    let at = |share: usize| answered.get(answered.len() * share / 100).copied();
    let p50 = at(50).context("no call was answered")?;
    let p99 = at(99).context("no call was answered")?;
    println!("{} {} {}", answered.len(), p50.as_micros(), p99.as_micros());
    Ok(())
}

impl std::str::FromStr for Shape {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> anyhow::Result<Self> {
        match word {
            "unary" => Ok(Self::Unary),
            "stream" => Ok(Self::Stream),
            _ => bail!("`{word}` is neither `unary` nor `stream`"),
        }
    }
}
