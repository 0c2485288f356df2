//! Finds the kernel programs' object file, which `cargo xtask ebpf` builds, so that it is part of
//! the binary. Without it the build goes on: everything but the agent works.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=L7D_EBPF_OBJECT");
    println!("cargo:rerun-if-env-changed=CARGO_TARGET_DIR");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("l7d.bpf.o");
    // What comes behind the first that is there cannot matter; named all the same, a file that is
    // missing would have everything built again each time.
    let found = candidates().into_iter().find(|candidate| {
        println!("cargo:rerun-if-changed={}", candidate.display());
        candidate.is_file()
    });
    let bytes = found
        .and_then(|object| std::fs::read(object).ok())
        .unwrap_or_default();
    if bytes.is_empty() {
        println!(
            "cargo:warning=no kernel programs in this build: run `cargo xtask ebpf` for the agent"
        );
    }
    if let Err(error) = std::fs::write(&out, bytes) {
        println!("cargo:error={}: {error}", out.display());
    }
}

fn candidates() -> Vec<PathBuf> {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let workspace = manifest.parent().map(Path::to_owned).unwrap_or_default();
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let object = std::env::var_os("L7D_EBPF_OBJECT").map(PathBuf::from);
    let in_target = |folder: PathBuf| folder.join("bpf/l7d.bpf.o");
    object
        .into_iter()
        .chain(target.map(in_target))
        .chain([in_target(workspace.join("target"))])
        .collect()
}
