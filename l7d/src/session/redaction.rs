//! What is hidden before anything is recorded.

use crate::config::Redact;
use crate::record::Text;

/// What Hubble writes in the place of what it hides.
const REDACTED: &[u8] = b"HUBBLE_REDACTED";

/// Hides header values, queries and user names.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    keeps_headers: bool,
    hides_query: bool,
    allow: Vec<Vec<u8>>,
    deny: Vec<Vec<u8>>,
}

impl Redaction {
    /// As configured; names are lower case.
    pub fn new(redact: &Redact) -> Self {
        let bytes = |names: &[String]| names.iter().map(|name| name.clone().into_bytes()).collect();
        Self {
            keeps_headers: redact.headers,
            hides_query: redact.query,
            allow: bytes(&redact.allow),
            deny: bytes(&redact.deny),
        }
    }

    /// Whether headers are recorded at all.
    pub fn keeps_headers(&self) -> bool {
        self.keeps_headers
    }

    /// Writes one header line. Line ends in a value, which a folded one has, become blanks
    /// (RFC 9112 §5.2): what stands behind them is no header.
    pub fn write_header(&self, text: &mut Text, name: &[u8], value: &[u8]) {
        text.push(name);
        text.push(b": ");
        let value = if self.hides(name) { REDACTED } else { value };
        let mut lines = value.split(|byte| matches!(byte, b'\r' | b'\n'));
        text.push(lines.next().unwrap_or_default());
        for line in lines {
            text.push(b" ");
            text.push(line);
        }
        text.push(b"\r\n");
    }

    fn hides(&self, name: &[u8]) -> bool {
        let is_in = |names: &[Vec<u8>]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        is_in(&self.deny) || (!self.allow.is_empty() && !is_in(&self.allow))
    }

    /// Writes an authority without its user.
    pub fn write_authority(&self, text: &mut Text, authority: &[u8]) {
        match authority.iter().rposition(|byte| *byte == b'@') {
            Some(at) => {
                text.push(REDACTED);
                text.push(authority.get(at..).unwrap_or_default());
            }
            None => {
                text.push(authority);
            }
        }
    }

    /// Writes path and query.
    pub fn write_path(&self, text: &mut Text, path: &[u8]) {
        let end = path
            .iter()
            .position(|byte| *byte == b'?')
            .filter(|_| self.hides_query);
        text.push(path.get(..end.unwrap_or(path.len())).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(redaction: &Redaction, name: &[u8], value: &[u8]) -> String {
        let mut text = Text::default();
        let mark = text.mark();
        redaction.write_header(&mut text, name, value);
        let span = text.since(mark);
        String::from_utf8_lossy(text.slice(span)).into_owned()
    }

    #[test]
    fn a_folded_value_makes_no_header_of_its_own() {
        let mut redaction = Redaction::default();
        let folded = b"a\r\n Authorization: b";
        assert_eq!(
            written(&redaction, b"X", folded),
            "X: a   Authorization: b\r\n"
        );
        redaction.deny.push(b"x".to_vec());
        assert_eq!(written(&redaction, b"X", folded), "X: HUBBLE_REDACTED\r\n");
    }
}
