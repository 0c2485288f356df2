//! Cases that were run: for people, as JSON, and as `JUnit` XML.

mod junit;

use std::io::{self, Write};

use anstyle::AnsiColor;
use serde::Serialize;

use super::policy::{self, Answer};
use super::style::{Safe, Style};

pub use junit::junit;

/// The cases of one file.
#[derive(Debug)]
pub struct Ran<'a> {
    /// File as the user named it.
    pub file: &'a str,
    /// In their order.
    pub cases: Vec<RanCase<'a>>,
}

/// One case, and what came of it.
#[derive(Debug)]
pub struct RanCase<'a> {
    /// As it is called.
    pub name: &'a str,
    /// Line in the file, from 1.
    pub line: usize,
    /// What was expected.
    pub expected: &'a str,
    /// What was found.
    pub answer: Answer<'a>,
    /// What is not as expected; `None` for a case that passed.
    pub fault: Option<String>,
}

impl Ran<'_> {
    fn failed(&self) -> usize {
        let cases = self.cases.iter();
        cases.filter(|case| case.fault.is_some()).count()
    }
}

fn totals(ran: &[Ran<'_>]) -> (usize, usize) {
    let all = ran.iter().map(|suite| suite.cases.len()).sum();
    (all, ran.iter().map(Ran::failed).sum())
}

/// A line for each case, and the way to a verdict that was not expected.
pub fn text(out: &mut impl Write, ran: &[Ran<'_>], color: bool) -> io::Result<()> {
    let style = Style {
        color,
        ..Style::default()
    };
    for suite in ran {
        writeln!(out, "{}", Safe(suite.file))?;
        for case in &suite.cases {
            let Some(fault) = &case.fault else {
                let ok = style.paint(AnsiColor::Green, "ok");
                writeln!(out, "  {ok}      {}", Safe(case.name))?;
                continue;
            };
            let failed = style.paint(AnsiColor::Red, "FAILED");
            writeln!(out, "  {failed}  {}", Safe(case.name))?;
            writeln!(out, "          line {}: {}", case.line, Safe(fault))?;
            for line in way(&case.answer, color)?.lines() {
                writeln!(out, "          {line}")?;
            }
        }
        writeln!(out)?;
    }
    let (all, failed) = totals(ran);
    let files = match ran.len() {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    if failed == 0 {
        writeln!(out, "{all} passed in {files}")
    } else {
        writeln!(out, "{} passed, {failed} failed in {files}", all - failed)
    }
}

/// The steps to a verdict.
fn way(answer: &Answer<'_>, color: bool) -> io::Result<String> {
    let mut way = Vec::new();
    policy::steps(&mut way, &answer.steps, color)?;
    String::from_utf8(way).map_err(io::Error::other)
}

#[derive(Serialize)]
struct Document<'r> {
    cases: Vec<Case<'r>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Case<'r> {
    file: &'r str,
    line: usize,
    name: &'r str,
    passed: bool,
    expected: &'r str,
    verdict: &'r str,
    fault: Option<&'r str>,
    steps: Vec<Step<'r>>,
}

#[derive(Serialize)]
struct Step<'r> {
    asked: &'r str,
    verdict: &'r str,
    policies: &'r [String],
    detail: &'r str,
}

#[derive(Serialize)]
struct Summary {
    files: usize,
    passed: usize,
    failed: usize,
}

/// One JSON object.
pub fn json(out: &mut impl Write, ran: &[Ran<'_>]) -> io::Result<()> {
    let mut cases = Vec::new();
    for suite in ran {
        cases.extend(suite.cases.iter().map(|case| Case {
            file: suite.file,
            line: case.line,
            name: case.name,
            passed: case.fault.is_none(),
            expected: case.expected,
            verdict: case.answer.verdict,
            fault: case.fault.as_deref(),
            steps: steps(&case.answer),
        }));
    }
    let (all, failed) = totals(ran);
    let summary = Summary {
        files: ran.len(),
        passed: all - failed,
        failed,
    };
    serde_json::to_writer_pretty(&mut *out, &Document { cases, summary })?;
    writeln!(out)
}

fn steps<'r>(answer: &Answer<'r>) -> Vec<Step<'r>> {
    let steps = answer.steps.iter().map(|step| Step {
        asked: step.asked,
        verdict: step.verdict,
        policies: step.policies,
        detail: step.detail,
    });
    steps.collect()
}
