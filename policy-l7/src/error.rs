//! What is wrong in a file: where, in which field, what was expected, what was perhaps meant.

use std::fmt;

/// One fault of a policy or configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// File as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Path of the field, such as `spec.egress[0].toPorts[0].ports[0].port`; may be empty.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// What was perhaps meant.
    pub suggestion: Option<String>,
}

impl Error {
    /// Field and fault, for what does not come from a file.
    pub fn without_place(&self) -> String {
        About(self).to_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        About(self).fmt(f)
    }
}

/// An error without its place.
struct About<'e>(&'e Error);

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        if !error.field.is_empty() {
            write!(f, "{}: ", error.field)?;
        }
        f.write_str(&error.message)?;
        match &error.suggestion {
            Some(suggestion) => write!(f, " (did you mean `{suggestion}`?)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The candidate that is nearest to `word`, if one is near enough to be meant.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = 1 + word.chars().count() / 4;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two words (insert, remove, replace, swap neighbours), ignoring case.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().collect();
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX);
            let replace = at(&row, j) + usize::from(a != b);
            let mut best = replace.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let is_swap =
                j > 0 && i > 0 && right.get(j - 1) == Some(a) && left.get(i - 1) == Some(b);
            if is_swap {
                best = best.min(at(&before, j - 1).saturating_add(1));
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let names = ["user-service", "api-gateway", "frontend"];
        assert_eq!(nearest("user-servce", names), Some("user-service"));
        assert_eq!(nearest("databse", names), None);
        assert_eq!(
            nearest("fromEndpoint", ["fromEndpoints", "fromEntities"]),
            Some("fromEndpoints")
        );
        assert_eq!(
            nearest("intreface", ["interface", "ips"]),
            Some("interface")
        );
    }
}
