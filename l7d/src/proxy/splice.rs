//! Moves the rest of a long body through a pipe: its bytes never leave the kernel (splice(2)).

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use parsers::Direction as Way;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::forward::Broken;

/// Bodies with less than this to go are copied: two calls for a pipe cost more than they save.
pub(super) const WORTHWHILE_BYTES: u64 = 128 << 10;
/// What one pipe holds, the most that an unprivileged process may ask for by default.
const PIPE_BYTES: usize = 1 << 20;
/// Pipes kept for the next body; each has two descriptors.
const SPARE_MAX: usize = 64;

/// A worker's empty pipes.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    spare: RefCell<Vec<Pipe>>,
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    bytes: usize,
}

impl Pipes {
    /// None when the system has no descriptors left: the body is copied then.
    fn take(&self) -> Option<Pipe> {
        let spare = self.spare.borrow_mut().pop();
        spare.or_else(|| Pipe::open().ok())
    }

    fn give(&self, pipe: Pipe) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(pipe);
        }
    }

    /// Moves `left` bytes that `from` has or will have to `to`, and tells `moved` of each run. Ends
    /// early, and in good order, when the sender ends early or no pipe is to be had. A pipe that
    /// was left with bytes in it is closed with them.
    pub(super) async fn pass(
        &self,
        way: Way,
        from: &TcpStream,
        to: &TcpStream,
        mut left: u64,
        mut moved: impl FnMut(u64),
    ) -> Result<(), Broken> {
        let Some(pipe) = self.take() else {
            return Ok(());
        };
        while left > 0 {
            let most = usize::try_from(left).map_or(pipe.bytes, |left| left.min(pipe.bytes));
            let count = pipe
                .fill(from, most)
                .await
                .map_err(|error| Broken::Read(way, error))?;
            if count == 0 {
                break;
            }
            pipe.drain(to, count)
                .await
                .map_err(|error| Broken::Write(way, error))?;
            let count = u64::try_from(count).unwrap_or(left);
            left = left.saturating_sub(count);
            moved(count);
        }
        self.give(pipe);
        Ok(())
    }
}

impl Pipe {
    fn open() -> Result<Self, Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller pipe works as well, in more steps.
        let bytes = fcntl_setpipe_size(&writer, PIPE_BYTES).unwrap_or(64 << 10);
        Ok(Self {
            reader,
            writer,
            bytes,
        })
    }

    /// Takes what is there, or waits for it; 0 at the sender's end.
    async fn fill(&self, from: &TcpStream, most: usize) -> io::Result<usize> {
        from.async_io(Interest::READABLE, || {
            Ok(splice(from, None, &self.writer, None, most, FLAGS)?)
        })
        .await
    }

    async fn drain(&self, to: &TcpStream, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let sent = to
                .async_io(Interest::WRITABLE, || {
                    Ok(splice(&self.reader, None, to, None, count, FLAGS)?)
                })
                .await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            count = count.saturating_sub(sent);
        }
        Ok(())
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
