//! One JSON object per line, in the protobuf JSON form with the fields' protobuf names.

use std::io::{self, Write};

use serde::Serialize;

/// Writes one message and a line feed. `<`, `>`, `&` and the two Unicode line separators are
/// escaped, as tools that put flow logs into web pages expect; inside JSON they only occur within
/// strings.
pub fn line<T: Serialize>(out: &mut impl Write, message: &T) -> io::Result<()> {
    let plain = serde_json::to_string(message)?;
    let mut rest = plain.as_str();
    while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        let (before, from) = rest.split_at(at);
        out.write_all(before.as_bytes())?;
        let mut chars = from.chars();
        if let Some(c) = chars.next() {
            write!(out, "\\u{:04x}", u32::from(c))?;
        }
        rest = chars.as_str();
    }
    out.write_all(rest.as_bytes())?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_what_a_web_page_would_read_as_markup() {
        let mut out = Vec::new();
        super::line(&mut out, &"<a&b>\u{2028}").unwrap();
        assert_eq!(out, b"\"\\u003ca\\u0026b\\u003e\\u2028\"\n");
    }
}
