//! System calls by seccomp: what is not allowed fails with EPERM, and the kernel's log says so. Nothing is
//! killed for it: a call that was forgotten here costs what it was for, and no connection.
#![expect(
    unsafe_code,
    reason = "libraries that offer this do not have the kernel log what it refuses"
)]

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

/// Why system calls are not filtered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No filter could be made.
    #[error("no filter for this machine: {0}")]
    Filter(#[from] BackendError),
    /// The kernel did not take it.
    #[error("the kernel takes no filter ({0}): CONFIG_SECCOMP_FILTER")]
    Kernel(io::Error),
    /// A thread of ours has another one.
    #[error("thread {0} has a filter of its own")]
    Thread(i64),
}

/// For whom a filter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// All of this process.
    All,
    /// The one that asks.
    #[cfg(test)]
    Own,
}

/// Families of sockets that there is a use for.
const FAMILIES: [i32; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];
/// Flags of `clone` that make namespaces.
const NAMESPACES: i32 = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

/// Has everything but these calls refused from now on. `no_new_privs` must be set.
pub(super) fn install(allowed: &[i64], threads: Threads) -> Result<(), Error> {
    // The strictest answer of several filters counts: this one has one answer more.
    let flags = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
        machine()?,
    )?;
    put(&BpfProgram::try_from(flags)?, threads, Told::Never)?;
    put(&program(allowed)?, threads, Told::Logged)
}

fn machine() -> Result<seccompiler::TargetArch, BackendError> {
    std::env::consts::ARCH.try_into()
}

fn program(allowed: &[i64]) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        allowed.iter().map(|number| (*number, Vec::new())).collect();
    let first = |operator, value: i32| {
        let value = u64::from(value.cast_unsigned());
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value)?;
        SeccompRule::new(vec![condition])
    };
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        let families = FAMILIES.map(|family| first(SeccompCmpOp::Eq, family));
        rules.insert(call, families.into_iter().collect::<Result<_, _>>()?);
    }
    let mask = u64::from(NAMESPACES.cast_unsigned());
    rules.insert(
        libc::SYS_clone,
        vec![first(SeccompCmpOp::MaskedEq(mask), 0)?],
    );
    let refusal = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, refusal, SeccompAction::Allow, machine()?)?.try_into()
}

/// Whether the kernel logs what a filter refuses.
#[derive(Clone, Copy)]
enum Told {
    Logged,
    Never,
}

/// seccomp(2).
fn put(program: &BpfProgram, threads: Threads, told: Told) -> Result<(), Error> {
    let length = u16::try_from(program.len());
    let length = length.map_err(|_too_long| Error::Kernel(io::ErrorKind::InvalidInput.into()))?;
    let mut flags = match threads {
        Threads::All => libc::SECCOMP_FILTER_FLAG_TSYNC,
        #[cfg(test)]
        Threads::Own => 0,
    };
    if matches!(told, Told::Logged) {
        flags |= libc::SECCOMP_FILTER_FLAG_LOG;
    }
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions behind `filter`, which both outlive the call; the
    // library's type of an instruction is the kernel's, as is that of `libc`.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    };
    match done {
        0 => Ok(()),
        thread if thread > 0 => Err(Error::Thread(thread)),
        _ => Err(Error::Kernel(io::Error::last_os_error())),
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketType, socket};
    use rustix::thread::{UnshareFlags, set_no_new_privs};

    use super::super::system_calls;
    use super::*;

    /// Of a thread with the agent's filter, which goes with it.
    fn filtered<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(move || {
            set_no_new_privs(true).expect("it is set");
            install(&system_calls::allowed(), Threads::Own).expect("it is installed");
            act()
        });
        thread.join().expect("it ends")
    }

    #[test]
    fn what_is_not_in_the_list_is_refused() {
        let (namespaces, packets, unix) = filtered(|| {
            #[expect(
                unsafe_code,
                reason = "descriptors could be unshared by it, and are not"
            )]
            // SAFETY: no descriptors are unshared.
            let namespaces = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUTS) };
            let packets = socket(AddressFamily::PACKET, SocketType::RAW, None).map(drop);
            let unix = socket(AddressFamily::UNIX, SocketType::STREAM, None).map(drop);
            (namespaces, packets, unix)
        });
        assert_eq!(namespaces, Err(rustix::io::Errno::PERM));
        assert_eq!(packets, Err(rustix::io::Errno::PERM));
        assert_eq!(unix, Ok(()));
    }

    #[test]
    fn threads_and_programs_start_all_the_same() {
        let output = filtered(|| {
            let thread = std::thread::spawn(|| std::fs::read_to_string("/proc/thread-self/status"));
            let status = thread.join().expect("it ends").expect("a status");
            assert!(status.contains("Seccomp:\t2"), "{status}");
            std::process::Command::new("ip")
                .args(["-j", "link"])
                .output()
        });
        let output = output.expect("it runs");
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.starts_with(b"["));
    }
}
