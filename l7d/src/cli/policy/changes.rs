//! What would change, as text.

use std::io::{self, Write};

use crate::print::Safe;
use crate::whatif::{Change, Decision, Group, Skipped, Totals};

/// Writes groups under headings, and how many flows there are of each kind.
pub(super) fn write(out: &mut impl Write, groups: &[Group], totals: &Totals) -> io::Result<()> {
    let kinds = [
        (
            Change::AllowToDeny,
            "ALLOWED, WOULD BE DENIED",
            totals.allow_to_deny,
        ),
        (
            Change::DenyToAllow,
            "DENIED, WOULD BE ALLOWED",
            totals.deny_to_allow,
        ),
        (Change::Undecidable, "CANNOT BE SAID", totals.undecidable),
    ];
    for (change, heading, flows) in kinds {
        let of_kind: Vec<&Group> = groups
            .iter()
            .filter(|group| group.change == change)
            .collect();
        if flows == 0 {
            continue;
        }
        writeln!(
            out,
            "{heading}: {} in {}",
            counted(flows, "flow"),
            counted(of_kind.len(), "group")
        )?;
        write_groups(out, &of_kind)?;
        writeln!(out)?;
    }
    if totals.of_further_groups > 0 {
        writeln!(
            out,
            "{} of further groups are counted above and not shown",
            counted(totals.of_further_groups, "flow")
        )?;
    }
    writeln!(
        out,
        "Would change: {} to denied, {} to allowed. Would stay: {} allowed, {} denied. Cannot be said: {}.",
        totals.allow_to_deny,
        totals.deny_to_allow,
        totals.still_allowed,
        totals.still_denied,
        totals.undecidable
    )
}

/// Writes groups, one after the other.
pub(super) fn write_groups(out: &mut impl Write, groups: &[&Group]) -> io::Result<()> {
    groups.iter().try_for_each(|group| write_group(out, group))
}

fn write_group(out: &mut impl Write, group: &Group) -> io::Result<()> {
    let request = if group.request.is_empty() {
        String::new()
    } else {
        format!(" {}", group.request)
    };
    let what = format!(
        "{} -> {} {}{request}",
        group.source, group.destination, group.port
    );
    writeln!(out, "  {} x {}", group.flows, Safe(&what))?;
    write_decision(out, "before", &group.before)?;
    write_decision(out, "after", &group.after)?;
    for sample in &group.samples {
        let mut text = format!(
            "{} {} -> {}",
            sample.time, sample.source, sample.destination
        );
        if !sample.request.is_empty() {
            text.push(' ');
            text.push_str(&sample.request);
        }
        writeln!(out, "      e.g.    {}", Safe(&text))?;
    }
    Ok(())
}

fn write_decision(out: &mut impl Write, when: &str, decision: &Decision) -> io::Result<()> {
    let by = decision.by.join(", ");
    let mut text = match (decision.side, by.is_empty()) {
        (Some(side), false) => format!("{} at {side}: {by}", decision.verdict),
        (None, false) => format!("{}: {by}", decision.verdict),
        (_, true) => decision.verdict.to_owned(),
    };
    if !decision.detail.is_empty() {
        text.push_str("; ");
        text.push_str(&decision.detail);
    }
    writeln!(out, "      {when:<7} {}", Safe(&text))
}

/// Writes what flows were read, and which of them say nothing about policies.
pub(super) fn write_skipped(out: &mut impl Write, skipped: &Skipped, read: &str) -> io::Result<()> {
    let kinds = [
        (skipped.replies, "replies and answers"),
        (skipped.repeated, "further events of a connection"),
        (skipped.before_policy, "seen before any policy"),
        (skipped.other_drops, "dropped for another reason"),
        (skipped.unknown_sides, "without a side that asks"),
        (skipped.without_verdict, "without verdict or transport"),
        (skipped.beyond, "beyond what is kept"),
    ];
    let passed_over: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    writeln!(out, "{}", Safe(read))?;
    if passed_over.is_empty() {
        return Ok(());
    }
    writeln!(out, "passed over: {}", passed_over.join(", "))
}

/// A number and its noun.
pub(super) fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}
