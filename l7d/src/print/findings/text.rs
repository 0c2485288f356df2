//! Findings as compilers show them: the line, the place in it, and what to write instead.

use std::io::{self, Write};

use anstyle::AnsiColor;
use policy_l7::lint::Severity;

use super::{Finding, Report};
use crate::print::style::{Safe, Style};

/// Characters of a line that are shown on either side of the place.
const CONTEXT: usize = 70;

/// Writes every finding and a closing line; `text` gives the text of a file.
pub fn text<'t>(
    out: &mut impl Write,
    report: &Report,
    text: impl Fn(&str) -> &'t str,
    color: bool,
) -> io::Result<()> {
    let style = Style {
        color,
        ..Style::default()
    };
    for finding in &report.findings {
        one(out, finding, text(&finding.file), style)?;
    }
    closing(out, report)
}

fn one(out: &mut impl Write, finding: &Finding, text: &str, style: Style) -> io::Result<()> {
    let severity = finding.check.severity;
    let color = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Cyan,
    };
    let head = format!("{}[{}]", severity.as_str(), finding.check.code);
    writeln!(
        out,
        "{}: {}",
        style.paint(color, head),
        Safe(&finding.message)
    )?;
    let Finding {
        file, line, column, ..
    } = finding;
    writeln!(out, "  --> {}:{line}:{column}", Safe(file))?;
    let margin = line.to_string();
    let blank = " ".repeat(margin.len());
    if let Some(shown) = text.lines().nth(line.saturating_sub(1)) {
        let (shown, before) = window(shown, column.saturating_sub(1));
        let room = shown.chars().count().saturating_sub(before);
        let carets = "^".repeat(finding.width.clamp(1, room.max(1)));
        writeln!(out, "{blank} |\n{margin} | {}", Safe(&shown))?;
        writeln!(
            out,
            "{blank} | {}{}",
            " ".repeat(before),
            style.paint(color, carets)
        )?;
    }
    let note = |out: &mut dyn Write, what: &str, text: &str| {
        if text.is_empty() {
            return Ok(());
        }
        writeln!(out, "{blank} = {what}: {}", Safe(text))
    };
    note(out, "field", &finding.field)?;
    note(out, "policy", &finding.policy)?;
    if let Some(suggestion) = &finding.suggestion {
        note(out, "help", &format!("did you mean `{suggestion}`?"))?;
    }
    writeln!(out)
}

/// The part of a long line around a place, and how many characters stand before the place in it. Each
/// tab and control character takes one column, so that what is below fits.
fn window(line: &str, place: usize) -> (String, usize) {
    let first = place.saturating_sub(CONTEXT);
    let (begin, end) = (if first > 0 { "…" } else { "" }, place + CONTEXT);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let length = line.chars().count();
    let mut shown: String = begin.to_owned();
    shown.extend(line.chars().map(plain).take(end).skip(first));
    if length > end {
        shown.push('…');
    }
    (shown, place - first + begin.chars().count())
}

fn closing(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let of = |count: usize, what: &str| {
        let plural = match what.strip_suffix('y') {
            Some(stem) if count != 1 => format!("{stem}ies"),
            _ if count == 1 => what.to_owned(),
            _ => format!("{what}s"),
        };
        format!("{count} {plural}")
    };
    let counts = [
        (report.count(Severity::Error), "error"),
        (report.count(Severity::Warning), "warning"),
        (report.count(Severity::Info), "info"),
    ];
    let found: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| of(count, what))
        .collect();
    let found = if found.is_empty() {
        "nothing found".to_owned()
    } else {
        found.join(", ")
    };
    write!(
        out,
        "{found} in {} of {}",
        of(report.policies, "policy"),
        of(report.files, "file")
    )?;
    if !report.passed_over.is_empty() {
        let kinds = report.passed_over.iter();
        let kinds: Vec<String> = kinds
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        write!(out, "; passed over: {}", Safe(&kinds.join(", ")))?;
    }
    writeln!(out)
}
