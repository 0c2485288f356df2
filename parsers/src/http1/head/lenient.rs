//! Heads that no grammar allows and that servers and browsers read all the same: for looking only.
//!
//! What counts is the start line: a method, anything, and a version; or a version and a code. Lines
//! without a colon are passed over.

use super::{Asked, Framing, RequestHead, ResponseHead, after_first_line, fields, response_body};
use crate::detect::is_token;

/// A request whose target may hold spaces or any bytes.
pub(super) fn request(bytes: &[u8]) -> Option<RequestHead<'_>> {
    let line = first_line(bytes);
    let space = memchr::memchr(b' ', line)?;
    let (method, rest) = line.split_at(space);
    let is_method = (1..=32).contains(&method.len()) && method.iter().all(|byte| is_token(*byte));
    let last = memchr::memrchr(b' ', rest)?;
    let (target, version) = rest.split_at(last);
    let version = version_of(version.trim_ascii())?;
    let target = target.trim_ascii();
    let rest = after_first_line(bytes);
    (is_method && !target.is_empty()).then(|| RequestHead {
        bytes,
        fields: rest,
        method,
        target,
        version,
        framing: framing_of(rest),
    })
}

/// A response with anything behind its code.
pub(super) fn response(bytes: &[u8], asked: Option<Asked>) -> Option<ResponseHead<'_>> {
    let line = first_line(bytes);
    let (version, rest) = line.split_at(memchr::memchr(b' ', line)?);
    let version = version_of(version)?;
    let code = rest.trim_ascii_start().get(..3)?;
    let code: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    if !(100..=999).contains(&code) {
        return None;
    }
    let rest = after_first_line(bytes);
    let is_tunnel = asked.is_some_and(|asked| asked.is_connect) && (200..300).contains(&code);
    Some(ResponseHead {
        bytes,
        fields: rest,
        code,
        version,
        body: response_body(code, &framing_of(rest), asked),
        is_switching: code == 101 || is_tunnel,
    })
}

fn first_line(bytes: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let line = bytes.get(..end).unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn version_of(word: &[u8]) -> Option<u8> {
    match word {
        b"HTTP/1.0" => Some(10),
        b"HTTP/1.1" => Some(11),
        _ => None,
    }
}

fn framing_of(bytes: &[u8]) -> Framing<'_> {
    let mut framing = Framing::default();
    for field in fields(bytes) {
        framing.see(field.name, field.value);
    }
    framing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_may_hold_anything() {
        let head = request(b"GET /a b;c=\"d\" HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n");
        let head = head.expect("a request");
        assert_eq!(head.target(), b"/a b;c=\"d\"");
        assert_eq!(head.header(b"host"), Some(&b"x"[..]));
        for no_request in [
            &b"GET / HTTP/2.0\r\n\r\n"[..],
            b"GET HTTP/1.1\r\n\r\n",
            b"some words\r\n\r\n",
        ] {
            assert!(request(no_request).is_none(), "{no_request:?}");
        }
    }

    #[test]
    fn a_folded_line_goes_on_with_the_value_before() {
        let head = request(
            b"POST / HTTP/1.1\r\n Odd: 1\r\nTransfer-Encoding:\r\n\tchunked\r\nX: a\r\n b:\r\n\r\n",
        );
        let head = head.expect("a request");
        let fields: Vec<_> = head
            .headers()
            .map(|field| (field.name, field.value))
            .collect();
        let expected: [(&[u8], &[u8]); 3] = [
            (b" Odd", b"1"),
            (b"Transfer-Encoding", b"chunked"),
            (b"X", b"a\r\n b:"),
        ];
        assert_eq!(fields, expected);
        assert_eq!(head.body(), crate::http1::BodyKind::Chunked);
        let head =
            request(b"POST / HTTP/1.1\nTransfer-Encoding: chunked\n abc\nContent-Length: 3\n\n");
        assert_eq!(
            head.expect("a request").body(),
            crate::http1::BodyKind::Length(3)
        );
    }

    #[test]
    fn a_status_line_needs_a_version_and_a_code() {
        let head = response(b"HTTP/1.1 200\xff\r\nContent-Length: 3\r\n\r\n", None);
        assert_eq!(head.expect("a response").code(), 200);
        assert!(response(b"HTTP/1.1 OK\r\n\r\n", None).is_none());
    }
}
