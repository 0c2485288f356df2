//! The threat model's tests: each line of `docs/threat-model.md` names what shows that its measure holds,
//! and what it names must be there.

use std::path::Path;

/// The page.
const PAGE: &str = "docs/threat-model.md";

/// Lines without a test, tests that are nowhere, and files that are not there. `sources` are the texts of
/// all sources.
pub(crate) fn faults(root: &Path, sources: &[String]) -> anyhow::Result<Vec<String>> {
    let page = std::fs::read_to_string(root.join(PAGE))?;
    let is_there = |name: &str| {
        if name.contains('/') {
            return root.join(name).exists();
        }
        let function = format!("fn {name}(");
        sources.iter().any(|source| source.contains(&function))
    };
    Ok(missing(&page, is_there))
}

fn missing(page: &str, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut has_tests = false;
    for line in page.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            has_tests = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        if last == "test" {
            has_tests = true;
            continue;
        }
        if !has_tests || last.starts_with("---") {
            continue;
        }
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            faults.push(format!("{PAGE}: no test in this line: {line}"));
        }
        let absent = named.into_iter().filter(|name| !is_there(name));
        faults.extend(absent.map(|name| format!("{PAGE}: there is no test `{name}`")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_test_that_is_there_is_found() {
        let page = "| asset | worth |\n|---|---|\n| a | b |\n\n\
                    | threat | measure | test |\n|---|---|---|\n\
                    | one | x | `known`, `a/file.rs` |\n\
                    | two | y | `unknown` |\n| three | z | |\n";
        let faults = missing(page, |name| name != "unknown");
        assert_eq!(
            faults,
            [
                "docs/threat-model.md: there is no test `unknown`",
                "docs/threat-model.md: no test in this line: | three | z | |",
            ]
        );
    }
}
