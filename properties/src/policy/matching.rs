//! Texts against patterns, by trying.

/// Whether an expression matches the whole of a text, as RE2 would.
pub(super) fn is_expression(expression: &str, text: &str) -> bool {
    let anchored = format!("^(?:{expression})$");
    regex::bytes::RegexBuilder::new(&anchored)
        .unicode(false)
        .build()
        .is_ok_and(|expression| expression.is_match(text.as_bytes()))
}

/// Whether a pattern in which `*` stands for letters of host names, dots not among them, is the whole
/// of a text.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut pattern_letters = pattern.chars();
    let mut letters = text.chars();
    match (pattern_letters.next(), letters.next()) {
        (None, first) => first.is_none(),
        (Some('*'), first) => {
            let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
            glob(pattern_letters.as_str(), text)
                || (first.is_some_and(is_host) && glob(pattern, letters.as_str()))
        }
        (Some(want), Some(have)) => {
            want == have && glob(pattern_letters.as_str(), letters.as_str())
        }
        (Some(_), None) => false,
    }
}
