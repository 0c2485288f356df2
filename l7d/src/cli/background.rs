//! `l7d agent --background`: another process becomes the agent, and this one returns when it is ready.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::failure::Failure;

/// Says to an agent that whoever started it waits at its standard input.
pub(super) const AWAITED: &str = "L7D_READY_ON_STDIN";

/// Starts this program with the same arguments but for `--background`, and waits until it is ready.
pub(super) fn start() -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed("cannot start the agent", error);
    let program = std::env::current_exe().map_err(failed)?;
    let (mut waiting, told) = UnixStream::pair().map_err(failed)?;
    let arguments = std::env::args_os().skip(1);
    let mut agent = Command::new(program)
        .args(arguments.filter(|argument| argument != "--background"))
        .env(AWAITED, "1")
        .stdin(Stdio::from(OwnedFd::from(told)))
        .spawn()
        .map_err(failed)?;
    // Ends without a word when the agent has closed its end, or is gone.
    let is_ready = waiting.read_exact(&mut [0]).is_ok();
    if is_ready {
        return Ok(());
    }
    let status = agent.wait().map_err(failed)?;
    Err(Failure::failed(
        "the agent has ended before it was ready",
        status,
    ))
}
