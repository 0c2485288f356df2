//! What replay sees in captures, against what another dissector saw in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::compare::{self, Difference, Protocol};
use super::exceptions::Exceptions;

/// Captures and their truth.
pub(super) struct Set {
    /// What they are called in the table.
    pub(super) name: &'static str,
    /// The captures.
    pub(super) captures: Vec<PathBuf>,
    /// Folder with `<name of the capture>.jsonl`; no file is no message.
    pub(super) truth: PathBuf,
    /// Differences that have a reason.
    pub(super) exceptions: Exceptions,
}

/// Sums over all captures.
#[derive(Default)]
struct Sum {
    truth: usize,
    soft: usize,
    seen: usize,
    missing: usize,
    invented: usize,
    /// Seen in another order.
    moved: usize,
    /// Captures whose differences are not listed.
    unlisted: usize,
}

impl Sum {
    fn add(&mut self, difference: &Difference) {
        self.truth += difference.truth;
        self.soft += difference.soft;
        self.seen += difference.seen;
        self.missing += difference.missing.len();
        self.invented += difference.invented.len();
        self.moved += difference.moved.len();
    }
}

impl Set {
    /// Compares all captures, shows up to `show` of those that differ for no listed reason, and
    /// tells what is wrong.
    pub(super) fn compare(mut self, program: &Path, show: usize) -> anyhow::Result<Vec<String>> {
        let mut sums: BTreeMap<Protocol, Sum> = BTreeMap::new();
        let mut unlisted: Vec<(String, Vec<Difference>)> = Vec::new();
        for capture in &self.captures {
            let file = capture
                .file_name()
                .unwrap_or_default()
                .display()
                .to_string();
            let seen = replay(program, capture)?;
            let truth = self.truth.join(format!("{file}.jsonl"));
            let truth = std::fs::read_to_string(truth).unwrap_or_default();
            let mut new = Vec::new();
            for difference in compare::compare(&truth, &seen) {
                let sum = sums.entry(difference.protocol).or_default();
                sum.add(&difference);
                if !is_listed(&mut self.exceptions, &file, &difference) {
                    sum.unlisted += 1;
                    new.push(difference);
                }
            }
            if !new.is_empty() {
                unlisted.push((file, new));
            }
        }
        print(self.name, self.captures.len(), &sums);
        let size = |new: &[Difference]| new.iter().map(Difference::size).sum::<usize>();
        unlisted.sort_by_key(|(_, new)| std::cmp::Reverse(size(new)));
        for (file, new) in unlisted.iter().take(show) {
            print_differences(file, new);
        }
        let differing = unlisted
            .iter()
            .map(|(file, _)| format!("{}: {file} differs for no listed reason", self.name));
        let stale = self.exceptions.stale();
        let stale = stale.map(|line| format!("{}: listed and not so: {line}", self.name));
        Ok(differing.chain(stale).collect())
    }
}

fn is_listed(exceptions: &mut Exceptions, file: &str, difference: &Difference) -> bool {
    let name = difference.protocol.name();
    let is_known = !difference.is_different() || exceptions.has(file, name);
    let is_ordered =
        !difference.is_out_of_order() || exceptions.has(file, &format!("{name} order"));
    is_known && is_ordered
}

/// What l7d sees, one JSON object per line. A capture that is cut off is read up to there.
pub(super) fn replay(program: &Path, capture: &Path) -> anyhow::Result<String> {
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

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
#[expect(clippy::cast_precision_loss, reason = "percentages for people")]
fn print(name: &str, captures: usize, sums: &BTreeMap<Protocol, Sum>) {
    println!("\ntshark: {captures} {name}");
    println!(
        "{:<8} {:>7} {:>6} {:>7} {:>8} {:>9} {:>8} {:>10} {:>6} {:>9}",
        "",
        "truth",
        "soft",
        "seen",
        "missing",
        "invented",
        "recall",
        "precision",
        "moved",
        "unlisted"
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
            "{:<8} {:>7} {:>6} {:>7} {:>8} {:>9} {:>7.2}% {:>9.2}% {:>6} {:>9}",
            protocol.name(),
            sum.truth,
            sum.soft,
            sum.seen,
            sum.missing,
            sum.invented,
            percent(sum.truth - sum.missing, sum.truth),
            percent(sum.seen - sum.invented, sum.seen),
            sum.moved,
            sum.unlisted,
        );
    }
}

#[expect(clippy::print_stdout, reason = "the list is this command's result")]
fn print_differences(file: &str, differences: &[Difference]) {
    const SHOWN: usize = 3;
    for difference in differences {
        println!(
            "{file}: {}: {} missing, {} invented, {} moved",
            difference.protocol.name(),
            difference.missing.len(),
            difference.invented.len(),
            difference.moved.len()
        );
        for (sign, lines) in [
            ('-', &difference.missing),
            ('+', &difference.invented),
            ('~', &difference.moved),
        ] {
            for line in lines.iter().take(SHOWN) {
                let line: String = line.chars().take(200).collect();
                println!("  {sign} {line}");
            }
        }
    }
}
