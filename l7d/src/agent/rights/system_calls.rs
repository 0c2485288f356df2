//! Which system calls the running agent and the programs that it starts (`ip`, `nft`, a plug-in for
//! credentials) have a use for, by what they are for. `docs/rights.md` has the same list, which a test
//! compares.

/// Calls that serve one purpose.
#[derive(Debug)]
pub(super) struct Group {
    /// What for.
    pub(super) purpose: &'static str,
    /// The kernel's name of each, and its number on this machine.
    pub(super) calls: &'static [(&'static str, i64)],
}

/// Names and numbers of calls by the constants of `libc`.
macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// All groups. What both machines have comes before what only x86-64 has.
pub(super) const GROUPS: [Group; 12] = [
    Group {
        purpose: "reading and writing what is open",
        calls: calls![
            SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev
            SYS_close SYS_close_range SYS_lseek SYS_dup SYS_dup3 SYS_fcntl SYS_flock SYS_ioctl SYS_pipe2
            SYS_splice SYS_tee SYS_sendfile SYS_copy_file_range SYS_fsync SYS_fdatasync SYS_ftruncate
            SYS_fallocate SYS_fadvise64
        ],
    },
    Group {
        purpose: "files (which ones is landlock's to say)",
        calls: calls![
            SYS_openat SYS_openat2 SYS_newfstatat SYS_fstat SYS_statx SYS_statfs SYS_fstatfs
            SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_getdents64 SYS_getcwd SYS_chdir SYS_fchdir
            SYS_mkdirat SYS_unlinkat SYS_renameat SYS_renameat2 SYS_fchmod SYS_fchmodat SYS_umask
        ],
    },
    Group {
        purpose: "waiting",
        calls: calls![
            SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_ppoll SYS_pselect6
            SYS_eventfd2 SYS_inotify_init1 SYS_inotify_add_watch SYS_inotify_rm_watch
            SYS_nanosleep SYS_clock_nanosleep SYS_restart_syscall
        ],
    },
    Group {
        purpose: "sockets (`socket`: of the families unix, inet, inet6 and netlink alone)",
        calls: calls![
            SYS_socket SYS_socketpair SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect
            SYS_getsockname SYS_getpeername SYS_getsockopt SYS_setsockopt SYS_sendto SYS_recvfrom
            SYS_sendmsg SYS_recvmsg SYS_sendmmsg SYS_recvmmsg SYS_shutdown
        ],
    },
    Group {
        purpose: "kernel programs and maps",
        calls: calls![SYS_bpf],
    },
    Group {
        purpose: "memory",
        calls: calls![
            SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_mincore SYS_membarrier
        ],
    },
    Group {
        purpose: "threads (`clone`: in the namespaces there are; `clone3` is answered with ENOSYS, as its \
                  flags cannot be looked at, and libraries then call `clone`)",
        calls: calls![
            SYS_clone SYS_clone3 SYS_futex SYS_futex_waitv SYS_set_robust_list SYS_get_robust_list
            SYS_rseq SYS_set_tid_address SYS_gettid SYS_sched_yield SYS_sched_getaffinity
            SYS_sched_getparam SYS_sched_getscheduler SYS_exit SYS_exit_group
        ],
    },
    Group {
        purpose: "signals",
        calls: calls![
            SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigtimedwait SYS_sigaltstack
            SYS_tgkill
        ],
    },
    Group {
        purpose: "programs that are started",
        calls: calls![
            SYS_execve SYS_wait4 SYS_waitid SYS_kill SYS_pidfd_open SYS_pidfd_send_signal SYS_setpgid
        ],
    },
    Group {
        purpose: "time and chance",
        calls: calls![SYS_clock_gettime SYS_clock_getres SYS_gettimeofday SYS_getrandom],
    },
    Group {
        purpose: "who and what one is",
        calls: calls![
            SYS_getpid SYS_getppid SYS_getpgid SYS_getsid SYS_getuid SYS_geteuid SYS_getgid SYS_getegid
            SYS_getresuid SYS_getresgid SYS_getgroups SYS_capget SYS_capset SYS_prctl SYS_prlimit64
            SYS_getrusage SYS_uname SYS_sysinfo SYS_times
        ],
    },
    Group {
        purpose: "older forms of these, which x86-64 alone has",
        calls: OLDER,
    },
];

#[cfg(target_arch = "x86_64")]
const OLDER: &[(&str, i64)] = calls![
    SYS_open SYS_stat SYS_lstat SYS_access SYS_readlink SYS_mkdir SYS_rmdir SYS_unlink SYS_rename
    SYS_chmod SYS_getdents SYS_dup2 SYS_pipe SYS_poll SYS_select SYS_epoll_create SYS_epoll_wait
    SYS_eventfd SYS_inotify_init SYS_fork SYS_vfork SYS_getpgrp SYS_getrlimit SYS_setrlimit SYS_time
    SYS_arch_prctl
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[(&str, i64)] = &[];

/// Their numbers.
pub(super) fn allowed() -> Vec<i64> {
    let calls = GROUPS.iter().flat_map(|group| group.calls);
    calls.map(|(_, number)| *number).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_call_is_in_one_group() {
        let all = allowed();
        let distinct: BTreeSet<i64> = all.iter().copied().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn what_changes_the_machine_or_other_processes_is_in_none() {
        let all = allowed();
        for (name, number) in calls![
            SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_unshare SYS_setns SYS_ptrace
            SYS_process_vm_readv SYS_process_vm_writev SYS_init_module SYS_finit_module SYS_kexec_load
            SYS_reboot SYS_swapon SYS_settimeofday SYS_clock_settime SYS_adjtimex SYS_io_uring_setup
            SYS_userfaultfd SYS_perf_event_open SYS_keyctl SYS_add_key SYS_memfd_create SYS_execveat
            SYS_setuid SYS_setresuid SYS_symlinkat SYS_linkat SYS_mknodat SYS_open_by_handle_at
            SYS_seccomp SYS_personality SYS_sethostname SYS_fchownat SYS_quotactl SYS_acct
        ] {
            assert!(!all.contains(number), "{name}");
        }
    }

    #[test]
    fn the_documentation_has_the_same_groups() {
        let root = env!("CARGO_MANIFEST_DIR");
        let page = std::fs::read_to_string(format!("{root}/../docs/rights.md")).expect("the page");
        // The other machine has the rest of the page.
        for group in GROUPS.iter().filter(|group| !group.calls.is_empty()) {
            let names = group
                .calls
                .iter()
                .map(|(name, _)| name.trim_start_matches("SYS_"));
            let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            let purpose = group
                .purpose
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            let row = format!("| {purpose} | {} |", names.join(" "));
            assert!(page.contains(&row), "docs/rights.md lacks this row:\n{row}");
        }
    }
}
