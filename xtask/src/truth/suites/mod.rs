//! Suites of other parsers: what ours makes of their cases, against what they expect.
//!
//! Every case is read in both modes. The tables list each difference with its reason: `refused RULE`
//! (they read it), `accepted` (they refuse it), or `messages` (both read it, otherwise).

mod corpora;
mod libhtp;
mod llhttp;
mod reading;

use std::path::Path;

use anyhow::Context as _;

use super::exceptions::Exceptions;
use reading::{Mode, Outcome, Pieces, read, read_ended};

/// Bytes, and what their suite expects of them.
struct Case {
    name: String,
    pieces: Pieces,
    expected: Expected,
}

struct Expected {
    /// Why the suite's own parser refuses them, if it does.
    refused: Option<String>,
    /// What it reads.
    messages: Box<dyn Messages>,
}

/// What a suite's own parser reads.
trait Messages {
    /// How ours differ, if they do.
    fn differ(&self, outcome: &Outcome) -> Option<String>;
}

/// Compares all suites below a folder, and tells what is wrong.
pub(super) fn compare(folder: &Path, show: usize) -> anyhow::Result<Vec<String>> {
    let suites = [
        (
            "llhttp",
            llhttp::cases(&folder.join("llhttp/test")).context("llhttp")?,
            include_str!("llhttp.tsv"),
        ),
        (
            "libhtp",
            libhtp::cases(&folder.join("libhtp/test/files")).context("libhtp")?,
            include_str!("libhtp.tsv"),
        ),
    ];
    print_head();
    let mut faults = Vec::new();
    for (name, cases, table) in suites {
        let mut exceptions = Exceptions::read(table)?;
        for mode in Mode::ALL {
            faults.extend(compare_in(mode, name, &cases, &mut exceptions));
        }
        let stale = exceptions.stale();
        faults.extend(stale.map(|line| format!("{name}: listed and not so: {line}")));
    }
    faults.truncate(show);
    faults.extend(corpora::read(folder)?);
    Ok(faults)
}

/// How cases of a suite were read.
#[derive(Default)]
struct Counts {
    /// By both alike.
    accepted: usize,
    /// By both.
    refused: usize,
    differing: usize,
    /// Differing for no listed reason.
    unlisted: usize,
}

fn compare_in(mode: Mode, suite: &str, cases: &[Case], exceptions: &mut Exceptions) -> Vec<String> {
    let mut counts = Counts::default();
    let mut faults = Vec::new();
    for case in cases {
        let mut outcome = read(case.pieces.clone(), mode);
        if outcome.is_in_head && case.expected.refused.is_some() {
            outcome = read_ended(case.pieces.clone(), mode);
        }
        let Some((what, how)) = difference(case, &outcome) else {
            match outcome.refused {
                Some(_) => counts.refused += 1,
                None => counts.accepted += 1,
            }
            continue;
        };
        counts.differing += 1;
        let what = format!("{} {what}", mode.name());
        if !exceptions.has_case(&case.name, &what) {
            counts.unlisted += 1;
            faults.push(format!("{suite}: {}\t{what}\t{how}", case.name));
        }
    }
    print(suite, mode, cases.len(), &counts);
    faults
}

/// What differs, and how.
fn difference(case: &Case, outcome: &Outcome) -> Option<(String, String)> {
    match (outcome.refused, &case.expected.refused) {
        (Some(rule), None) => Some((format!("refused {rule}"), String::new())),
        (None, Some(reason)) => Some(("accepted".to_owned(), reason.clone())),
        (Some(_), Some(_)) | (None, None) => {
            let how = case.expected.messages.differ(outcome)?;
            Some(("messages".to_owned(), how))
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print_head() {
    println!(
        "\n{:<18} {:>7} {:>10} {:>12} {:>10} {:>9}",
        "suites of others", "cases", "both read", "both refuse", "differing", "unlisted"
    );
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print(suite: &str, mode: Mode, cases: usize, counts: &Counts) {
    let name = format!("{suite} {}", mode.name());
    let Counts {
        accepted,
        refused,
        differing,
        unlisted,
    } = counts;
    println!("{name:<18} {cases:>7} {accepted:>10} {refused:>12} {differing:>10} {unlisted:>9}");
}
