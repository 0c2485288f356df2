//! `cargo xtask truth [DIR]`: what l7d sees, against what others see in the same bytes.
//!
//! The project's own captures have their truth beside them (`testdata/truth`, by
//! `cargo xtask fixtures --truth`), so that every change is compared with another dissector. DIR adds
//! captures of others: it holds `manifest.tsv`, `truth/<capture>.jsonl` (one message per line, with
//! the keys of `l7d replay -o messages`), and the captures; `suites/` holds cases of other parsers,
//! read by ours in both modes, and corpora of other fuzzers; `expected/` what other tools say of the
//! captures in their own words.
//!
//! A message must be there with all its fields, in its place among those of its direction; the other
//! program's notes that it is not sure (`partial`, `mal`, `gap`…) make a message soft: it may be
//! missing or differ. Differences are listed with their reason in a table, or they fail; so does what
//! is listed and not so.

mod captures;
mod compare;
mod dissect;
mod exceptions;
mod order;
mod own;
mod suites;
mod tools;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::run::{cargo, run as succeed, say, target};
use captures::Set;
use exceptions::Exceptions;
pub(crate) use own::write;

/// Where the captures are, if anybody said so.
fn folder() -> Option<PathBuf> {
    std::env::var_os("L7D_CORPORA").map(PathBuf::from)
}

/// Compares everything, and shows up to `show` captures that differ.
pub(crate) fn run(folder: Option<PathBuf>, show: usize) -> anyhow::Result<()> {
    say("building l7d");
    // As the tests build it, overflow checks included: they run next.
    succeed(&mut cargo(&["build", "--quiet", "--package", "l7d"]))?;
    let program = target().join("debug/l7d");
    print_legend();
    let mut faults = own::set()?.compare(&program, show)?;
    if let Some(folder) = folder.or_else(self::folder) {
        faults.extend(others(&folder)?.compare(&program, show)?);
        faults.extend(suites::compare(&folder.join("suites"), show)?);
        faults.extend(tools::compare(&folder, &program, show)?);
    }
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

#[expect(
    clippy::print_stdout,
    reason = "it explains the table, which is this command's result"
)]
fn print_legend() {
    println!(
        "truth, soft: messages that the other program is sure of, and is not; seen: by l7d, each with all fields\n\
         moved: seen in another order; unlisted: captures, cases, statements that differ for no listed reason"
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
