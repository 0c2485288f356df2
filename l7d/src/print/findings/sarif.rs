//! Findings in the Static Analysis Results Interchange Format (SARIF 2.1.0, OASIS standard of 2020).

use std::io::{self, Write};

use policy_l7::lint::{CHECKS, Severity};
use serde_json::{Value, json};

use super::{Finding, Report};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
const RULES: &str = "https://github.com/l7d/l7d/blob/main/docs/policy-checks.md";

/// One run with all rules, and a result for each finding.
pub fn sarif(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let rules: Vec<Value> = CHECKS
        .iter()
        .map(|check| {
            json!({
                "id": check.code,
                "shortDescription": { "text": check.summary },
                "helpUri": RULES,
                "defaultConfiguration": { "level": level(check.severity) },
            })
        })
        .collect();
    let results: Vec<Value> = report.findings.iter().map(result).collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "l7d policy check",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://github.com/l7d/l7d",
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// §3.27.10
fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn result(finding: &Finding) -> Value {
    let rule = CHECKS
        .iter()
        .position(|check| check.code == finding.check.code);
    let text = match &finding.suggestion {
        Some(suggestion) => format!("{} (did you mean `{suggestion}`?)", finding.message),
        None => finding.message.clone(),
    };
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&finding.file) },
            "region": {
                "startLine": finding.line,
                "startColumn": finding.column,
                "endColumn": finding.column + finding.width,
            },
        },
    });
    if !finding.field.is_empty()
        && let Some(location) = location.as_object_mut()
    {
        let logical = json!([{ "fullyQualifiedName": finding.field, "kind": "member" }]);
        location.insert("logicalLocations".to_owned(), logical);
    }
    json!({
        "ruleId": finding.check.code,
        "ruleIndex": rule,
        "level": level(finding.check.severity),
        "message": { "text": text },
        "locations": [location],
    })
}

/// A path as a URI reference (RFC 3986 §2.1): relative to the root of the sources, or absolute.
fn uri(path: &str) -> String {
    let scheme = if path.starts_with('/') { "file://" } else { "" };
    let bytes = path.strip_prefix("./").unwrap_or(path).bytes();
    let written = bytes.map(|byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    std::iter::once(scheme.to_owned()).chain(written).collect()
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn a_path_becomes_a_uri() {
        assert_eq!(uri("./a b/ü.yaml"), "a%20b/%C3%BC.yaml");
        assert_eq!(uri("/etc/l7d/a.yaml"), "file:///etc/l7d/a.yaml");
    }
}
