//! The root of the image: what is where in it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::arch::Arch;
use super::debian::{Package, Packages};
use super::sbom::Crates;
use super::{binary, output, sbom};
use crate::run::workspace;

/// What the agent runs, by the package that has it.
pub(super) const PROGRAMS: [(&str, &str); 3] =
    [("iproute2", "ip"), ("iproute2", "tc"), ("nftables", "nft")];
/// Whose certificates are believed: collectors and API servers may have public ones.
pub(super) const AUTHORITIES: &str = "ca-certificates";
/// Lists of authorities are looked for here.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
/// Where `root`, `nobody` and whoever the image runs as have their names.
const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\nl7d:x:65532:65532:l7d:/:/sbin/nologin\n";
/// Engines mount one of their own over it; `localhost` has to mean something without them as well.
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";
const NAME_SERVICE: &str = "hosts: files dns\n";
const GROUP: &str = "root:x:0:\nl7d:x:65532:\n";

/// What there must be before anything is in it; where something is mounted later, too, for the root
/// is read-only then.
const FOLDERS: [&str; 14] = [
    "dev",
    "etc/l7d",
    "host/bpf",
    "host/cgroup",
    "host/proc/sys/net",
    "proc",
    "run/l7d",
    "sys",
    "tmp",
    "usr/bin",
    "usr/lib",
    "usr/sbin",
    "usr/share/doc",
    "var/lib/l7d",
];

/// Lays everything out under `root`, which is made anew.
pub(super) fn lay_out(
    root: &Path,
    arch: Arch,
    l7d: &Path,
    debian: &Packages,
    created: &str,
) -> anyhow::Result<()> {
    if root.exists() {
        std::fs::remove_dir_all(root).with_context(|| root.display().to_string())?;
    }
    for folder in FOLDERS {
        std::fs::create_dir_all(root.join(folder))?;
    }
    // One place for libraries, as Debian has it since bookworm.
    for name in ["lib", "lib64"] {
        std::os::unix::fs::symlink("usr/lib", root.join(name))?;
    }
    let own = root.join("usr/bin/l7d");
    binary::strip(arch, l7d, &own)?;
    let packages = programs(root, arch, &own, debian)?;
    write(root, "etc/passwd", PASSWD)?;
    write(root, "etc/group", GROUP)?;
    write(root, "etc/hosts", HOSTS)?;
    write(root, "etc/nsswitch.conf", NAME_SERVICE)?;
    write(root, BUNDLE, &authorities(debian.package(AUTHORITIES)?)?)?;
    let crates = Crates::read(arch.target())?;
    let bill = sbom::write(&crates, &packages, arch, created);
    write(root, sbom::PLACE, &bill)?;
    write(root, "usr/share/doc/l7d/licenses.txt", &crates.licences()?)?;
    let licence = std::fs::read_to_string(workspace().join("LICENSE"))?;
    write(root, "usr/share/doc/l7d/LICENSE", &licence)
}

/// Copies the programs with the libraries that they need, and says of which packages they are.
fn programs(
    root: &Path,
    arch: Arch,
    l7d: &Path,
    debian: &Packages,
) -> anyhow::Result<Vec<Package>> {
    let mut used = BTreeMap::new();
    let mut wanted = needed(l7d)?;
    for (package, name) in PROGRAMS {
        let (package, file) = debian
            .program(name)
            .with_context(|| format!("{name} of {package}"))?;
        copy(&file, &root.join("usr/sbin").join(name))?;
        wanted.extend(needed(&file)?);
        used.insert(package.name.clone(), package.clone());
    }
    let mut placed = BTreeSet::new();
    let folder = root.join("usr/lib").join(arch.triplet());
    std::fs::create_dir_all(&folder)?;
    while let Some(name) = wanted.pop_first() {
        let (package, file) = debian.library(&name)?;
        let is_loader = arch.loader().ends_with(&name);
        let place = if is_loader {
            root.join(arch.loader())
        } else {
            folder.join(&name)
        };
        copy(&file, &place)?;
        used.insert(package.name.clone(), package.clone());
        let more = needed(&file)?;
        placed.insert(name);
        wanted.extend(more.into_iter().filter(|name| !placed.contains(name)));
    }
    let authorities = debian.package(AUTHORITIES)?;
    used.insert(authorities.name.clone(), authorities.clone());
    for package in used.values() {
        let place = PathBuf::from("usr/share/doc")
            .join(&package.name)
            .join("copyright");
        let theirs = package.folder.join(&place);
        // Some have a link to a package of the same source.
        if theirs.is_file() {
            std::fs::create_dir_all(root.join("usr/share/doc").join(&package.name))?;
            copy(&theirs, &root.join(place))?;
        }
    }
    Ok(used.into_values().collect())
}

/// Libraries that a file names, the loader among them.
fn needed(file: &Path) -> anyhow::Result<BTreeSet<String>> {
    let text = output(
        Command::new("readelf")
            .args(["--wide", "--dynamic", "--program-headers"])
            .arg(file),
    )?;
    let between = |line: &str, from: &str, to: char| {
        let rest = line.split_once(from)?.1;
        Some(rest.split_once(to)?.0.to_owned())
    };
    let names = text.lines().filter_map(|line| {
        if line.contains("(NEEDED)") {
            between(line, "[", ']')
        } else {
            let loader = between(line, "program interpreter: ", ']')?;
            loader.rsplit('/').next().map(str::to_owned)
        }
    });
    Ok(names.collect())
}

/// All authorities of Debian's list in one file, as `update-ca-certificates` writes them.
fn authorities(package: &Package) -> anyhow::Result<String> {
    let folder = package.folder.join("usr/share/ca-certificates/mozilla");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read_to_string(file).context(file.display().to_string()))
        .collect()
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(())
}

fn write(root: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let file = root.join(name);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644))?;
    Ok(())
}
