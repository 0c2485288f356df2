//! Segments of given templates.

/// A segment that stands for many: words and values by turns, as in `{id}`, `report-{year}.pdf` or
/// `{latitude},{longitude}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    text: String,
    /// What stands before, between and behind the values; two at least.
    words: Vec<String>,
}

impl Segment {
    /// Reads a segment with braces; `None` where they do not match, a name in them is missing, or two
    /// values follow each other.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = Vec::new();
        let mut rest = text;
        while let Some((word, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}')?;
            let is_name = !name.is_empty() && !name.contains('{') && !name.ends_with("...");
            let is_apart = !word.is_empty() || words.is_empty();
            if !is_name || !is_apart {
                return None;
            }
            words.push(word.to_owned());
            rest = behind;
        }
        words.push(rest.to_owned());
        let is_well_formed = words.iter().all(|word| !word.contains('}'));
        (words.len() > 1 && is_well_formed).then(|| Self {
            text: text.to_owned(),
            words,
        })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the same segments fit.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.words == other.words
    }

    /// Whether it is a value and nothing else.
    pub(super) fn is_any(&self) -> bool {
        self.words.iter().all(String::is_empty)
    }

    /// A regular expression (RE2) that matches whatever fits it.
    pub fn pattern(&self) -> String {
        let mut pattern = String::new();
        for (position, word) in self.words.iter().enumerate() {
            if position > 0 {
                pattern.push_str("[^/?]+");
            }
            for c in word.chars() {
                if "\\.+*?()|[]{}^$".contains(c) {
                    pattern.push('\\');
                }
                pattern.push(c);
            }
        }
        pattern
    }

    /// Whether a segment of a path fits; a value is never empty.
    pub(super) fn fits(&self, segment: &str) -> bool {
        let [first, between @ .., last] = self.words.as_slice() else {
            return false;
        };
        let inner = segment
            .strip_prefix(first.as_str())
            .and_then(|rest| rest.strip_suffix(last.as_str()));
        let Some(mut rest) = inner else { return false };
        for word in between {
            let mut chars = rest.chars();
            // At least one character is the value's.
            chars.next();
            let Some((_, behind)) = chars.as_str().split_once(word.as_str()) else {
                return false;
            };
            rest = behind;
        }
        !rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_between_words() {
        for (text, fitting, other) in [
            ("{id}", "x", ""),
            ("report-{year}.pdf", "report-2026.pdf", "report-.pdf"),
            ("{latitude},{longitude}", "1.5,2", "1.5,"),
            ("{job}:cancel", "7:cancel", "7:start"),
            ("{a}-{b}-{c}", "--1-2", "1-2"),
        ] {
            let segment = Segment::read(text).expect(text);
            assert!(segment.fits(fitting), "{text} {fitting}");
            assert!(!segment.fits(other), "{text} {other}");
            let pattern = format!("^(?:{})$", segment.pattern());
            let pattern = regex::Regex::new(&pattern).expect("an expression");
            assert!(pattern.is_match(fitting), "{text} {fitting}");
            assert!(!pattern.is_match(other), "{text} {other}");
        }
    }

    #[test]
    fn braces_match_and_have_names() {
        for text in ["{}", "{a", "a}", "{a}{b}", "{{a}}", "a{b}c}"] {
            assert_eq!(Segment::read(text), None, "{text}");
        }
    }
}
