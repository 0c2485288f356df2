//! Builds the kernel programs and puts the object where `l7d/build.rs` finds it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::run::{run, say, target, workspace};
use crate::setup;

const TARGET: &str = "bpfel-unknown-none";

/// Builds, and writes the object only when it differs, so that nothing is built again for nothing.
pub(crate) fn build() -> anyhow::Result<()> {
    let Some(linker) = setup::linker() else {
        bail!("bpf-linker is missing: cargo xtask setup")
    };
    say("building the kernel programs");
    let folder = linker.parent().unwrap_or(Path::new("/"));
    let path = std::env::var("PATH").unwrap_or_default();
    let out = target().join("bpf-build");
    run(Command::new("/usr/bin/cargo")
        .args([
            "build",
            "--quiet",
            "--release",
            "-Z",
            "build-std=core",
            "--target",
            TARGET,
        ])
        .args(["--features", "programs", "--bin", "l7d-ebpf"])
        .current_dir(workspace().join("l7d-ebpf"))
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("RUSTC", "/usr/bin/rustc")
        // The kernel target needs unstable flags; the compiler is a stable one.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-C debuginfo=2 -C link-arg=--btf")
        .env("CARGO_TARGET_DIR", &out)
        // Code that is made in pieces is another, which the verifier does not take.
        .env("CARGO_INCREMENTAL", "0")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    let built = out.join(TARGET).join("release/l7d-ebpf");
    let object = target().join("bpf/l7d.bpf.o");
    let bytes = std::fs::read(&built).with_context(|| built.display().to_string())?;
    if std::fs::read(&object).is_ok_and(|known| known == bytes) {
        return Ok(());
    }
    std::fs::create_dir_all(target().join("bpf"))?;
    std::fs::write(&object, &bytes).with_context(|| object.display().to_string())?;
    say(&format!("{} bytes of kernel programs", bytes.len()));
    Ok(())
}
