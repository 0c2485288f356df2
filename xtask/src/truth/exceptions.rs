//! Differences that have a reason.

use anyhow::Context as _;

/// Capture (`*` stands for anything), protocol, and why.
const FILE: &str = include_str!("exceptions.tsv");

/// What is listed.
pub(super) struct Exceptions(Vec<(String, String)>);

impl Exceptions {
    pub(super) fn read() -> anyhow::Result<Self> {
        let lines = FILE.lines().filter(|line| !line.starts_with('#'));
        let read = |line: &str| {
            let mut columns = line.split('\t');
            let pattern = columns.next()?.to_owned();
            let protocol = columns.next()?.to_owned();
            // A difference without a reason is none that may be listed.
            columns.next().filter(|why| !why.is_empty())?;
            Some((pattern, protocol))
        };
        lines
            .map(|line| read(line).with_context(|| format!("exceptions.tsv: {line}")))
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    pub(super) fn has(&self, file: &str, protocol: &str) -> bool {
        let name = file.rsplit('/').next().unwrap_or(file);
        self.0
            .iter()
            .any(|(pattern, of)| of == protocol && matches(pattern, name))
    }
}

/// Whether a name fits a pattern with at most one `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exception_has_a_reason_and_patterns_fit() {
        assert!(Exceptions::read().is_ok());
        assert!(matches("a__*.pcap", "a__b.pcap"));
        assert!(!matches("a__*.pcap", "b__b.pcap"));
        assert!(!matches("ab*ba", "aba"));
    }
}
