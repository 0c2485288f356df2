//! The static binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::arch::Arch;
use super::folder;
use crate::run::{run, say, target, workspace};
use crate::{ebpf, setup};

/// Builds what goes into the image, with Debian's compiler, which the kernel programs have as well:
/// it is there for both machines. glibc is linked in; its `getaddrinfo` reads `/etc/hosts` and asks
/// DNS without a library of the machine's (since 2.34).
pub(super) fn build(arch: Arch) -> anyhow::Result<PathBuf> {
    setup::toolchain()?;
    ebpf::build()?;
    let mut flags = vec!["-C target-feature=+crt-static".to_owned()];
    let out = target().join("image/build");
    let variable = arch.target().to_uppercase().replace('-', "_");
    let mut command = Command::new("/usr/bin/cargo");
    if !arch.is_host() {
        let (package, compiler) = arch.cross_compiler();
        setup::cross(package, compiler)?;
        flags.push(format!("--sysroot {}", sysroot(arch)?.display()));
        command.env(format!("CARGO_TARGET_{variable}_LINKER"), compiler);
    }
    say(&format!("building l7d for {}: some minutes", arch.name()));
    run(command
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "l7d",
            "--bin",
            "l7d",
        ])
        .args(["--locked", "--target", arch.target()])
        .current_dir(workspace())
        .env(
            format!("CARGO_TARGET_{variable}_RUSTFLAGS"),
            flags.join(" "),
        )
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO_TARGET_DIR", &out)
        .env("L7D_EBPF_OBJECT", target().join("bpf/l7d.bpf.o"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    Ok(out.join(arch.target()).join("release/l7d"))
}

/// Copies a binary without what only debuggers read.
pub(super) fn strip(arch: Arch, from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(arch.tool("strip"));
    run(command.arg("--strip-all").arg("-o").arg(to).arg(from))
}

/// The compiler's folder with the standard library of another machine beside its own.
fn sysroot(arch: Arch) -> anyhow::Result<PathBuf> {
    let place = folder(arch).join("std");
    let debian = super::debian::fetch(
        &place,
        arch,
        &["libstd-rust-web-dev"],
        super::debian::Freshness::Any,
    )?;
    let sysroot = place.join("sysroot");
    let libraries = sysroot.join("lib/rustlib");
    if sysroot.exists() {
        std::fs::remove_dir_all(&sysroot)?;
    }
    std::fs::create_dir_all(&libraries)?;
    let theirs = debian.package("libstd-rust-web-dev")?;
    for (target, root) in [
        (Arch::host().target(), Path::new("/")),
        (arch.target(), theirs.folder.as_path()),
    ] {
        let library = root.join("usr/lib/rustlib").join(target);
        anyhow::ensure!(library.is_dir(), "no {}", library.display());
        std::os::unix::fs::symlink(&library, libraries.join(target))
            .with_context(|| library.display().to_string())?;
    }
    Ok(sysroot)
}
