//! A verdict on one request, by the number of path rules on its port.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::bench::build_release;
use crate::run::{say, target};

const COLUMNS: usize = 10;

/// Asks the example of that name, and adds what it tells.
pub(super) fn measure(text: &mut String) -> anyhow::Result<()> {
    build_release(&["--package", "policy-l7", "--example", "verdicts"])?;
    say("asking for verdicts");
    let output = Command::new(target().join("release/examples/verdicts")).output()?;
    ensure!(output.status.success(), "the example has failed");
    let told = String::from_utf8(output.stdout)?;
    text.push_str(
        "\n## A verdict on a request\n\nOne list of rules with a method and a path each: a third of the paths are texts, a third \
         beginnings, a third expressions, half of which share a beginning. Each figure is the time of one verdict in \
         nanoseconds, in batches of 100: that of the batch in the middle, and of that behind 99 % of them. A denial \
         says which rule came nearest and what differed, which is most of its time.\n\n\
         | rules | text | 99 % | beginning | 99 % | expression | 99 % | denied | 99 % | memory |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for line in told.lines() {
        let figures: Vec<&str> = line.split('\t').collect();
        ensure!(figures.len() == COLUMNS, "{line}: not {COLUMNS} figures");
        let (kibibytes, times) = figures.split_last().context("no figures")?;
        let times = times.join(" | ").replace("NaN", "–");
        writeln!(text, "| {times} | {kibibytes} KiB |")?;
    }
    Ok(())
}
