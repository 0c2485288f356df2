//! `cargo xtask truth [DIR]`: what `l7d replay -o messages` sees in captures of others, against what
//! another dissector saw in them.
//!
//! DIR holds `manifest.tsv` (the captures), `truth/<capture>.jsonl` (one message per line, with the
//! keys of `-o messages`), and the captures. A message must be there with all its fields; the other
//! program's notes that it is not sure (`partial`, `mal`, `gap`…) make a message soft: it may be
//! missing or differ. Differences are listed in `exceptions.tsv` with their reason, or they fail.

mod compare;
mod exceptions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::run::{cargo, run as succeed, say, target};
use compare::{Difference, Protocol};
use exceptions::Exceptions;

/// Sums over all captures.
#[derive(Default)]
struct Sum {
    truth: usize,
    soft: usize,
    seen: usize,
    missing: usize,
    invented: usize,
    /// Captures whose differences are not listed.
    unlisted: usize,
}

/// Where the captures are, if anybody said so.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os("L7D_CORPORA").map(PathBuf::from)
}

/// Compares all captures below `folder`, and shows up to `show` of those that differ.
pub(crate) fn run(folder: Option<PathBuf>, show: usize) -> anyhow::Result<()> {
    let folder = folder
        .or_else(self::folder)
        .context("name the folder of the captures: cargo xtask truth DIR, or L7D_CORPORA=DIR")?;
    say("building l7d");
    let build = ["build", "--quiet", "--profile", "quick", "--package", "l7d"];
    succeed(&mut cargo(&build))?;
    let program = target().join("quick/l7d");
    let list = std::fs::read_to_string(folder.join("manifest.tsv"))
        .with_context(|| format!("{}", folder.join("manifest.tsv").display()))?;
    let exceptions = Exceptions::read()?;
    let mut sums: BTreeMap<Protocol, Sum> = BTreeMap::new();
    let mut unlisted: Vec<(String, Vec<Difference>)> = Vec::new();
    let mut captures = 0;
    for file in list
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next())
    {
        captures += 1;
        let seen = replay(&program, &folder.join(file))?;
        let truth = truth_of(&folder, file);
        let differences = compare::compare(&truth, &seen);
        for difference in &differences {
            let sum = sums.entry(difference.protocol).or_default();
            sum.truth += difference.truth;
            sum.soft += difference.soft;
            sum.seen += difference.seen;
            sum.missing += difference.missing.len();
            sum.invented += difference.invented.len();
        }
        let is_new = |difference: &Difference| {
            difference.is_different() && !exceptions.has(file, difference.protocol.name())
        };
        let new: Vec<Difference> = differences.into_iter().filter(is_new).collect();
        for difference in &new {
            sums.entry(difference.protocol).or_default().unlisted += 1;
        }
        if !new.is_empty() {
            unlisted.push((file.to_owned(), new));
        }
    }
    print(captures, &sums);
    unlisted
        .sort_by_key(|(_, new)| std::cmp::Reverse(new.iter().map(Difference::size).sum::<usize>()));
    for (file, new) in unlisted.iter().take(show) {
        print_differences(file, new);
    }
    if unlisted.is_empty() {
        return Ok(());
    }
    bail!(
        "{} captures differ for no listed reason: fix the parser, or prove it in xtask/src/truth/exceptions.tsv",
        unlisted.len()
    );
}

/// What l7d sees, one JSON object per line. A capture that is cut off is read up to there.
fn replay(program: &Path, capture: &Path) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(["replay", "--quiet", "-o", "messages"])
        .arg(capture)
        .output()
        .with_context(|| program.display().to_string())?;
    let is_read = matches!(output.status.code(), Some(0 | 1));
    anyhow::ensure!(
        is_read,
        "{}: {}\n{}",
        capture.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// No file is no message.
fn truth_of(folder: &Path, file: &str) -> String {
    let name = Path::new(file).file_name().unwrap_or_default();
    let truth = folder
        .join("truth")
        .join(format!("{}.jsonl", name.display()));
    std::fs::read_to_string(truth).unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
#[expect(clippy::cast_precision_loss, reason = "percentages for people")]
fn print(captures: usize, sums: &BTreeMap<Protocol, Sum>) {
    println!("{captures} captures");
    println!(
        "{:<8} {:>7} {:>6} {:>7} {:>8} {:>9} {:>8} {:>10} {:>9}",
        "", "truth", "soft", "seen", "missing", "invented", "recall", "precision", "unlisted"
    );
    for (protocol, sum) in sums {
        let percent = |part: usize, of: usize| {
            if of == 0 {
                100.0
            } else {
                part as f64 * 100.0 / of as f64
            }
        };
        println!(
            "{:<8} {:>7} {:>6} {:>7} {:>8} {:>9} {:>7.2}% {:>9.2}% {:>9}",
            protocol.name(),
            sum.truth,
            sum.soft,
            sum.seen,
            sum.missing,
            sum.invented,
            percent(sum.truth - sum.missing, sum.truth),
            percent(sum.seen - sum.invented, sum.seen),
            sum.unlisted,
        );
    }
}

#[expect(clippy::print_stdout, reason = "the list is this command's result")]
fn print_differences(file: &str, differences: &[Difference]) {
    const SHOWN: usize = 3;
    for difference in differences {
        println!(
            "{file}: {}: {} missing, {} invented",
            difference.protocol.name(),
            difference.missing.len(),
            difference.invented.len()
        );
        for (sign, lines) in [('-', &difference.missing), ('+', &difference.invented)] {
            for line in lines.iter().take(SHOWN) {
                let line: String = line.chars().take(200).collect();
                println!("  {sign} {line}");
            }
        }
    }
}
