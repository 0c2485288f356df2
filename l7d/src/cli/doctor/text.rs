//! The report for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Color, Style};

use super::report::{Finding, Report, State, Working};
use crate::print::style::Safe;

/// Where lines behind the columns are broken.
const WIDTH: usize = 100;

/// Writes a report: what works, what was looked at, and the sum. `brief` leaves out what works in full.
pub(super) fn write(
    out: &mut impl Write,
    report: &Report,
    color: bool,
    brief: bool,
) -> io::Result<()> {
    let Report {
        version,
        node,
        kernel,
        ..
    } = report;
    writeln!(
        out,
        "l7d {version} on {}, kernel {}",
        Safe(node),
        Safe(kernel)
    )?;
    writeln!(out)?;
    functions(out, &report.functions, color)?;
    let shown: Vec<&Finding> = report
        .findings
        .iter()
        .filter(|finding| !brief || finding.state != State::Ok)
        .collect();
    let name = |finding: &Finding| finding.check.len() - finding.area().len() - 1;
    let width = shown.iter().map(|finding| name(finding)).max().unwrap_or(0);
    let mut area = "";
    for finding in shown {
        if finding.area() != area {
            area = finding.area();
            writeln!(out, "\n{area}")?;
        }
        finding_lines(out, finding, width, color)?;
    }
    sum(out, report)
}

fn functions(out: &mut impl Write, functions: &[Working], color: bool) -> io::Result<()> {
    let width = functions.iter().map(|of| of.title.len()).max().unwrap_or(0);
    for Working {
        title,
        state,
        because,
        ..
    } in functions
    {
        let how = match state {
            State::Ok => "in full",
            State::Unseen => "not known",
            State::Part => "in part",
            State::No => "not",
        };
        let paint = paint(*state, color);
        write!(out, "{title:<width$}  {paint}{how}{paint:#}")?;
        if !because.is_empty() {
            write!(out, ": {}", because.join(", "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn finding_lines(
    out: &mut impl Write,
    finding: &Finding,
    width: usize,
    color: bool,
) -> io::Result<()> {
    let name = finding.check.split_once('.').map_or("", |(_, name)| name);
    let paint = paint(finding.state, color);
    write!(
        out,
        "  {paint}{word:<4}{paint:#}  {name:<width$}  ",
        word = finding.state.word(),
    )?;
    let indent = 2 + 4 + 2 + width + 2;
    let mut first = true;
    for (mark, text) in [
        ("", &finding.found),
        ("", &finding.meaning),
        ("-> ", &finding.advice),
    ] {
        if text.is_empty() {
            continue;
        }
        for (at, line) in lines(text, WIDTH.saturating_sub(indent))
            .into_iter()
            .enumerate()
        {
            if !first {
                write!(out, "{:indent$}", "")?;
            }
            first = false;
            let mark = if at == 0 {
                mark
            } else {
                "   ".get(..mark.len()).unwrap_or("")
            };
            writeln!(out, "{mark}{}", Safe(&line))?;
        }
    }
    Ok(())
}

/// Broken at blanks.
fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn paint(state: State, color: bool) -> Style {
    let of = match state {
        State::Ok => AnsiColor::Green,
        State::Unseen => AnsiColor::BrightBlack,
        State::Part => AnsiColor::Yellow,
        State::No => AnsiColor::Red,
    };
    Style::new().fg_color(color.then_some(Color::Ansi(of)))
}

fn sum(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let of = |state: State| {
        report
            .findings
            .iter()
            .filter(|of| of.state == state)
            .count()
    };
    writeln!(
        out,
        "\n{} looked at: {} as they should be, {} in part, {} not, {} not to be seen",
        report.findings.len(),
        of(State::Ok),
        of(State::Part),
        of(State::No),
        of(State::Unseen)
    )
}
