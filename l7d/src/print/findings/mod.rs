//! What was found in policies: for people, as JSON, and as SARIF.

mod sarif;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Write};

use policy_l7::lint::{Check, Severity};
use serde::Serialize;

pub use sarif::sarif;
pub use text::text;

/// Everything that was found, and in how much.
#[derive(Debug)]
pub struct Report {
    /// In the order of the files and their lines.
    pub findings: Vec<Finding>,
    /// Files that were read.
    pub files: usize,
    /// Policies in those of them that could be read.
    pub policies: usize,
    /// Objects of other kinds, by kind.
    pub passed_over: BTreeMap<String, usize>,
}

/// One finding and its place.
#[derive(Debug)]
pub struct Finding {
    /// What kind of finding.
    pub check: &'static Check,
    /// File as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters that it takes in that line.
    pub width: usize,
    /// Path in the object; may be empty.
    pub field: String,
    /// `namespace/name`; empty where the file could not be read.
    pub policy: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
}

impl Report {
    fn count(&self, severity: Severity) -> usize {
        let of_severity = |finding: &&Finding| finding.check.severity == severity;
        self.findings.iter().filter(of_severity).count()
    }
}

#[derive(Serialize)]
struct Document<'r> {
    findings: Vec<JsonFinding<'r>>,
    summary: Summary<'r>,
}

#[derive(Serialize)]
struct JsonFinding<'r> {
    code: &'r str,
    severity: &'r str,
    file: &'r str,
    line: usize,
    column: usize,
    width: usize,
    field: &'r str,
    policy: &'r str,
    message: &'r str,
    suggestion: Option<&'r str>,
}

#[derive(Serialize)]
struct Summary<'r> {
    files: usize,
    policies: usize,
    errors: usize,
    warnings: usize,
    infos: usize,
    passed_over: &'r BTreeMap<String, usize>,
}

/// One JSON object; `docs/policy-checks.md` names its fields.
pub fn json(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let findings = report.findings.iter().map(|finding| JsonFinding {
        code: finding.check.code,
        severity: finding.check.severity.as_str(),
        file: &finding.file,
        line: finding.line,
        column: finding.column,
        width: finding.width,
        field: &finding.field,
        policy: &finding.policy,
        message: &finding.message,
        suggestion: finding.suggestion.as_deref(),
    });
    let document = Document {
        findings: findings.collect(),
        summary: Summary {
            files: report.files,
            policies: report.policies,
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            infos: report.count(Severity::Info),
            passed_over: &report.passed_over,
        },
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}
