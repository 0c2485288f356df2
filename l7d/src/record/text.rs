//! One growable byte buffer per record, and ranges in it.

/// A range in a record's [`Text`]. The default is the empty range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Number of bytes.
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Whether it holds nothing.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Bytes of a record; keeps its capacity when reused.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Text(#[serde(with = "serde_bytes")] Vec<u8>);

impl Text {
    /// Forgets the content, keeps the capacity.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Appends bytes and says where they are. What would pass 4 GiB is cut (never reached: heads
    /// are bounded by configuration).
    pub fn push(&mut self, bytes: &[u8]) -> Span {
        let start = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(bytes);
        Span { start, len }
    }

    /// Starts a span that is written piecewise; close it with [`Text::since`].
    pub fn mark(&self) -> usize {
        self.0.len()
    }

    /// The span from `mark` to the end.
    pub fn since(&self, mark: usize) -> Span {
        Span {
            start: u32::try_from(mark).unwrap_or(u32::MAX),
            len: u32::try_from(self.0.len().saturating_sub(mark)).unwrap_or(u32::MAX),
        }
    }

    /// The bytes of a span; empty where it points outside.
    pub fn slice(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.0
            .get(start..start.saturating_add(span.len as usize))
            .unwrap_or_default()
    }

    /// Names and values of header lines (`name: value\r\n`).
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.0.split(|byte| *byte == b'\n');
        lines.filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            // A pseudo-header's name begins with a colon.
            let colon = 1 + line.get(1..)?.iter().position(|byte| *byte == b':')?;
            let value = line.get(colon + 1..)?;
            Some((line.get(..colon)?, value.trim_ascii()))
        })
    }

    /// Replaces the content, keeping the capacity.
    pub fn copy_from(&mut self, other: &Self) {
        self.0.clear();
        self.0.extend_from_slice(&other.0);
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_give_back_what_was_pushed() {
        let mut text = Text::default();
        let get = text.push(b"GET");
        let mark = text.mark();
        text.push(b"http://");
        text.push(b"host");
        let url = text.since(mark);
        assert_eq!(text.slice(get), b"GET");
        assert_eq!(text.slice(url), b"http://host");
        assert_eq!(text.slice(Span::default()), b"");
    }

    #[test]
    fn a_span_of_another_text_is_empty_and_never_panics() {
        let mut long = Text::default();
        long.push(b"0123456789");
        let span = long.push(b"abc");
        assert_eq!(Text::default().slice(span), b"");
    }
}
