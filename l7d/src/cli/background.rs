//! `l7d agent --background`: another process becomes the agent, and this one returns when it is ready.
//!
//! ```text
//!   this one ── starts ──▶ a go-between ── starts ──▶ the agent
//!      ▲                    ends at once                 │
//!      └────────────────── "ready" ──────────────────────┘
//! ```
//!
//! The agent has no parent any more but who takes in orphans, which under systemd is systemd itself: of a
//! main process that is not its child it cannot hear the end, and kills it without waiting when the
//! service stops (`unit_kill_context()`).

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::failure::Failure;

/// Says to an agent that whoever started it waits at its standard input.
pub(super) const AWAITED: &str = "L7D_READY_ON_STDIN";
/// Says to this program that it is the go-between.
const BETWEEN: &str = "L7D_BACKGROUND";

/// Starts this program with the same arguments but for `--background`, and waits until it is ready.
pub(super) fn start() -> Result<(), Failure> {
    if std::env::var_os(BETWEEN).is_some() {
        return start_agent();
    }
    let (mut waiting, told) = UnixStream::pair().map_err(failed)?;
    let status = this_program()?
        .args(std::env::args_os().skip(1))
        .env(BETWEEN, "1")
        .stdin(Stdio::from(OwnedFd::from(told)))
        .status()
        .map_err(failed)?;
    // Ends without a word when the agent has closed its end, or is gone.
    if status.success() && waiting.read_exact(&mut [0]).is_ok() {
        return Ok(());
    }
    Err(Failure::failed(
        "the agent has ended before it was ready",
        "it has said why",
    ))
}

fn start_agent() -> Result<(), Failure> {
    let arguments = std::env::args_os().skip(1);
    this_program()?
        .args(arguments.filter(|argument| argument != "--background"))
        .env_remove(BETWEEN)
        .env(AWAITED, "1")
        .spawn()
        .map_err(failed)?;
    Ok(())
}

fn this_program() -> Result<Command, Failure> {
    std::env::current_exe().map(Command::new).map_err(failed)
}

fn failed(error: std::io::Error) -> Failure {
    Failure::failed("cannot start the agent", error)
}
