//! What other tools say of the same captures, in their own words: logs, checks and records that
//! their projects expect. Each statement is looked up among the messages that l7d sees; what a tool
//! does not tell is not compared.
//!
//! Differences are listed in `tools.tsv` with their reason: capture, tool, why.

mod arkime;
mod deepflow;
mod facts;
mod suricata;
mod zeek;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::captures::replay;
use super::exceptions::Exceptions;
use facts::{Facts, Wants};

/// Something that a tool says of a capture.
struct Statement {
    /// The tool's name for it.
    case: String,
    capture: PathBuf,
    wants: Wants,
    /// So many messages.
    count: usize,
    /// And no more; a tool that tells less of a message than was asked of it may find fewer.
    is_exact: bool,
}

/// What one tool says.
#[derive(Default)]
struct Sayings {
    statements: Vec<Statement>,
    /// Statements about what a message of ours does not tell.
    untold: usize,
}

impl Sayings {
    /// Adds a statement, or makes one that was made before count once more.
    fn add(&mut self, case: &str, capture: &Path, wants: Wants) {
        let same = self
            .statements
            .iter_mut()
            .find(|known| known.case == case && known.capture == capture && known.wants == wants);
        match same {
            Some(known) => known.count += 1,
            None => self.statements.push(Statement {
                case: case.to_owned(),
                capture: capture.to_owned(),
                wants,
                count: 1,
                is_exact: false,
            }),
        }
    }
}

/// Facts by name.
fn wants<const N: usize>(facts: [(&str, &str); N]) -> Wants {
    let owned = facts.map(|(key, value)| (key.to_owned(), value.to_owned()));
    owned.into()
}

/// Compares all tools' words below a folder, shows up to `show` unlisted differences, and tells what
/// is wrong.
pub(super) fn compare(folder: &Path, program: &Path, show: usize) -> anyhow::Result<Vec<String>> {
    let mut exceptions = Exceptions::read(include_str!("tools.tsv"))?;
    let tools = [
        ("arkime", arkime::read(folder).context("arkime")?),
        ("deepflow", deepflow::read(folder).context("deepflow")?),
        ("suricata", suricata::read(folder).context("suricata")?),
        ("zeek", zeek::read(folder).context("zeek")?),
    ];
    print_head();
    let mut seen = BTreeMap::new();
    let mut faults = Vec::new();
    for (tool, sayings) in tools {
        let mut counts = Counts::default();
        for statement in &sayings.statements {
            let facts = facts_of(&mut seen, program, &statement.capture)?;
            let found = facts
                .iter()
                .filter(|facts| facts.have(&statement.wants))
                .count();
            counts.compared += 1;
            let is_more = found > statement.count && statement.is_exact;
            if found >= statement.count && !is_more {
                counts.agreed += 1;
                continue;
            }
            counts.differing += 1;
            if !exceptions.has_case(&statement.case, tool) {
                counts.unlisted += 1;
                let (wants, count) = (told(&statement.wants), statement.count);
                faults.push(format!(
                    "{tool}: {}: {found}, not {count}: {wants}",
                    statement.case
                ));
            }
        }
        print(tool, &counts, sayings.untold);
    }
    faults.truncate(show);
    faults.extend(
        exceptions
            .stale()
            .map(|line| format!("listed and not so: {line}")),
    );
    Ok(faults)
}

fn facts_of<'s>(
    seen: &'s mut BTreeMap<PathBuf, Vec<Facts>>,
    program: &Path,
    capture: &Path,
) -> anyhow::Result<&'s [Facts]> {
    if !seen.contains_key(capture) {
        let facts = facts::read(&replay(program, capture)?);
        seen.insert(capture.to_owned(), facts);
    }
    Ok(seen.get(capture).map(Vec::as_slice).unwrap_or_default())
}

fn told(wants: &Wants) -> String {
    let facts = wants.iter().map(|(key, value)| format!("{key}={value}"));
    facts.collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Counts {
    compared: usize,
    agreed: usize,
    differing: usize,
    unlisted: usize,
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print_head() {
    println!(
        "\n{:<18} {:>9} {:>7} {:>10} {:>9} {:>13}",
        "others' records", "compared", "agreed", "differing", "unlisted", "not compared"
    );
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print(tool: &str, counts: &Counts, untold: usize) {
    let Counts {
        compared,
        agreed,
        differing,
        unlisted,
    } = counts;
    println!("{tool:<18} {compared:>9} {agreed:>7} {differing:>10} {unlisted:>9} {untold:>13}");
}
