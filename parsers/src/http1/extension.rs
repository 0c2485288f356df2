//! The extensions of a chunk's size line, for the strict reading.
//!
//! Nearly nobody sends them, and readers that pass over them differ in where they end: in a quoted
//! string that never closes, one goes on over the line's end and another does not.

use crate::detect::is_token;

/// Where in the extensions we are (RFC 9112 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Extension {
    /// Behind a semicolon.
    BeforeName,
    Name,
    /// Behind the blanks behind a name.
    AfterName,
    /// Behind an equals sign.
    BeforeValue,
    Value,
    /// In a quoted string.
    Quoted,
    /// Behind a backslash in a quoted string.
    Escaped,
    /// Behind the end of a value.
    AfterValue,
}

impl Extension {
    /// Behind the next byte; `None` if no grammar has it there.
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        let is_blank = matches!(byte, b' ' | b'\t');
        let is_visible = matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        match (self, byte) {
            (Self::BeforeName | Self::BeforeValue | Self::AfterName | Self::AfterValue, _)
                if is_blank =>
            {
                Some(self)
            }
            (Self::BeforeName | Self::Name, _) if is_token(byte) => Some(Self::Name),
            (Self::BeforeValue | Self::Value, _) if is_token(byte) => Some(Self::Value),
            (Self::Name, _) if is_blank => Some(Self::AfterName),
            (Self::Value, _) if is_blank => Some(Self::AfterValue),
            (Self::Name | Self::AfterName, b'=') => Some(Self::BeforeValue),
            (Self::Name | Self::AfterName | Self::Value | Self::AfterValue, b';') => {
                Some(Self::BeforeName)
            }
            (Self::BeforeValue, b'"') => Some(Self::Quoted),
            (Self::Quoted, b'"') => Some(Self::AfterValue),
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            (Self::Quoted | Self::Escaped, _) if is_visible => Some(Self::Quoted),
            _ => None,
        }
    }

    /// Whether the line may end here.
    pub(super) fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::AfterValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid(text: &str) -> bool {
        let mut place = Some(Extension::BeforeName);
        for byte in text.bytes() {
            place = place.and_then(|place| place.next(byte));
        }
        place.is_some_and(Extension::may_end)
    }

    #[test]
    fn names_values_and_quoted_strings_are_read() {
        for text in ["a", "a=b", "a;b=c", "a = b ; c", "a=\"b;=\\\"c\"", "a=\"\""] {
            assert!(is_valid(text), "{text}");
        }
        for text in [
            "",
            ";",
            "a=",
            "a;",
            "=b",
            "a=\"b",
            "a=\"b\\\"",
            "a b",
            "a=b c",
            "a=\"b\"c",
        ] {
            assert!(!is_valid(text), "{text}");
        }
    }
}
