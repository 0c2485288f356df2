//! The machines that images are for, and what each of their owners calls them.

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    /// Debian's and the container world's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Rust's target.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Where Debian keeps libraries of it, and what its tools for it begin with.
    pub(super) fn triplet(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }

    /// Debian's compiler for it on another machine: its package, and its file.
    pub(super) fn cross_compiler(self) -> (&'static str, &'static str) {
        match self {
            Self::Amd64 => ("gcc-x86-64-linux-gnu", "/usr/bin/x86_64-linux-gnu-gcc"),
            Self::Arm64 => ("gcc-aarch64-linux-gnu", "/usr/bin/aarch64-linux-gnu-gcc"),
        }
    }

    /// What starts dynamic programs, by the platform's ABI.
    pub(super) fn loader(self) -> &'static str {
        match self {
            Self::Amd64 => "lib64/ld-linux-x86-64.so.2",
            Self::Arm64 => "lib/ld-linux-aarch64.so.1",
        }
    }

    /// This machine's.
    pub(super) fn host() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Arm64
        } else {
            Self::Amd64
        }
    }

    pub(super) fn is_host(self) -> bool {
        self == Self::host()
    }

    /// A program of binutils or the compiler that reads and writes files of it.
    pub(super) fn tool(self, name: &str) -> String {
        if self.is_host() {
            name.to_owned()
        } else {
            format!("{}-{name}", self.triplet())
        }
    }
}
