//! `cargo xtask image`: what goes into the image, laid out as its root and as an OCI layout,
//! without a container engine.

mod arch;
mod binary;
mod check;
mod container;
mod containerfile;
mod debian;
mod figures;
mod oci;
mod root;
mod sbom;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::run::{say, target, workspace};
use arch::Arch;
pub(crate) use check::check_tested;
use containerfile::Settings;
use debian::Freshness;
use oci::Built;

/// Debian packages whose files the image has; with what they depend on.
const PACKAGES: [&str; 3] = ["iproute2", "nftables", root::AUTHORITIES];

/// Arguments of `cargo xtask image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Image {
    /// Machine that the image is for; several may be given [default: this one]
    #[arg(long)]
    pub(crate) arch: Vec<Arch>,
    /// Only lay out what the image has: the Containerfile does the rest
    #[arg(long)]
    pub(crate) root_only: bool,
    /// Build nothing for release: lay out a tested binary, and run it as a container
    #[arg(long, conflicts_with_all = ["arch", "root_only"])]
    pub(crate) check: bool,
}

/// Runs the command.
pub(crate) fn run(asked: &Image) -> anyhow::Result<()> {
    if asked.check {
        return check::run();
    }
    let archs = if asked.arch.is_empty() {
        vec![Arch::host()]
    } else {
        asked.arch.clone()
    };
    let created = created()?;
    for arch in &archs {
        let l7d = binary::build(*arch)?;
        lay_out(*arch, &root_of(*arch), &l7d, Freshness::Latest, &created)?;
        say(&format!("the root is {}", root_of(*arch).display()));
    }
    if asked.root_only {
        return Ok(());
    }
    let settings = settings(&created)?;
    let roots: Vec<PathBuf> = archs.iter().map(|arch| root_of(*arch)).collect();
    let built: Vec<Built<'_>> = archs
        .iter()
        .zip(&roots)
        .map(|(arch, root)| Built {
            arch: *arch,
            root,
            settings: &settings,
        })
        .collect();
    let layout = target().join("image/oci");
    let sizes = oci::write(&layout, tag(), &built)?;
    say(&format!("the OCI layout is {}", layout.display()));
    for (built, size) in built.iter().zip(sizes) {
        figures::report(built.arch, built.root, size)?;
    }
    Ok(())
}

/// What the image is called in its layout.
fn tag() -> &'static str {
    concat!("l7d:", env!("CARGO_PKG_VERSION"))
}

/// Where what belongs to a machine's image is.
fn folder(arch: Arch) -> PathBuf {
    target().join("image").join(arch.name())
}

fn root_of(arch: Arch) -> PathBuf {
    folder(arch).join("root")
}

fn lay_out(
    arch: Arch,
    root: &Path,
    l7d: &Path,
    freshness: Freshness,
    created: &str,
) -> anyhow::Result<()> {
    let debian = debian::fetch(&folder(arch).join("debian"), arch, &PACKAGES, freshness)?;
    root::lay_out(root, arch, l7d, &debian, created)
}

/// What the Containerfile says of the image.
fn settings(created: &str) -> anyhow::Result<Settings> {
    let file = workspace().join("Containerfile");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let stages = containerfile::stages(&text)?;
    let last = stages.last().context("a stage")?;
    let arguments = BTreeMap::from([
        ("VERSION", env!("CARGO_PKG_VERSION").to_owned()),
        ("REVISION", revision()),
        ("CREATED", created.to_owned()),
    ]);
    containerfile::settings(last, &arguments)
}

/// The commit; a tree that was changed since, or is none of git's, says so.
fn revision() -> String {
    let mut git = Command::new("git");
    git.args([
        "describe",
        "--always",
        "--abbrev=40",
        "--exclude=*",
        "--dirty",
    ]);
    let told = output(git.current_dir(workspace()));
    told.map_or_else(
        |_no_git| "unknown".to_owned(),
        |text| text.trim().to_owned(),
    )
}

/// The commit's time, so that the same sources give the same image; else now.
fn created() -> anyhow::Result<String> {
    let mut git = Command::new("git");
    git.args([
        "log",
        "-1",
        "--format=%cd",
        "--date=format-local:%Y-%m-%dT%H:%M:%SZ",
    ]);
    let told = output(git.env("TZ", "UTC").current_dir(workspace()));
    let now = || output(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"]));
    Ok(told.or_else(|_no_git| now())?.trim().to_owned())
}

/// What a program says that must succeed.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("{shown} cannot be run"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed: {}", said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An object with one more field.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
    object
}
