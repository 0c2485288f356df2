//! Where lines go.

use std::io;

use crate::clock::Timestamp;

/// Takes lines. It may block: it has its export's thread to itself.
pub(super) trait Output: Send {
    /// Writes whole lines, each with its line feed: as many as it can, and how many bytes these are.
    /// What is not written now is given again.
    fn write(&mut self, lines: &[u8]) -> (usize, Result<(), OutputError>);

    /// Does what is due at this time, and says when it wants to be asked again.
    fn tick(&mut self, _now: Timestamp) -> Option<Timestamp> {
        None
    }
}

/// Why lines are not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    /// It may work later: a disk is full.
    #[error("{0}")]
    Later(String),
    /// It will never work again: whoever read it is gone.
    #[error("{0}")]
    Never(String),
}

impl From<io::Error> for OutputError {
    fn from(cause: io::Error) -> Self {
        Self::Later(cause.to_string())
    }
}

/// The agent's standard output.
pub(super) struct Stdout;

impl Output for Stdout {
    fn write(&mut self, lines: &[u8]) -> (usize, Result<(), OutputError>) {
        let mut written = 0;
        while let Some(left) = lines.get(written..).filter(|left| !left.is_empty()) {
            match rustix::io::write(rustix::stdio::stdout(), left) {
                Ok(0) => {
                    return (
                        written,
                        Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                    );
                }
                Ok(bytes) => written += bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => wait_writable(),
                Err(error @ (rustix::io::Errno::PIPE | rustix::io::Errno::BADF)) => {
                    let why = io::Error::from(error).to_string();
                    return (written, Err(OutputError::Never(why)));
                }
                Err(error) => return (written, Err(io::Error::from(error).into())),
            }
        }
        (written, Ok(()))
    }
}

/// Whoever gave us the pipe may have made it one that does not block.
fn wait_writable() {
    use rustix::event::{PollFd, PollFlags, poll};
    let out = rustix::stdio::stdout();
    let mut waited = [PollFd::new(&out, PollFlags::OUT)];
    // Whatever comes of it, the next write tells.
    let _woken = poll(&mut waited, None);
}
