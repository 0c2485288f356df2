//! Debian packages, of this machine's kind or another, unpacked beside each other and installed
//! nowhere: apt keeps a state of its own for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::arch::Arch;
use crate::run::{run, say};

/// A package, unpacked.
#[derive(Debug, Clone)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// Where its files are.
    pub(super) folder: PathBuf,
}

/// What was unpacked.
#[derive(Debug)]
pub(super) struct Packages {
    arch: Arch,
    all: Vec<Package>,
}

/// Whether packages are asked for again that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// As the archive has them now.
    Latest,
    /// As they were found once.
    Any,
}

/// Packages with everything that they depend on.
pub(super) fn fetch(
    folder: &Path,
    arch: Arch,
    names: &[&str],
    freshness: Freshness,
) -> anyhow::Result<Packages> {
    let done = folder.join("unpacked.list");
    let wanted = names.join(" ");
    let is_there = std::fs::read_to_string(&done).is_ok_and(|text| text == wanted);
    if freshness == Freshness::Any && is_there {
        return Packages::read(folder, arch);
    }
    say(&format!("packages for {}: {wanted}", arch.name()));
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    for inner in ["state/lists/partial", "cache/archives/partial", "unpacked"] {
        std::fs::create_dir_all(folder.join(inner))?;
    }
    std::fs::write(folder.join("status"), "")?;
    std::fs::write(folder.join("apt.conf"), apt_conf(folder, arch))?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(words)
            .env("APT_CONFIG", folder.join("apt.conf"));
        command.stdout(std::process::Stdio::null());
        run(&mut command)
    };
    apt(&["update", "-qq"])?;
    let install = [
        "install",
        "-qq",
        "--yes",
        "--no-install-recommends",
        "--download-only",
    ];
    apt(&[&install, names].concat())?;
    for archive in std::fs::read_dir(folder.join("cache/archives"))? {
        let archive = archive?.path();
        if archive
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            unpack(&archive, &folder.join("unpacked"))?;
        }
    }
    std::fs::write(done, wanted)?;
    Packages::read(folder, arch)
}

/// Sources and keys are the machine's.
fn apt_conf(folder: &Path, arch: Arch) -> String {
    let folder = folder.display();
    let name = arch.name();
    format!(
        "APT::Architecture \"{name}\";\nAPT::Architectures {{ \"{name}\"; }};\n\
         APT::Sandbox::User \"root\";\nDir::State \"{folder}/state\";\n\
         Dir::State::status \"{folder}/status\";\nDir::Cache \"{folder}/cache\";\n"
    )
}

fn unpack(archive: &Path, into: &Path) -> anyhow::Result<()> {
    let mut field = Command::new("dpkg-deb");
    field.arg("--field").arg(archive);
    let fields = super::output(field.args(["Package", "Version"]))?;
    let field = |name: &str| {
        let line = fields.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned).context(fields.clone())
    };
    let folder = into.join(field("Package: ")?);
    std::fs::create_dir_all(&folder)?;
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(archive)
        .arg(folder.join("files")))?;
    std::fs::write(folder.join("version"), field("Version: ")?)?;
    Ok(())
}

impl Packages {
    fn read(folder: &Path, arch: Arch) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder.join("unpacked"))? {
            let entry = entry?;
            all.push(Package {
                name: entry.file_name().to_string_lossy().into_owned(),
                version: std::fs::read_to_string(entry.path().join("version"))?,
                folder: entry.path().join("files"),
            });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { arch, all })
    }

    /// A package.
    pub(super) fn package(&self, name: &str) -> anyhow::Result<&Package> {
        let found = self.all.iter().find(|package| package.name == name);
        found.with_context(|| format!("the package {name}"))
    }

    /// A program, and the package that has it.
    pub(super) fn program(&self, name: &str) -> anyhow::Result<(&Package, PathBuf)> {
        self.find(&["usr/sbin", "sbin", "usr/bin", "bin"], name)
    }

    /// A library, and the package that has it.
    pub(super) fn library(&self, name: &str) -> anyhow::Result<(&Package, PathBuf)> {
        let triplet = self.arch.triplet();
        let own = [format!("usr/lib/{triplet}"), format!("lib/{triplet}")];
        self.find(&[&own[0], &own[1], "lib64", "lib"], name)
    }

    fn find(&self, folders: &[&str], name: &str) -> anyhow::Result<(&Package, PathBuf)> {
        for package in &self.all {
            for folder in folders {
                let file = package.folder.join(folder).join(name);
                // Links between packages are absolute, and lead out of here.
                if file.is_file() && !file.is_symlink() {
                    return Ok((package, file));
                }
                if let Some(target) = within(&file) {
                    return Ok((package, target));
                }
            }
        }
        bail!("no package has {name}")
    }
}

/// Where a link within a package leads.
fn within(file: &Path) -> Option<PathBuf> {
    let link = std::fs::read_link(file).ok()?;
    let target = file.parent()?.join(&link);
    let is_own = link.is_relative() && target.is_file() && !target.is_symlink();
    is_own.then_some(target)
}
