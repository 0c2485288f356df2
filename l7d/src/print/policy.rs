//! What policies make of a connection or request.

use std::io::{self, Write};

use anstyle::AnsiColor;

use super::style::{Safe, Style};

/// A verdict and the way to it.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The steps in their order.
    pub steps: Vec<Step<'a>>,
    /// `ALLOWED`, `AUDITED`, `DENIED` or `JUDGED`.
    pub verdict: &'a str,
}

/// One policy that was asked.
#[derive(Debug)]
pub struct Step<'a> {
    /// About what.
    pub asked: &'a str,
    /// What it said.
    pub verdict: &'a str,
    /// Who decided: kind, name and rule of each.
    pub policies: &'a [String],
    /// Why; may be empty.
    pub detail: &'a str,
}

/// Writes each step as a block, and the verdict of all.
pub fn answer(out: &mut impl Write, answer: &Answer<'_>, color: bool) -> io::Result<()> {
    steps(out, &answer.steps, color)?;
    let hint = if answer.verdict == "JUDGED" {
        ": it depends on the request; name it by --method and --path, by --dns, or by --sni"
    } else {
        ""
    };
    let style = Style {
        color,
        ..Style::default()
    };
    let verdict = style.paint(color_of(answer.verdict), answer.verdict);
    writeln!(out, "\n{verdict}{hint}")
}

/// Writes each step as a block.
pub fn steps(out: &mut impl Write, steps: &[Step<'_>], color: bool) -> io::Result<()> {
    let style = Style {
        color,
        ..Style::default()
    };
    for step in steps {
        let verdict = style.paint(color_of(step.verdict), step.verdict);
        writeln!(out, "{}: {verdict}", Safe(step.asked))?;
        for policy in step.policies {
            writeln!(out, "  by {}", Safe(policy))?;
        }
        if !step.detail.is_empty() {
            writeln!(out, "  {}", Safe(step.detail))?;
        }
    }
    Ok(())
}

fn color_of(verdict: &str) -> AnsiColor {
    match verdict {
        "allowed" | "ALLOWED" => AnsiColor::Green,
        "denied" | "DENIED" => AnsiColor::Red,
        "audited" | "AUDITED" => AnsiColor::Yellow,
        _ => AnsiColor::Cyan,
    }
}
