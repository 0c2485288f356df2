//! First bytes → protocol.

use crate::http2::{PREFACE, resync};
use crate::{Direction, Limits};

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge: its preface (RFC 9113 §3.4).
    Http2,
    /// A TLS handshake record (RFC 8446 §5.1).
    Tls,
    /// None that is read here.
    Unknown,
}

/// Longer methods than any in the IANA registry are no methods.
const METHOD_MAX: usize = 32;

/// What the first bytes of a direction say; `None` while they could still become something.
pub fn detect(direction: Direction, bytes: &[u8]) -> Option<Protocol> {
    if bytes.first() == Some(&0x16) {
        return match bytes.get(1) {
            Some(3) => Some(Protocol::Tls),
            Some(_) => Some(Protocol::Unknown),
            None => None,
        };
    }
    match direction {
        Direction::ToServer => detect_request(bytes),
        Direction::ToClient => detect_response(bytes),
    }
}

/// What bytes from the middle of a connection say; `None` while they could still be HTTP/2.
///
/// Tells [`Protocol::Http2`] by a chain of plausible frames (RFC 9113 §4.1): where the bytes begin
/// with one, some evidence is enough, anywhere else much more is needed. [`Protocol::Tls`] is told by
/// a record header, [`Protocol::Http1`] as by [`detect`]. What is none of them after 64 KiB is
/// [`Protocol::Unknown`].
pub fn detect_mid_stream(direction: Direction, bytes: &[u8], limits: &Limits) -> Option<Protocol> {
    const LOOKED_THROUGH_BYTES: usize = 64 << 10;
    match bytes {
        [0x14..=0x17, 3, 0..=4, ..] => return Some(Protocol::Tls),
        [] | [0x14..=0x17] | [0x14..=0x17, 3] => return None,
        _ => {}
    }
    match resync::starts(direction, bytes, limits, resync::ENOUGH) {
        Some(true) => return Some(Protocol::Http2),
        Some(false) => {}
        None => return None,
    }
    let at_start = detect(direction, bytes);
    if let Some(Protocol::Http1 | Protocol::Http2) = at_start {
        return at_start;
    }
    let (looked_through, is_all) = match bytes.get(..LOOKED_THROUGH_BYTES) {
        Some(front) => (front, true),
        None => (bytes, false),
    };
    if resync::scan(direction, looked_through, limits, resync::PLENTY).is_found {
        return Some(Protocol::Http2);
    }
    is_all.then_some(Protocol::Unknown)
}

fn detect_request(bytes: &[u8]) -> Option<Protocol> {
    if PREFACE.starts_with(bytes) {
        // "PRI" alone could be a method; nothing but the preface goes on with " * HTTP/2".
        return (bytes.len() >= b"PRI * HTTP/2".len()).then_some(Protocol::Http2);
    }
    if bytes.starts_with(b"PRI * HTTP/2") {
        return Some(Protocol::Http2);
    }
    // Empty lines before a request line are to be ignored (RFC 9112 §2.2).
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let bytes = bytes.get(start..).unwrap_or_default();
    let method = bytes.iter().take_while(|byte| is_token(**byte)).count();
    match bytes.get(method) {
        None if method <= METHOD_MAX => None,
        Some(b' ') if (1..=METHOD_MAX).contains(&method) => Some(Protocol::Http1),
        Some(_) | None => Some(Protocol::Unknown),
    }
}

fn detect_response(bytes: &[u8]) -> Option<Protocol> {
    const START: &[u8] = b"HTTP/1.";
    if bytes.starts_with(START) {
        Some(Protocol::Http1)
    } else if START.starts_with(bytes) {
        None
    } else {
        Some(Protocol::Unknown)
    }
}

/// What enforced ports let stand in a host and its port (RFC 3986 §3.2.2): no path, no user, no blank.
pub(crate) fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+=:[]".contains(&byte)
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_protocols_apart_by_their_first_bytes() {
        use Direction::{ToClient, ToServer};
        let cases: [(Direction, &[u8], Option<Protocol>); 12] = [
            (ToServer, b"GET / HTTP/1.1\r\n", Some(Protocol::Http1)),
            (ToServer, b"GE", None),
            (ToServer, b"\r\nPOST ", Some(Protocol::Http1)),
            (ToServer, PREFACE, Some(Protocol::Http2)),
            (ToServer, b"PRI", None),
            (ToServer, b"PRINT /x", Some(Protocol::Http1)),
            (ToServer, b"\x16\x03\x01", Some(Protocol::Tls)),
            (ToServer, b"\x00\x01\x02", Some(Protocol::Unknown)),
            (ToServer, b"*3\r\n$3\r\n", Some(Protocol::Unknown)),
            (ToClient, b"HTTP/1.1 200", Some(Protocol::Http1)),
            (ToClient, b"HTT", None),
            (ToClient, b"220 mail ESMTP", Some(Protocol::Unknown)),
        ];
        for (direction, bytes, expected) in cases {
            assert_eq!(detect(direction, bytes), expected, "{bytes:?}");
        }
    }
}
