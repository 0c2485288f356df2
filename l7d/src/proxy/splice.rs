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
use super::turns;

/// Bodies with less than this to go are copied: two calls for a pipe cost more than they save.
pub(super) const WORTHWHILE_BYTES: u64 = 128 << 10;
/// What one pipe holds, the most that an unprivileged process may ask for by default.
const PIPE_BYTES: usize = 1 << 20;
/// Most that is moved at once: nobody else is served meanwhile.
const STEP_BYTES: usize = 256 << 10;
/// Pipes kept for the next body; each has two descriptors.
const SPARE_MAX: usize = 64;

/// A worker's empty pipes.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    spare: RefCell<Vec<Pipe>>,
}

/// What is to be moved.
pub(super) struct Run<'s> {
    pub(super) way: Way,
    pub(super) from: &'s TcpStream,
    pub(super) to: &'s TcpStream,
    /// Bytes that `from` has or will have.
    pub(super) left: u64,
}

/// A pipe in use, and how many bytes are in it. It stands outside of the future that moves them: when
/// that is dropped they are still here.
#[derive(Debug, Default)]
pub(super) struct Piped {
    pipe: Option<Pipe>,
    held: usize,
}

impl Piped {
    /// The bytes that are in the pipe.
    pub(super) fn take_bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; std::mem::take(&mut self.held)];
        let mut filled = 0;
        if let Some(pipe) = self.pipe.take() {
            while let Some(room @ [_, ..]) = bytes.get_mut(filled..) {
                match rustix::io::read(&pipe.reader, room)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => filled += count,
                }
            }
        }
        Ok(bytes)
    }
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

    /// Moves bytes from one to the other, and tells `moved` of each run. Ends
    /// early, and in good order, when the sender ends early or no pipe is to be had. What a dropped
    /// future leaves in the pipe is in `piped`.
    pub(super) async fn pass(
        &self,
        run: Run<'_>,
        piped: &mut Piped,
        mut moved: impl FnMut(u64),
    ) -> Result<(), Broken> {
        let Run {
            way,
            from,
            to,
            mut left,
        } = run;
        piped.pipe = self.take();
        let Piped { pipe, held } = piped;
        let Some(pipe) = pipe else {
            return Ok(());
        };
        while left > 0 {
            turns::pause().await;
            let step = STEP_BYTES.min(pipe.bytes);
            let most = usize::try_from(left).map_or(step, |left| left.min(step));
            let count = pipe
                .fill(from, most)
                .await
                .map_err(|error| Broken::Read(way, error))?;
            if count == 0 {
                break;
            }
            *held = count;
            while *held > 0 {
                let sent = pipe
                    .drain(to, *held)
                    .await
                    .map_err(|error| Broken::Write(way, error))?;
                *held = held.saturating_sub(sent);
                let sent = u64::try_from(sent).unwrap_or(left);
                left = left.saturating_sub(sent);
                moved(sent);
            }
        }
        if let Some(pipe) = piped.pipe.take() {
            self.give(pipe);
        }
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

    /// Gives on what finds room, at most so many bytes.
    async fn drain(&self, to: &TcpStream, most: usize) -> io::Result<usize> {
        let sent = to
            .async_io(Interest::WRITABLE, || {
                Ok(splice(&self.reader, None, to, None, most, FLAGS)?)
            })
            .await?;
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(sent)
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
