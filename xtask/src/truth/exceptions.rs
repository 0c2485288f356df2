//! Differences that have a reason.

use anyhow::Context as _;

/// What is listed, and whether it was met.
pub(super) struct Exceptions {
    lines: Vec<Exception>,
}

struct Exception {
    /// Name of a capture or case; `*` stands for anything.
    pattern: String,
    /// What differs.
    what: String,
    is_met: bool,
}

impl Exceptions {
    /// Reads a table of three columns: pattern, what differs, why.
    pub(super) fn read(table: &str) -> anyhow::Result<Self> {
        let read = |line: &str| {
            let mut columns = line.split('\t');
            let exception = Exception {
                pattern: columns.next()?.to_owned(),
                what: columns.next()?.to_owned(),
                is_met: false,
            };
            // A difference without a reason is none that may be listed.
            columns.next().filter(|why| !why.is_empty())?;
            Some(exception)
        };
        let lines = table.lines().filter(|line| !line.starts_with('#'));
        let lines = lines
            .map(|line| read(line).with_context(|| format!("three columns: {line}")))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { lines })
    }

    /// Whether it is listed; every line that lists it has its use.
    pub(super) fn has(&mut self, file: &str, what: &str) -> bool {
        self.has_case(file.rsplit('/').next().unwrap_or(file), what)
    }

    /// The same of a name that is no path.
    pub(super) fn has_case(&mut self, name: &str, what: &str) -> bool {
        let mut is_listed = false;
        for line in &mut self.lines {
            if matches(&line.what, what) && matches(&line.pattern, name) {
                line.is_met = true;
                is_listed = true;
            }
        }
        is_listed
    }

    /// Lines that list nothing that is so.
    pub(super) fn stale(&self) -> impl Iterator<Item = String> {
        let stale = self.lines.iter().filter(|line| !line.is_met);
        stale.map(|line| format!("{}\t{}", line.pattern, line.what))
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
    fn patterns_fit_names() {
        assert!(matches("a__*.pcap", "a__b.pcap"));
        assert!(!matches("a__*.pcap", "b__b.pcap"));
        assert!(!matches("ab*ba", "aba"));
    }

    #[test]
    fn a_line_needs_a_reason_and_a_use() {
        assert!(Exceptions::read("a.pcap\tdns\n").is_err());
        let mut exceptions = Exceptions::read("# a comment\na*\tdns\twhy\nb\tdns\twhy\n").unwrap();
        assert!(exceptions.has("pcap/a.pcap", "dns"));
        assert!(!exceptions.has("pcap/a.pcap", "dns order"));
        assert_eq!(exceptions.stale().collect::<Vec<_>>(), ["b\tdns"]);
    }
}
