//! What the image is made of, as `CycloneDX` 1.5 has it: the crates in the binary, by what cargo
//! resolved for its target, and the Debian packages whose files lie beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::arch::Arch;
use super::debian::Package;
use super::{output, with};
use crate::run::{cargo, workspace};

/// Where it is in the image.
pub(super) const PLACE: &str = "usr/share/doc/l7d/sbom.cdx.json";

/// A crate of the binary.
#[derive(Debug)]
struct Crate {
    name: String,
    version: String,
    licence: String,
    folder: PathBuf,
    /// Of the archive that the registry gave; none of our own.
    sha256: Option<String>,
    /// Identifiers of those that it needs.
    needs: Vec<String>,
}

/// All crates of the binary, by cargo's identifiers.
#[derive(Debug)]
pub(super) struct Crates {
    all: BTreeMap<String, Crate>,
    root: String,
}

impl Crates {
    /// What is built into `l7d` for a target; what only builds and tests need is not.
    pub(super) fn read(target: &str) -> anyhow::Result<Self> {
        let words = [
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            target,
        ];
        let told: Value = serde_json::from_str(&output(&mut cargo(&words))?)?;
        let lock = std::fs::read_to_string(workspace().join("Cargo.lock"))?;
        Self::of(&told, &checksums(&lock)).context("what cargo metadata says")
    }

    fn of(told: &Value, sums: &BTreeMap<(String, String), String>) -> Option<Self> {
        let described: BTreeMap<&str, &Value> = told
            .get("packages")?
            .as_array()?
            .iter()
            .filter_map(|package| Some((package["id"].as_str()?, package)))
            .collect();
        let needs: BTreeMap<&str, Vec<&str>> = told
            .pointer("/resolve/nodes")?
            .as_array()?
            .iter()
            .filter_map(|node| Some((node["id"].as_str()?, built_in(node)?)))
            .collect();
        let root = described
            .iter()
            .find(|(_, package)| package["name"] == "l7d")?
            .0;
        let mut all = BTreeMap::new();
        let mut open = BTreeSet::from([*root]);
        while let Some(id) = open.pop_first() {
            let package = described.get(id)?;
            let needs = needs.get(id)?;
            open.extend(needs.iter().filter(|id| !all.contains_key(**id)));
            all.insert(id.to_owned(), krate(package, needs, sums)?);
        }
        Some(Self {
            all,
            root: (*root).to_owned(),
        })
    }

    /// Texts of licences, each with the crates that bring it.
    pub(super) fn licences(&self) -> anyhow::Result<String> {
        let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for of in self.all.values() {
            for text in licence_files(&of.folder)? {
                let name = format!("{} {} ({})", of.name, of.version, of.licence);
                texts.entry(text).or_default().insert(name);
            }
        }
        let mut all = String::new();
        for (text, crates) in texts {
            let rule = "=".repeat(78);
            let crates = crates.into_iter().collect::<Vec<_>>().join("\n");
            writeln!(all, "{rule}\n{crates}\n{rule}\n\n{}\n", text.trim_end())?;
        }
        Ok(all)
    }
}

/// Crates that are linked in; not those of build scripts and tests.
fn built_in(node: &Value) -> Option<Vec<&str>> {
    let needs = node["deps"].as_array()?.iter().filter(|need| {
        let mut kinds = need["dep_kinds"].as_array().into_iter().flatten();
        kinds.any(|kind| kind["kind"].is_null())
    });
    Some(needs.filter_map(|need| need["pkg"].as_str()).collect())
}

fn krate(
    package: &Value,
    needs: &[&str],
    sums: &BTreeMap<(String, String), String>,
) -> Option<Crate> {
    let name = package["name"].as_str()?.to_owned();
    let version = package["version"].as_str()?.to_owned();
    let sha256 = sums.get(&(name.clone(), version.clone())).cloned();
    Some(Crate {
        // Before SPDX expressions, a slash stood for a choice.
        licence: package["license"].as_str()?.replace('/', " OR "),
        folder: Path::new(package["manifest_path"].as_str()?)
            .parent()?
            .to_owned(),
        needs: needs.iter().map(|id| (*id).to_owned()).collect(),
        name,
        version,
        sha256,
    })
}

/// Checksums of a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |part: &str, name: &str| {
        let line = part.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_matches(['"', ' ', '=']).to_owned())
    };
    let packages = lock.split("[[package]]").filter_map(|part| {
        let name = field(part, "name = ")?;
        let version = field(part, "version = ")?;
        Some(((name, version), field(part, "checksum = ")?))
    });
    packages.collect()
}

fn licence_files(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let file = entry?.path();
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_uppercase();
        let begins = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"];
        if file.is_file() && begins.iter().any(|word| name.starts_with(word)) {
            let bytes = std::fs::read(&file)?;
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(texts)
}

/// The bill of an image.
pub(super) fn write(crates: &Crates, packages: &[Package], arch: Arch, created: &str) -> String {
    let all = crates.all.iter().filter(|(id, _)| **id != crates.root);
    let components: Vec<Value> = all
        .map(|(_, of)| library(of))
        .chain(packages.iter().map(|package| deb(package, arch)))
        .collect();
    let of_crates = crates.all.values().map(|of| {
        let needs = of.needs.iter().filter_map(|id| crates.all.get(id));
        let needs: Vec<String> = needs.map(Crate::purl).collect();
        json!({ "ref": of.purl(), "dependsOn": needs })
    });
    let of_packages = packages
        .iter()
        .map(|of| json!({ "ref": deb_purl(of, arch) }));
    let bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "component": crates.all.get(&crates.root).map(|of| {
                with(library(of), "type", json!("application"))
            }),
        },
        "components": components,
        "dependencies": of_crates.chain(of_packages).collect::<Vec<_>>(),
    });
    format!("{bill:#}\n")
}

impl Crate {
    fn purl(&self) -> String {
        // A plus sign means a space where this is decoded.
        let version = self.version.replace('+', "%2B");
        format!("pkg:cargo/{}@{version}", self.name)
    }
}

fn library(of: &Crate) -> Value {
    let component = json!({
        "type": "library",
        "bom-ref": of.purl(),
        "name": of.name,
        "version": of.version,
        "licenses": [{ "expression": of.licence }],
        "purl": of.purl(),
    });
    match &of.sha256 {
        Some(sum) => with(
            component,
            "hashes",
            json!([{ "alg": "SHA-256", "content": sum }]),
        ),
        None => component,
    }
}

fn deb_purl(of: &Package, arch: Arch) -> String {
    let version = of.version.replace('+', "%2B").replace(':', "%3A");
    format!(
        "pkg:deb/debian/{}@{version}?arch={}&distro=debian-12",
        of.name,
        arch.name()
    )
}

fn deb(of: &Package, arch: Arch) -> Value {
    json!({
        "type": "library",
        "bom-ref": deb_purl(of, arch),
        "name": of.name,
        "version": of.version,
        "purl": deb_purl(of, arch),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_has_what_is_linked_and_not_what_only_builds_and_tests() -> anyhow::Result<()> {
        let crates = Crates::read("x86_64-unknown-linux-gnu")?;
        let names: BTreeSet<&str> = crates.all.values().map(|of| of.name.as_str()).collect();
        for linked in [
            "l7d",
            "parsers",
            "policy-l7",
            "tokio",
            "rustls",
            "aya",
            "httparse",
        ] {
            assert!(names.contains(linked), "{linked}");
        }
        for other in ["proptest", "criterion", "testbed", "prost-build", "cc"] {
            assert!(!names.contains(other), "{other}");
        }
        let foreign = crates
            .all
            .values()
            .filter(|of| !of.folder.starts_with(workspace()));
        for of in foreign {
            assert_eq!(of.sha256.as_ref().map(String::len), Some(64), "{of:?}");
        }
        Ok(())
    }

    #[test]
    fn the_bill_names_each_part_once_and_refers_to_parts_alone() -> anyhow::Result<()> {
        let crates = Crates::read("x86_64-unknown-linux-gnu")?;
        let package = Package {
            name: "libc6".to_owned(),
            version: "1:2.36-9+deb12u1".to_owned(),
            folder: PathBuf::new(),
        };
        let text = write(&crates, &[package], Arch::Amd64, "2026-01-02T03:04:05Z");
        let bill: Value = serde_json::from_str(&text)?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let components = list(&bill["components"]);
        let mut references: BTreeSet<String> =
            components.iter().map(|of| name(&of["bom-ref"])).collect();
        assert_eq!(references.len(), components.len());
        references.insert(name(&bill["metadata"]["component"]["bom-ref"]));
        let dependencies = list(&bill["dependencies"]);
        assert_eq!(dependencies.len(), references.len());
        for of in &dependencies {
            let named = list(&of["dependsOn"]);
            assert!(
                named.iter().all(|of| references.contains(&name(of))),
                "{of}"
            );
            assert!(references.contains(&name(&of["ref"])), "{of}");
        }
        let deb = "pkg:deb/debian/libc6@1%3A2.36-9%2Bdeb12u1?arch=amd64&distro=debian-12";
        assert!(references.contains(deb));
        Ok(())
    }

    #[test]
    fn licences_of_crates_are_there_once_each() -> anyhow::Result<()> {
        let texts = Crates::read("x86_64-unknown-linux-gnu")?.licences()?;
        assert!(texts.contains("tokio "));
        assert!(texts.matches("Copyright (c) Tokio Contributors").count() <= 2);
        Ok(())
    }
}
