//! The trace that a request belongs to (W3C Trace Context).

/// `traceparent` of a request: the trace, and the span that the request was sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TraceParent {
    /// Number of the trace, never zero.
    pub trace: [u8; 16],
    /// Number of the sender's span, never zero.
    pub span: [u8; 8],
    /// Flags; bit 0 says that the sender samples the trace.
    pub flags: u8,
}

impl TraceParent {
    /// Reads the header's value (§3.2.2). Of versions that are not known, what version 00 has is read
    /// (§4.3).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.trim_ascii().split(|byte| *byte == b'-');
        let [version] = hexadecimal(parts.next()?)?;
        let trace = hexadecimal(parts.next()?)?;
        let span = hexadecimal(parts.next()?)?;
        let [flags] = hexadecimal(parts.next()?)?;
        let is_whole = version != 0 || parts.next().is_none();
        let is_valid = version != 0xff && trace != [0; 16] && span != [0; 8] && is_whole;
        is_valid.then_some(Self { trace, span, flags })
    }

    /// The trace's number in lower case hexadecimal.
    pub fn trace_id(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(32);
        for byte in self.trace {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Lower case alone, as the standard has it.
fn hexadecimal<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut number = [0; BYTES];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != BYTES || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in number.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_trace_parent_is_read_as_the_standard_has_it() {
        let value = format!("00-{TRACE}-b7ad6b7169203331-01");
        let parent = TraceParent::parse(value.as_bytes()).expect("a trace parent");
        assert_eq!(parent.trace_id(), TRACE);
        assert_eq!((parent.span[0], parent.flags), (0xb7, 1));
        let later = format!("cc-{TRACE}-b7ad6b7169203331-01-what-comes");
        assert_eq!(TraceParent::parse(later.as_bytes()), Some(parent));
    }

    #[test]
    fn what_is_no_trace_parent_is_none() {
        for value in [
            String::new(),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-b7ad6b71692033-01"),
            format!("00-{TRACE}"),
        ] {
            assert_eq!(TraceParent::parse(value.as_bytes()), None, "{value}");
        }
    }
}
