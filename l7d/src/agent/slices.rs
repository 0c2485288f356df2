//! For how long the agent's threads keep a core that others want too.
//!
//! A thread that comes to a core where another one runs waits until that one has had its slice, a
//! millisecond or more: an application as well, or its server, whose packets the agent only watches. With
//! short slices nobody waits for the agent for long, and a proxy worker that is woken is let in at once by
//! who has usual ones. What a thread gets altogether stays the same (`kernel/sched/fair.c`, EEVDF).
#![expect(unsafe_code, reason = "no library has sched_setattr(2)")]

use std::io;
use std::time::Duration;

/// The shortest that the kernel gives (`__setparam_fair`).
const SLICE: Duration = Duration::from_micros(100);

/// Has this thread, and those that it starts from now on, take short slices. Kernels before 6.12 have the
/// same ones for all, and do not say so.
pub(super) fn shorten() {
    if let Err(error) = current().and_then(|attributes| set(&attributes)) {
        tracing::debug!(%error, "slices stay as they are");
    }
}

/// How this thread is scheduled.
fn current() -> io::Result<libc::sched_attr> {
    // SAFETY: numbers alone, for which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let bytes = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most so many bytes, which are ours; 0 is this thread.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, bytes, 0) };
    if done == 0 {
        Ok(attributes)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The same with short slices: nice values and policies are the operator's.
fn set(attributes: &libc::sched_attr) -> io::Result<()> {
    let attributes = libc::sched_attr {
        sched_runtime: u64::try_from(SLICE.as_nanos()).unwrap_or(0),
        ..*attributes
    };
    // SAFETY: the kernel reads as many bytes as the attributes say of themselves, which are as large as the
    // type it filled; 0 is this thread.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the kernel has no slices of a thread's own it says 0.
    fn own_slice() -> u64 {
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0_u32);
        if (next(), next()) >= (6, 12) {
            100_000
        } else {
            0
        }
    }

    #[test]
    fn threads_that_are_started_have_short_slices_too() {
        let thread = std::thread::spawn(|| {
            let before = current().expect("it is known");
            shorten();
            let later = std::thread::spawn(current).join().expect("it ends");
            (before, [current(), later])
        });
        let (before, after) = thread.join().expect("it ends");
        assert_ne!(before.sched_runtime, own_slice().max(1));
        for attributes in after {
            let attributes = attributes.expect("they are known");
            assert_eq!(attributes.sched_runtime, own_slice());
            assert_eq!(attributes.sched_policy, before.sched_policy);
            assert_eq!(attributes.sched_nice, before.sched_nice);
        }
    }
}
