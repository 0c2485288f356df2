//! `cargo xtask truth [DIR]`: what `l7d replay -o messages` sees in captures of others, against what
//! another dissector saw in them.
//!
//! DIR holds `manifest.tsv` (the captures), `truth/<capture>.jsonl` (one message per line, with the
//! keys of `-o messages`), and the captures. A message must be there with all its fields; the other
//! program's notes that it is not sure (`partial`, `mal`, `gap`…) make a message soft: it may be
//! missing or differ. Differences are listed in `exceptions.tsv` with their reason, or they fail.

mod captures;
mod compare;
mod exceptions;
mod order;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::run::{cargo, run as succeed, say, target};
use captures::Set;
use exceptions::Exceptions;

/// Where the captures are, if anybody said so.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os("L7D_CORPORA").map(PathBuf::from)
}

/// Compares everything, and shows up to `show` captures that differ.
pub(crate) fn run(folder: Option<PathBuf>, show: usize) -> anyhow::Result<()> {
    let folder = folder
        .or_else(self::folder)
        .context("name the folder of the captures: cargo xtask truth DIR, or L7D_CORPORA=DIR")?;
    say("building l7d");
    // As the tests build it, overflow checks included: they run next.
    succeed(&mut cargo(&["build", "--quiet", "--package", "l7d"]))?;
    let program = target().join("debug/l7d");
    let faults = others(&folder)?.compare(&program, show)?;
    for fault in &faults {
        say(fault);
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!(
        "{} differences: mend the parser, or prove it in the tables of xtask/src/truth",
        faults.len()
    );
}

/// Captures of others: `manifest.tsv` names them in its first column.
fn others(folder: &Path) -> anyhow::Result<Set> {
    let list = folder.join("manifest.tsv");
    let text = std::fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let files = text.lines().skip(1);
    let files = files.filter_map(|line| line.split('\t').next());
    Ok(Set {
        name: "captures of others",
        captures: files.map(|file| folder.join(file)).collect(),
        truth: folder.join("truth"),
        exceptions: Exceptions::read(include_str!("exceptions.tsv"))?,
    })
}
