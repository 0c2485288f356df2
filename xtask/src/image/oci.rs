//! The image as files: <https://github.com/opencontainers/image-spec>, image layout 1.0. What takes
//! such a folder needs no engine: `skopeo copy oci:FOLDER:TAG …`, `podman load --input FOLDER`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::arch::Arch;
use super::containerfile::Settings;
use super::{output, with};
use crate::run::run;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// One machine's image.
pub(super) struct Built<'a> {
    pub(super) arch: Arch,
    pub(super) root: &'a Path,
    pub(super) settings: &'a Settings,
}

/// A file of the layout, by what it contains.
struct Blob {
    digest: String,
    size: u64,
}

/// Writes a layout with an image for each machine; the tag stands for all of them.
///
/// Returns the size of each one's layer, compressed.
pub(super) fn write(layout: &Path, tag: &str, built: &[Built<'_>]) -> anyhow::Result<Vec<u64>> {
    if layout.exists() {
        std::fs::remove_dir_all(layout).with_context(|| layout.display().to_string())?;
    }
    std::fs::create_dir_all(layout.join("blobs/sha256"))?;
    let mut sizes = Vec::new();
    let mut manifests = Vec::new();
    for of in built {
        let (manifest, size) = image(layout, of)?;
        sizes.push(size);
        manifests.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest.digest,
            "size": manifest.size,
            "platform": { "architecture": of.arch.name(), "os": "linux" },
        }));
    }
    // One image has the tag itself: not everything that reads layouts looks into an inner index.
    let named = if let [only] = manifests.as_slice() {
        only.clone()
    } else {
        let inner = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": manifests,
        });
        let blob = store(layout, inner.to_string().as_bytes())?;
        json!({ "mediaType": INDEX, "digest": blob.digest, "size": blob.size })
    };
    let named = with(
        named,
        "annotations",
        json!({ "org.opencontainers.image.ref.name": tag }),
    );
    let index = json!({ "schemaVersion": 2, "manifests": [named] });
    std::fs::write(layout.join("index.json"), index.to_string())?;
    std::fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    Ok(sizes)
}

fn image(layout: &Path, of: &Built<'_>) -> anyhow::Result<(Blob, u64)> {
    let tar = layout.join("layer.tar");
    run(Command::new("tar")
        // The same files give the same bytes.
        .args([
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .args(["--format=gnu", "--create", "--file"])
        .arg(&tar)
        .arg("--directory")
        .arg(of.root)
        .arg("."))?;
    let unpacked = sha256(&tar)?;
    run(Command::new("gzip").args(["--no-name", "-9"]).arg(&tar))?;
    let layer = keep(layout, &layout.join("layer.tar.gz"))?;
    let config = store(layout, config(of, &unpacked).to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config.digest,
            "size": config.size,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": layer.digest,
            "size": layer.size,
        }],
    });
    Ok((store(layout, manifest.to_string().as_bytes())?, layer.size))
}

fn config(of: &Built<'_>, unpacked: &str) -> Value {
    let settings = of.settings;
    let created = settings.labels.get("org.opencontainers.image.created");
    json!({
        "created": created,
        "architecture": of.arch.name(),
        "os": "linux",
        "config": {
            "User": settings.user,
            "Env": settings.env,
            "Entrypoint": settings.entrypoint,
            "Cmd": settings.cmd,
            "Labels": settings.labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{unpacked}")] },
        "history": [{ "created": created, "created_by": "cargo xtask image" }],
    })
}

fn store(layout: &Path, bytes: &[u8]) -> anyhow::Result<Blob> {
    let file = layout.join("blob");
    std::fs::write(&file, bytes)?;
    keep(layout, &file)
}

/// Moves a file to the name that its contents have.
fn keep(layout: &Path, file: &Path) -> anyhow::Result<Blob> {
    let sum = sha256(file)?;
    let place: PathBuf = layout.join("blobs/sha256").join(&sum);
    std::fs::rename(file, &place)?;
    Ok(Blob {
        digest: format!("sha256:{sum}"),
        size: place.metadata()?.len(),
    })
}

fn sha256(file: &Path) -> anyhow::Result<String> {
    let told = output(Command::new("sha256sum").arg("--binary").arg(file))?;
    let sum = told.split(' ').next().map(str::to_owned);
    sum.with_context(|| file.display().to_string())
}
