//! What can go wrong with the kernel side.

use std::path::PathBuf;

/// What can go wrong with the kernel side, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binary carries no kernel programs.
    #[error(
        "this binary was built without kernel programs: run `cargo xtask ebpf`, then build again"
    )]
    NoPrograms,
    /// The pin folder cannot be made.
    #[error("{}: {cause}; it must be on a bpf filesystem (mount -t bpf bpf /sys/fs/bpf) and be writable by root", folder.display())]
    PinFolder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The object was refused.
    #[error(
        "the kernel programs cannot be loaded: {cause}; root or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed"
    )]
    Load {
        /// Why.
        cause: aya::EbpfError,
    },
    /// The kernel's description of its types cannot be read.
    #[error("the kernel's types: {cause}")]
    Types {
        /// Why.
        cause: aya::BtfError,
    },
    /// One program was refused.
    #[error("kernel program {program}: {}{}", wanted(cause), causes(cause))]
    Program {
        /// Its name.
        program: &'static str,
        /// Why.
        cause: aya::programs::ProgramError,
    },
    /// The object has no such program.
    #[error(
        "kernel program {0} is missing from this binary: build it again after `cargo xtask ebpf`"
    )]
    NoProgram(&'static str),
    /// A hook cannot be attached.
    #[error("{program} cannot be attached to {target}: {}", causes(cause))]
    Attach {
        /// The program.
        program: &'static str,
        /// Interface or cgroup.
        target: String,
        /// Why.
        cause: aya::programs::ProgramError,
    },
    /// A hook has no link to pin.
    #[error("a socket hook cannot be pinned: {cause}; kernel 5.7 or newer is needed")]
    Link {
        /// Why.
        cause: aya::programs::links::LinkError,
    },
    /// A link cannot be pinned.
    #[error("{}: the link cannot be pinned: {cause}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: aya::pin::PinError,
    },
    /// Connections cannot be counted.
    #[error("the thread that counts connections: {cause}")]
    Count {
        /// Why.
        cause: std::io::Error,
    },
    /// The object has no such map.
    #[error("kernel map {0} is missing from this binary: build it again after `cargo xtask ebpf`")]
    NoMap(&'static str),
    /// A map cannot be read or written.
    #[error("kernel map {map}: {}", causes(cause))]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        cause: aya::maps::MapError,
    },
    /// A cgroup cannot be opened.
    #[error("cgroup {}: {cause}; the socket hooks need the cgroup v2 hierarchy", path.display())]
    Cgroup {
        /// Its folder.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The network namespace cannot be opened.
    #[error("/proc/self/ns/net: {cause}; datagrams cannot be redirected without it")]
    Namespace {
        /// Why.
        cause: std::io::Error,
    },
    /// The node's network cannot be changed.
    #[error(transparent)]
    HostNetwork(#[from] super::host_network::Error),
    /// A pin cannot be removed.
    #[error("{}: cannot be removed: {cause}", path.display())]
    Remove {
        /// What.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// What a program that may not be loaded wants: the verifier itself does not say it.
fn wanted(cause: &aya::programs::ProgramError) -> &'static str {
    let is_refused = matches!(
        cause,
        aya::programs::ProgramError::LoadError { io_error, .. }
            if io_error.kind() == std::io::ErrorKind::PermissionDenied
    );
    if is_refused {
        "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed: "
    } else {
        ""
    }
}

/// An error with everything that caused it: libraries name the call, and its cause the reason.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
