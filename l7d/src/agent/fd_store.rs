//! The service manager's store of descriptors (`sd_pid_notify_with_fds(3)`): between the end of an agent
//! that is restarted and the start of the next one, its listeners and connections wait there.
//!
//! One descriptor is kept: the end of a socket with everything in it, as a successor would be sent it.
#![expect(
    unsafe_code,
    reason = "descriptors that a service manager passes are known by number alone"
)]

use std::io;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sd_notify::NotifyState;

use crate::proxy::{Belongings, Link, LinkBroken};

/// What our descriptor is called there.
const NAME: &str = "connections";
/// A manager that has not looked at its socket for so long does not.
const PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// Why nothing can be left with the service manager.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("nobody is there to keep them: NOTIFY_SOCKET is not set")]
    NoManager,
    #[error("{0}")]
    Full(#[from] LinkBroken),
    #[error("the service manager cannot be told: {0}")]
    Manager(#[from] io::Error),
}

/// Leaves everything with the service manager. Returns when it has it.
pub(super) fn leave(belongings: &Belongings) -> Result<(), Error> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Err(Error::NoManager);
    }
    let kept = Link::leave(belongings)?;
    let states = [
        NotifyState::FdStore,
        NotifyState::FdName(NAME),
        // Its other end is closed: a manager that looks at it would throw it away.
        NotifyState::Custom("FDPOLL=0"),
    ];
    sd_notify::notify_with_fds(&states, &[kept.as_fd()])?;
    if let Err(error) = wait_until_heard() {
        // It may hear all of it later, when this agent goes on with what was in there.
        forget();
        return Err(error.into());
    }
    Ok(())
}

/// Has the manager keep it no more.
fn forget() {
    let states = [NotifyState::FdStoreRemove, NotifyState::FdName(NAME)];
    if let Err(error) = sd_notify::notify(&states) {
        tracing::warn!(%error, "the service manager keeps a descriptor that nobody needs");
    }
}

/// The manager closes a descriptor that comes with `BARRIER=1` when it has heard everything before it
/// (`sd_notify_barrier(3)`); it could not tell whose descriptors come from a process that is gone.
fn wait_until_heard() -> io::Result<()> {
    let (open, passed) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[passed.as_fd()])?;
    drop(passed);
    let mut ends = [PollFd::new(&open, PollFlags::HUP)];
    if poll(&mut ends, Some(&PATIENCE))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(())
}

/// What a former agent has left with the service manager.
pub(super) struct Left(UnixStream);

impl Left {
    /// Looks for it, once: descriptors have one owner.
    pub(super) fn find() -> Option<Self> {
        let passed = sd_notify::listen_fds_with_names();
        let passed = passed.inspect_err(|error| {
            tracing::warn!(%error, "what the service manager passes cannot be read");
        });
        let (number, _) = passed.ok()?.find(|(_, name)| name == NAME)?;
        Some(Self(owned(number)))
    }

    /// Takes it; afterwards the manager keeps it no more.
    pub(super) fn take(self) -> Result<Belongings, LinkBroken> {
        let taken = Link::new(self.0).and_then(|link| link.take(drop));
        forget();
        taken
    }
}

fn owned(number: RawFd) -> UnixStream {
    // SAFETY: the manager has passed it to this process, named as ours, and nobody else here asks for
    // what it passes.
    unsafe { OwnedFd::from_raw_fd(number) }.into()
}
